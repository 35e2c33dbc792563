"""Envoy for the settings of an agent. Imports little, so that the supervising process starts quickly."""

from pathlib import Path
from typing import Final

from authz.edge.envoy import DownstreamTls, EdgeLimits, Listener, Upstream, datastation_front
from authz.edge.secrets import OwnCertificate, PeerValidation, TlsSecret
from authz.edge.supervise import Front, RunFolder
from trust_agent.settings import AgentSettings

CONTROL_SOCKET: Final = "control.sock"
"""Health for the supervisor, in the run folder."""


def trust_folder(settings: AgentSettings) -> Path:
    """Where trust material is kept: the decision service writes CRLs there, and Envoy's secrets are made from them."""
    return settings.state_dir / "trust"


def render_front(settings: AgentSettings, folder: RunFolder) -> Front:
    """Envoy for these settings."""
    register = settings.register_
    listener = Listener(
        "agent",
        settings.listen.address,
        settings.listen.port,
        DownstreamTls(folder.secrets),
        EdgeLimits(max_body_bytes=settings.limits.max_body_bytes, route_timeout=register.timeout + 5),
    )
    upstream = Upstream(
        host=register.host,
        port=register.port,
        server_name=register.server_name,
        path=register.path,
        secrets=folder.secrets,
        timeout=register.timeout,
    )
    config = datastation_front(
        sender=settings.sender,
        admin=folder.admin,
        decision=[folder.service],
        listener=listener,
        upstream=upstream,
        decision_timeout=settings.limits.decision_timeout,
    )
    secrets: list[TlsSecret] = [
        OwnCertificate(settings.certificate.certificate, settings.certificate.key),
        PeerValidation(settings.clients.authorities, trust_folder(settings) / "crls"),
        PeerValidation(register.anchors, server_name=register.server_name, name="register"),
    ]
    return Front(config, secrets, concurrency=settings.limits.envoy_threads)
