"""The headers of a request, read once, and what the edge says in them.

Specification: shared `cases/oauth.md` 33-40. The service listens on a Unix socket that only its own Envoy reaches, and
Envoy removes inbound headers of these names; a header that decides something must still stand there exactly once.
"""

from collections.abc import Sequence
from typing import Final

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from authz.domain.tracing import TraceContext
from authz.edge.client_certificate import (
    EDGE_VERIFIED_HEADER,
    PEER_ADDRESS_HEADER,
    XFCC_HEADER,
    KnownCertificates,
    parse_xfcc,
    peer_address,
)
from authz.edge.tracing import trace_of
from authz.participants.authentication import Connection

MAX_REMEMBERED_CERTIFICATES: Final = 1024
"""Certificates of deelnemers that need not be read again, 12 kB each at most; one is presented for a year."""

_ONCE: Final = frozenset(
    {
        XFCC_HEADER,
        EDGE_VERIFIED_HEADER,
        PEER_ADDRESS_HEADER,
        "authorization",
        "content-type",
        "content-encoding",
        "content-length",
        "transfer-encoding",
        "if-none-match",
        "prefer",
    }
)


class Headers:
    """Headers by lower-case name.

    Args:
        pairs: as ASGI hands them over.

    Attributes:
        duplicate: a header that decides something and is there twice, or None; the edge's verdict before others.
    """

    __slots__ = ("_values", "duplicate")

    def __init__(self, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        self._values = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in pairs}
        self.duplicate: str | None = None
        if len(self._values) != len(pairs):
            seen: set[str] = set()
            for name, _ in pairs:
                key = name.decode("latin-1").lower()
                if key in seen and key in _ONCE and self.duplicate != EDGE_VERIFIED_HEADER:
                    self.duplicate = key
                seen.add(key)

    def get(self, key: str, /) -> str | None:
        """The value, or None; of a repeated header that decides nothing, the last one."""
        return self._values.get(key)

    @property
    def trace(self) -> TraceContext:
        """The trace that the request carries, or a new one."""
        return trace_of(self)

    @property
    def address(self) -> str | None:
        """The peer's own address as the edge saw it; `x-forwarded-for` is never looked at (cases/oauth.md 40)."""
        return peer_address(self.get(PEER_ADDRESS_HEADER))

    @property
    def verified_by_edge(self) -> bool:
        """Envoy's verdict on the client's certificate; one that stands there twice says nothing."""
        return self.duplicate != EDGE_VERIFIED_HEADER and self.get(EDGE_VERIFIED_HEADER) == "1"

    def connection(self) -> Connection:
        """What the edge says about the client's certificate.

        Raises:
            Refused: HEADER_FORBIDDEN, CERTIFICATE_MISSING or CERTIFICATE_MALFORMED.
        """
        if self.duplicate is not None:
            raise Refused(Reason.HEADER_FORBIDDEN, "a header that may be there once is there twice")
        header = self.get(XFCC_HEADER) or ""
        certificate = _KNOWN.find(header) or parse_xfcc(header)
        return Connection(certificate, self.verified_by_edge, self.address)

    def accepted(self, connection: Connection) -> None:
        """Its certificate is a deelnemer's: what was read of it need not be read again."""
        _KNOWN.keep(self.get(XFCC_HEADER) or "", connection.certificate)


# One for the process: the certificates are the same at each endpoint.
_KNOWN: Final = KnownCertificates(MAX_REMEMBERED_CERTIFICATES)
