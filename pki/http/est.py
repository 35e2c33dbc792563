"""EST over HTTP: `/.well-known/est/{cacerts,csrattrs,simpleenroll,simplereenroll}`, on the TLS listener only.

Specification: RFC 7030 sections 3.2, 4.1, 4.2 and 4.5, RFC 8951. A small ASGI application of its own, because it must
see headers and path as Envoy handed them over. Who enrols proves himself with a one-time code in HTTP Basic, who
re-enrols with his current certificate in TLS. Labels (`/est/<label>/...`) are not used: a code and a certificate say
themselves which CA they are for. Channel binding (section 3.5) is not offered: TLS 1.3 has no `tls-unique`.
"""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

import structlog

from authz.domain.audit import EventType
from authz.domain.errors import Refused, SluisError
from authz.domain.reasons import Reason
from authz.edge.client_certificate import (
    EDGE_VERIFIED_HEADER,
    LISTENER_HEADER,
    PEER_ADDRESS_HEADER,
    RAW_PATH_HEADER,
    XFCC_HEADER,
    peer_address,
)
from authz.edge.rate import RateLimiter, network_of
from authz.edge.tracing import trace_of
from pki.audit.tally import Tally
from pki.enrolment import est
from pki.enrolment.renewal_limits import TooOften
from pki.enrolment.service import Asker, Busy, Enrolment, Repeated
from pki.http.listeners import TLS_LISTENER
from pki.http.peers import Peers
from pki.issuing import IssuingError
from pki.signing.signer import SignerError
from pki.store.database import StoreUnavailable

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

PREFIX: Final = "/.well-known/est"
APPROVAL_RETRY: Final = 60
"""Seconds after which somebody whose code waits for approval asks again."""
BUSY_RETRY: Final = 30
RENEWALS_PER_MINUTE: Final = 10
GUESSES_PER_MINUTE: Final = 300
"""Failed attempts with codes from all addresses together: each takes the write lock, a slow hash and a record."""
_ONCE: Final = frozenset(
    {
        *("authorization", "content-type", "content-encoding", "content-length", "content-transfer-encoding"),
        *("transfer-encoding", XFCC_HEADER, EDGE_VERIFIED_HEADER, LISTENER_HEADER, PEER_ADDRESS_HEADER),
        RAW_PATH_HEADER,
    }
)
_LOG: Final = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back.

    Attributes:
        status: HTTP status.
        body: content.
        media_type: of it.
        headers: further ones, names in small letters.
    """

    status: int
    body: bytes
    media_type: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Incoming:
    """A request as Envoy handed it over, body not read yet."""

    method: str
    path: str
    headers: Mapping[str, str]
    asker: Asker
    receive: Receive


class EstApplication:
    """The four operations.

    Args:
        enrolment: what they do.
        peers: validates the certificate of whoever re-enrols.
        authorities: DER of the CA certificates, in any order: a CMS set of certificates is sorted by its bytes.
        tally: counts what gets no audit record of its own.
        attempts_per_minute: those that ended without a certificate, from one address.
    """

    def __init__(
        self,
        enrolment: Enrolment,
        peers: Peers,
        authorities: Sequence[bytes],
        *,
        tally: Tally,
        attempts_per_minute: int,
    ) -> None:
        self._enrolment = enrolment
        self._peers = peers
        self._tally = tally
        self._ca_certificates = Answer(HTTPStatus.OK, est.certificates(authorities), est.CERTIFICATES_TYPE)
        self._attributes = Answer(HTTPStatus.OK, est.csr_attributes(), est.ATTRIBUTES_TYPE)
        self._attempts = RateLimiter(attempts_per_minute, 60)
        self._guesses = RateLimiter(GUESSES_PER_MINUTE, 60)
        self._renewals = RateLimiter(RENEWALS_PER_MINUTE, 60)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        pairs = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        headers = dict(pairs)
        trace = trace_of(headers)
        address = peer_address(headers.get(PEER_ADDRESS_HEADER))
        incoming = Incoming(scope["method"], headers.get(RAW_PATH_HEADER, ""), headers, Asker(trace, address), receive)
        try:
            _require_single([name for name, _ in pairs])
            answer = await self._route(incoming)
        except Refused as refused:
            answer = _refusal(refused)
        except (Busy, StoreUnavailable, SignerError, IssuingError) as error:
            retry = error.seconds if isinstance(error, Busy) else None
            if retry is None:  # else one code is tried many times at once, which is its holder's matter
                _LOG.error("est_unavailable", why=type(error).__name__, trace_id=trace.trace_id)
            answer = _text(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable: try again later.", retry or BUSY_RETRY)
        except SluisError as error:
            _LOG.error("est_failed", why=type(error).__name__, trace_id=trace.trace_id)
            answer = _text(HTTPStatus.INTERNAL_SERVER_ERROR, f"server_error: see trace {trace.trace_id}.")
        await _send(send, answer, trace.trace_id, bodiless=incoming.method == "HEAD")

    async def _route(self, incoming: Incoming) -> Answer:
        path, question, _ = incoming.path.partition("?")
        operation = path.removeprefix(f"{PREFIX}/") if path.startswith(f"{PREFIX}/") else ""
        # Credentials must never have crossed the plain listener.
        if incoming.headers.get(LISTENER_HEADER) != TLS_LISTENER or operation not in _METHODS:
            raise Refused(
                Reason.NOT_FOUND,
                "Expected one of cacerts, csrattrs, simpleenroll, simplereenroll under /.well-known/est, over https.",
            )
        if question:
            raise Refused(Reason.QUERY_PARAMETERS, "Expected a path without a query.")
        if incoming.method not in _METHODS[operation]:
            raise _NotAllowed(_METHODS[operation])
        if operation == "cacerts":
            return self._ca_certificates
        if operation == "csrattrs":
            return self._attributes
        if operation == "simpleenroll":
            return await self._enrol(incoming)
        return await self._reenrol(incoming)

    async def _enrol(self, incoming: Incoming) -> Answer:
        identifier, code = est.read_credentials(incoming.headers.get("authorization", ""))
        request = await _request(incoming)
        source = network_of(incoming.asker.address)
        try:
            _limit(self._attempts, source)
            _limit(self._guesses, "")
        except _TooMany as refused:
            self._tally.add(EventType.CODE_USE, refused.reason)
            raise
        # For his address only who goes away with a certificate is not counted; for all together, only who cost much.
        guessed = True
        try:
            entitled = await self._enrolment.authenticate(identifier, code, incoming.asker)
            guessed = False
        except Repeated as refused:
            guessed = False
            self._tally.add(EventType.CODE_USE, refused.reason)
            raise
        except Refused as refused:
            guessed = refused.reason is not Reason.CODE_UNAPPROVED
            raise
        except Busy:
            # Nothing was looked at.
            guessed = False
            self._attempts.give_back(source)
            raise
        finally:
            if not guessed:
                self._guesses.give_back("")
        issued = await self._enrolment.enrol(entitled, request, incoming.asker)
        self._attempts.give_back(source)
        return Answer(HTTPStatus.OK, est.certificates([issued.certificate]), est.ENROLLED_TYPE)

    async def _reenrol(self, incoming: Incoming) -> Answer:
        verified = incoming.headers.get(EDGE_VERIFIED_HEADER) == "1"
        try:
            presented, current = await self._peers.validate(incoming.headers.get(XFCC_HEADER), verified=verified)
            # By party, not by certificate, of which there is a new one after each renewal.
            _limit(self._renewals, f"{current.environment}/{current.identity.subject}")
        except Refused as refused:
            if verified and refused.reason is not Reason.RATE_LIMITED:
                await self._enrolment.refuse_renewal(refused.reason, incoming.asker)
            else:
                # Anybody can cause these, as often as he likes: they are counted.
                self._tally.add(EventType.CERTIFICATE_RENEW, refused.reason)
            raise
        request = await _request(incoming)
        certificate = await self._enrolment.reenrol(current, presented.leaf_der, request, incoming.asker)
        return Answer(HTTPStatus.OK, est.certificates([certificate]), est.ENROLLED_TYPE)


class _NotAllowed(Refused):
    def __init__(self, methods: Sequence[str]) -> None:
        super().__init__(Reason.METHOD_NOT_ALLOWED, f"Expected the method {' or '.join(methods)}.")
        self.methods = methods


class _TooMany(Refused):
    def __init__(self, seconds: float) -> None:
        super().__init__(Reason.RATE_LIMITED, "Too many attempts; try again later.")
        self.seconds = int(seconds) + 1


_METHODS: Final = {
    "cacerts": ("GET", "HEAD"),
    "csrattrs": ("GET", "HEAD"),
    "simpleenroll": ("POST",),
    "simplereenroll": ("POST",),
}
_STATUS: Final = {
    Reason.NOT_FOUND: HTTPStatus.NOT_FOUND,
    Reason.METHOD_NOT_ALLOWED: HTTPStatus.METHOD_NOT_ALLOWED,
    Reason.BODY_TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Reason.CONTENT_TYPE: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    Reason.CONTENT_ENCODING: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    Reason.RATE_LIMITED: HTTPStatus.TOO_MANY_REQUESTS,
    Reason.CODE_UNAPPROVED: HTTPStatus.ACCEPTED,  # RFC 7030 section 4.2.3: manual authorization
    Reason.IDENTITY_HAS_CERTIFICATE: HTTPStatus.CONFLICT,
    Reason.RENEWAL_UNDERWAY: HTTPStatus.CONFLICT,
    Reason.RENEWAL_TOO_SOON: HTTPStatus.TOO_MANY_REQUESTS,
    Reason.RENEWALS_EXHAUSTED: HTTPStatus.TOO_MANY_REQUESTS,
    Reason.DNS_NAME_TAKEN: HTTPStatus.CONFLICT,
    Reason.DNS_NAME_OF_PRODUCTION: HTTPStatus.CONFLICT,
    Reason.CRL_STALE: HTTPStatus.SERVICE_UNAVAILABLE,
    Reason.CRL_MISSING: HTTPStatus.SERVICE_UNAVAILABLE,
    # What the holder of a domain repairs is 403; what may be trouble of ours is worth another try.
    Reason.DOMAIN_INSECURE: HTTPStatus.FORBIDDEN,
    Reason.DOMAIN_BOGUS: HTTPStatus.FORBIDDEN,
    Reason.DOMAIN_ABSENT: HTTPStatus.FORBIDDEN,
    Reason.DOMAIN_INDETERMINATE: HTTPStatus.SERVICE_UNAVAILABLE,
    Reason.DOMAIN_UNREACHABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    Reason.DOMAIN_UNCHECKED: HTTPStatus.SERVICE_UNAVAILABLE,
    Reason.CREDENTIALS_MISSING: HTTPStatus.UNAUTHORIZED,
    # Not for the holder to repair: an operator makes a new code.
    Reason.TWO_PERSONS_REQUIRED: HTTPStatus.FORBIDDEN,
    Reason.OPERATOR_SIGNATURE: HTTPStatus.FORBIDDEN,
    Reason.REGISTER_CONTRADICTS_CERTIFICATE: HTTPStatus.FORBIDDEN,
}
_RETRY: Final = {
    HTTPStatus.ACCEPTED: APPROVAL_RETRY,
    HTTPStatus.SERVICE_UNAVAILABLE: BUSY_RETRY,
}


def _status_of(reason: Reason) -> HTTPStatus:
    if reason in _STATUS:
        return _STATUS[reason]
    if reason.startswith("code_"):
        return HTTPStatus.UNAUTHORIZED
    return HTTPStatus.FORBIDDEN if reason.startswith("certificate_") else HTTPStatus.BAD_REQUEST


def _refusal(refused: Refused) -> Answer:
    status = _status_of(refused.reason)
    headers = {}
    retry = refused.seconds if isinstance(refused, _TooMany | TooOften) else _RETRY.get(status)
    if status is HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = f'Basic realm="{est.REALM}", charset="UTF-8"'
    if isinstance(refused, _NotAllowed):
        headers["allow"] = ", ".join(refused.methods)
    # RFC 7030 section 4.2.3: an error is plain text that people can read.
    return _text(status, f"{refused.reason}: {refused.detail}", retry, headers)


def _text(status: HTTPStatus, text: str, retry: int | None = None, headers: Mapping[str, str] | None = None) -> Answer:
    more = dict(headers or {}) | ({"retry-after": str(retry)} if retry is not None else {})
    return Answer(status, f"{text}\n".encode(), "text/plain; charset=utf-8", more)


def _require_single(names: Sequence[str]) -> None:
    deciding = [name for name in names if name in _ONCE]
    if len(deciding) != len(set(deciding)):
        raise Refused(Reason.HEADER_FORBIDDEN, "A header that may be there once is there twice.")


def _limit(limiter: RateLimiter, key: str) -> None:
    wait = limiter.take(key)
    if wait:
        raise _TooMany(wait)


async def _request(incoming: Incoming) -> bytes:
    """DER of the request in the body, before anybody is authenticated: only sizes and forms are looked at."""
    headers = incoming.headers
    # RFC 9110 section 8.3.1: parameters may follow; this type has none, so that they say nothing.
    if headers.get("content-type", "").partition(";")[0].strip().lower() != est.REQUEST_TYPE:
        raise Refused(Reason.CONTENT_TYPE, f"Content-Type: expected {est.REQUEST_TYPE}.")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise Refused(Reason.CONTENT_ENCODING, "Content-Encoding: expected none.")
    # RFC 8951 section 3.2: the header says nothing that is not known, but it may be there.
    if headers.get("content-transfer-encoding", "base64").lower() != "base64":
        raise Refused(Reason.CONTENT_ENCODING, "Content-Transfer-Encoding: expected base64.")
    body = b""
    while True:
        message = await incoming.receive()
        body += message.get("body", b"")
        if message["type"] != "http.request" or not message.get("more_body", False) or len(body) > est.MAX_BODY_BYTES:
            return est.read_body(body)


async def _send(send: Send, answer: Answer, trace_id: str, *, bodiless: bool) -> None:
    headers = {
        "content-type": answer.media_type,
        "content-length": str(len(answer.body)),
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        "x-b3-traceid": trace_id,
    }
    if not answer.media_type.startswith("text/"):
        headers["content-transfer-encoding"] = "base64"  # RFC 7030 section 4.1.3; clients of before RFC 8951 want it
    headers |= answer.headers
    raw = [(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": int(answer.status), "headers": raw})
    await send({"type": "http.response.body", "body": b"" if bodiless else answer.body})
