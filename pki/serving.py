"""`pki serve`: Envoy with a plain listener and, when configured, a TLS listener, before the service child.

Plain HTTP carries only what is public and signed by itself. The TLS listener asks for a client certificate and takes
its absence, because somebody who enrols has none yet.
"""

from pathlib import Path
from typing import Final

from authz.edge.envoy import ClientCertificate, DownstreamTls, EdgeLimits, Listener, service_front
from authz.edge.secrets import OwnCertificate, PeerValidation, TlsSecret
from authz.edge.supervise import Front, Service, run_folder, run_service
from pki.http.listeners import PLAIN_LISTENER, TLS_LISTENER
from pki.settings import PkiSettings

MAX_STREAMS: Final = 4
"""Requests that one client has at the same time over one TLS connection; enrolling takes one after the other."""


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
        at = settings.publication
        listeners = [Listener(PLAIN_LISTENER, at.address, at.port, None, for_ocsp=True)]
        secrets: list[TlsSecret] = []
        if settings.tls is not None:
            tls = DownstreamTls(folder.secrets, client=ClientCertificate.OPTIONAL)
            limits = EdgeLimits(max_streams=MAX_STREAMS)
            listeners.append(Listener(TLS_LISTENER, settings.tls.address, settings.tls.port, tls, limits))
            authorities = (
                *(root.certificate for root in settings.roots()),
                *(issuer.certificate for issuer in settings.issuers),
            )
            secrets = [OwnCertificate(settings.tls.certificate, settings.tls.key), PeerValidation(authorities)]
        front = service_front(sender="pki", admin=folder.admin, service=folder.service, listeners=listeners)
        child = Service("pki", "pki.service", ["--config", str(config.absolute()), "--socket", str(folder.service)])
        return run_service("pki", folder, Front(front, secrets, concurrency=1), child)
