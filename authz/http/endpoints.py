"""The endpoints around the token: keys, metadata, bundles, revocations, address book, records of others, health.

Specification: shared `spec/authorization.md`, "Around the token"; `spec/policy.md`, "Bundles"; `domain.md`, "Address
book"; `spec/audit.md`, "Writing". Keys, metadata and health hold nothing secret and are read before a reader has
anything to authenticate with; everything else is for deelnemers.
"""

from typing import Final

import msgspec
import structlog
from litestar import Router, get, post, route
from litestar.di import NamedDependency
from litestar.enums import HttpMethod
from litestar.params import FromPath
from litestar.response import Response

from authz.audit.ingest import Sender
from authz.audit.shipment import MAX_BATCH_BYTES
from authz.directory.listing import list_secure
from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from authz.http.answers import AnyRequest, client_of, keep_client, publication_response, response
from authz.http.bodies import JSON, read_body, require_content
from authz.http.faces import JSON_TYPE, OAUTH
from authz.http.headers import Headers
from authz.http.parts import Parts, metadata

_log = structlog.get_logger()
BUNDLE_TYPE: Final = "application/vnd.openpolicyagent.bundles"
"""With any other type OPA falls back from long polling to short polling (spec/policy.md, "Bundles")."""
FEED_TYPE: Final = "application/jwt"
JWKS_TYPE: Final = "application/jwk-set+json"


async def require_participant(request: AnyRequest) -> Response[bytes] | None:
    """Litestar's `before_request`: let only deelnemers in."""
    parts: Parts = request.app.state["parts"]
    try:
        keep_client(request, parts.gate.participant(request))
    except Refused as refusal:
        return await parts.gate.refuse(request, refusal, "participants")
    except Exception as error:  # noqa: BLE001  as at the token endpoint: whatever a certificate causes is recorded
        _log.error("client not authenticated", error_kind=type(error).__name__)
        return await parts.gate.refuse(request, Refused(Reason.INTERNAL_ERROR, "unexpected"), "participants")
    return None


@get("/jwks")
async def jwks(request: AnyRequest, parts: NamedDependency[Parts]) -> Response[bytes]:
    """The keys that verify tokens and the revocation feed."""
    return await publication_response(request, parts.keys, JWKS_TYPE, parts.waiters)


@get("/.well-known/oauth-authorization-server")
async def server_metadata(parts: NamedDependency[Parts]) -> Response[bytes]:
    """RFC 8414."""
    return response(msgspec.json.encode(metadata(parts.issuer, OAUTH.path)), JSON_TYPE)


@get("/health")
async def health(parts: NamedDependency[Parts]) -> Response[bytes]:
    """200 when tokens can be issued, 503 with what is wrong otherwise."""
    problems = list(parts.health.problems())
    body = {"status": "unhealthy" if problems else "ok", "problems": problems}
    return response(msgspec.json.encode(body), JSON_TYPE, 503 if problems else 200)


@get("/bundles/{name:str}")
async def bundle(request: AnyRequest, parts: NamedDependency[Parts], name: FromPath[str]) -> Response[bytes]:
    """A signed policy bundle, for our agents and for any OPA."""
    publication = parts.bundles.get(name)
    if publication is None:
        refusal = Refused(Reason.NOT_FOUND, "there is no bundle of this name")
        return await parts.gate.refuse(request, refusal, "bundles", client_of(request))
    return await publication_response(request, publication, BUNDLE_TYPE, parts.waiters)


@get("/revocations")
async def revocations(request: AnyRequest, parts: NamedDependency[Parts]) -> Response[bytes]:
    """The signed revocation feed."""
    return await publication_response(request, parts.revocations, FEED_TYPE, parts.waiters)


@get("/directory/v1/services")
async def services(parts: NamedDependency[Parts]) -> Response[bytes]:
    """The address book: what is DNSSEC-secure at this moment, with DANE where it is required."""
    listed = await list_secure(parts.book, parts.standing, parts.endpoints, parts.clock)
    return response(msgspec.json.encode(listed), JSON_TYPE)


@post("/audit/v1/records", status_code=200)
async def records(request: AnyRequest, parts: NamedDependency[Parts]) -> Response[bytes]:
    """Audit records that agents and the certificate authority ship, at least once each."""
    client = client_of(request)
    sender = Sender(client.participant.id.subject, frozenset(client.participant.log_sources))
    try:
        # Before a byte is read: whoever has nothing to ship makes nobody wait for the reading of it.
        sender.require_sources()
        headers = Headers(list(request.scope["headers"]))
        require_content(headers, JSON)
        body = await read_body(headers, request.receive, MAX_BATCH_BYTES)
        accepted = await parts.intake.take(body, sender)
    except Refused as refusal:
        return await parts.gate.refuse(request, refusal, "audit records", client)
    return response(msgspec.json.encode({"accepted": len(accepted)}), JSON_TYPE)


@route(["/", "/{anything:path}"], http_method=list(HttpMethod))
async def nowhere(request: AnyRequest, parts: NamedDependency[Parts]) -> Response[bytes]:
    """Every other path."""
    return await parts.gate.refuse(request, Refused(Reason.NOT_FOUND, "there is nothing here"), "unknown")


OPEN: Final = (jwks, server_metadata, health, nowhere)
PARTICIPANTS_ONLY: Final = Router(
    "/", route_handlers=[bundle, revocations, services, records], before_request=require_participant
)
