"""The TLS part of Envoy's configuration, and the secret files from which Envoy takes certificates, keys and CRLs.

Specification: NCSC-NL TLS guidelines 2025 (suites and groups marked "good"); Envoy 1.40 SDS over the file system.

Client certificates are verified with ACCEPT_UNTRUSTED: a refused certificate then gets an answer and an audit record
from the service instead of a bare TLS alert. The service validates by itself and refuses besides when Envoy's own
verdict, handed over in `x-sluis-peer-verified`, is not positive. Resumption is off, because Envoy has no verdict for
a resumed session and a resumed session outlives a revocation.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

Json = dict[str, Any]

TYPE: Final = "type.googleapis.com/"
_TLS: Final = TYPE + "envoy.extensions.transport_sockets.tls.v3."
_SUITES: Final = (
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-RSA-AES128-GCM-SHA256",
)
"""Of TLS 1.2; those of TLS 1.3 are fixed by BoringSSL and all good."""
_CURVES: Final = ("X25519", "P-256", "P-384")
_MAX_DEPTH: Final = 5


class ClientCertificate(StrEnum):
    """What a listener asks of the client's TLS."""

    REQUIRED = "required"
    OPTIONAL = "optional"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class DownstreamTls:
    """TLS of a listener; the material itself lives in secret files (`authz.edge.secrets`).

    Attributes:
        secrets: folder with the secret files.
        certificate: name of the secret with our certificate and key.
        validation: name of the secret with the CA bundle and CRLs for clients; unused for NONE.
        client: whether a client certificate is asked for.
    """

    secrets: Path
    certificate: str = "server"
    validation: str = "clients"
    client: ClientCertificate = ClientCertificate.REQUIRED


def downstream_socket(tls: DownstreamTls) -> Json:
    """The transport socket of a listener."""
    common = _common(tls.secrets, tls.certificate)
    common["alpn_protocols"] = ["h2", "http/1.1"]
    context: Json = {
        "@type": _TLS + "DownstreamTlsContext",
        "common_tls_context": common,
        "require_client_certificate": tls.client is ClientCertificate.REQUIRED,
        "disable_stateless_session_resumption": True,
        "disable_stateful_session_resumption": True,
    }
    if tls.client is not ClientCertificate.NONE:
        common["validation_context_sds_secret_config"] = _sds(tls.secrets, tls.validation)
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


def upstream_socket(secrets: Path, certificate: str, validation: str, server_name: str) -> Json:
    """The transport socket towards a server that must prove `server_name`, with our own client certificate."""
    common = _common(secrets, certificate)
    common["validation_context_sds_secret_config"] = _sds(secrets, validation)
    context: Json = {"@type": _TLS + "UpstreamTlsContext", "common_tls_context": common, "sni": server_name}
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


def _common(secrets: Path, certificate: str) -> Json:
    return {
        "tls_params": {
            "tls_minimum_protocol_version": "TLSv1_2",
            "tls_maximum_protocol_version": "TLSv1_3",
            "cipher_suites": list(_SUITES),
            "ecdh_curves": list(_CURVES),
        },
        "tls_certificate_sds_secret_configs": [_sds(secrets, certificate)],
    }


def _sds(secrets: Path, name: str) -> Json:
    source = {"path": str(secrets / f"{name}.json"), "watched_directory": {"path": str(secrets)}}
    return {"name": name, "sds_config": {"resource_api_version": "V3", "path_config_source": source}}


def certificate_secret(name: str, chain_pem: str, key_pem: str) -> Json:
    """The content of a secret file with a certificate chain and its key."""
    pair = {"certificate_chain": {"inline_string": chain_pem}, "private_key": {"inline_string": key_pem}}
    return _secret(name, {"tls_certificate": pair})


def validation_secret(name: str, ca_pem: str, crls_pem: str = "", *, server_name: str | None = None) -> Json:
    """The content of a secret file with what a peer's certificate is verified against.

    Args:
        name: name of the secret.
        ca_pem: anchors and intermediates.
        crls_pem: CRLs; when there are any, every issuer in a path needs one. Without any, Envoy does not check
            revocation; the services do, and refuse when a CRL is missing.
        server_name: for an upstream: the DNS name that its certificate must hold; a failure ends the connection.
            None is for clients: the verdict is handed to the service instead (ACCEPT_UNTRUSTED).
    """
    context: Json = {"trusted_ca": {"inline_string": ca_pem}, "max_verify_depth": _MAX_DEPTH}
    if crls_pem:
        context["crl"] = {"inline_string": crls_pem}
    if server_name is None:
        context["trust_chain_verification"] = "ACCEPT_UNTRUSTED"
    else:
        context["match_typed_subject_alt_names"] = [{"san_type": "DNS", "matcher": {"exact": server_name}}]
    return _secret(name, {"validation_context": context})


def _secret(name: str, content: Json) -> Json:
    return {"resources": [{"@type": _TLS + "Secret", "name": name} | content]}
