"""`pki serve`: Envoy with a plain listener and, when configured, a TLS listener, before the service child.

Plain HTTP carries only what is public and signed by itself. The TLS listener asks for a client certificate and takes
its absence, because somebody who enrols has none yet.
"""

from pathlib import Path

from authz.edge.envoy import ClientCertificate, DownstreamTls, Listener, service_front
from authz.edge.secrets import OwnCertificate, PeerValidation, TlsSecret
from authz.edge.supervise import Front, Service, run_folder, run_service
from pki.settings import PkiSettings


def run_serve(settings: PkiSettings, config: Path) -> int:
    """Serve until SIGTERM or SIGINT.

    Args:
        settings: as read from `config`.
        config: read again by the service child.

    Returns:
        Exit status.

    Raises:
        StartFailed: Envoy or the service did not become ready.
        SecretsError: the TLS certificate or key cannot be used.
    """
    with run_folder(settings.run_dir) as folder:
        listeners = [Listener("plain", settings.publication.address, settings.publication.port, None, for_ocsp=True)]
        secrets: list[TlsSecret] = []
        if settings.tls is not None:
            tls = DownstreamTls(folder.secrets, client=ClientCertificate.OPTIONAL)
            listeners.append(Listener("tls", settings.tls.address, settings.tls.port, tls))
            authorities = (
                *(root.certificate for root in settings.roots()),
                *(issuer.certificate for issuer in settings.issuers),
            )
            secrets = [OwnCertificate(settings.tls.certificate, settings.tls.key), PeerValidation(authorities)]
        front = service_front(sender="pki", admin=folder.admin, service=folder.service, listeners=listeners)
        child = Service("pki", "pki.service", ["--config", str(config.absolute()), "--socket", str(folder.service)])
        return run_service("pki", folder, Front(front, secrets, concurrency=1), child)
