"""A register as the agent sees it: from the body of a request to what is authorized.

Ties the steps together and remembers documents it has seen, bounded in number and in bytes, so that a caller with
10,000 different texts gains nothing (shared `cases/graphql.md`, "Order of cost"): what is not remembered costs
milliseconds of the one loop that everybody waits for, so each caller has a share of it; and what did not lead to a
permit is remembered apart, so that it pushes out nothing that did (docs/decisions/0128).
"""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Final, Self

import msgspec

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from authz.edge.rate import RateLimiter
from trust_agent.graphql.binding import CanonicalRequest, PreparedDocument
from trust_agent.graphql.canonical import reduce_document
from trust_agent.graphql.document import measure, read_document
from trust_agent.graphql.limits import Limits
from trust_agent.graphql.request import GraphQLRequest
from trust_agent.graphql.schema import AnnotatedSchema, load_schema

_REFUSAL_SIZE: Final = 1_000


class Reading(msgspec.Struct, frozen=True):
    """A request that was read, and the document it came with.

    Attributes:
        request: what is to be authorized.
        key: of the exact text.
        document: as remembered.
    """

    request: CanonicalRequest
    key: bytes
    document: PreparedDocument


class Register:
    """The schema of one register with its annotations; make it with `load`."""

    def __init__(
        self, schema: AnnotatedSchema, limits: Limits, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._schema = schema
        self._limits = limits
        self._templates = _Seen(limits.cached_documents, limits.cached_bytes)
        self._others = _Seen(limits.other_documents, limits.other_bytes)
        burst = limits.new_documents
        self._shares = RateLimiter(burst, burst / limits.new_documents_per_second, monotonic)

    @classmethod
    def load(
        cls,
        sdl: str,
        *,
        overlay: Mapping[str, Mapping[str, str]] | None = None,
        public_fields: Sequence[str] = (),
        limits: Limits | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> Self:
        """Read a register's schema.

        Args:
            sdl: schema definition language, with or without `@authz`.
            overlay: annotations by coordinate for a schema that has none of its own: service, operation,
                resourceType and action.
            public_fields: coordinates, or `Type.*` for all plain values of a type.
            limits: caps on requests and on memory.
            monotonic: seconds that only move forward, for the shares of callers.

        Raises:
            SchemaRefused: the schema has holes; all of them are listed.
        """
        limits = limits or Limits()
        return cls(load_schema(sdl, overlay or {}, public_fields, limits), limits, monotonic)

    @property
    def service(self) -> str:
        """The service that the annotations name; the agent's own service must be this one."""
        return self._schema.service

    def read(self, body: bytes, caller: str) -> Reading:
        """Read a request of somebody and reduce it to what is authorized and forwarded.

        Does not check that anything is permitted, nor that the caller may send it at all. A document that is not
        remembered counts for the share of the caller, whatever comes of it.

        Args:
            body: the bytes of the request body, as received and complete.
            caller: who sends it, proved.

        Raises:
            Refused: BODY_TOO_LARGE, NEW_DOCUMENTS_LIMITED or one of GRAPHQL_*; the text is fit for the caller.
        """
        # 1. The JSON around the query.
        request = GraphQLRequest.parse(body, self._limits)
        # 2. The document: known, or read, validated and reduced. The exact text is the key, by a digest, so that a
        #    key costs 16 bytes whatever the length of the text.
        key = hashlib.blake2b(request.query.encode(), digest_size=16).digest()
        known = self._templates.get(key) or self._others.get(key)
        if known is None:
            if self._shares.take(caller):
                raise Refused(
                    Reason.NEW_DOCUMENTS_LIMITED,
                    "too many different queries at once: send values as variables, so that the text stays the same",
                )
            known = self._prepare(request.query)
            self._others.put(key, known)
        if not isinstance(known, PreparedDocument):
            # A fresh exception each time: a stored one would collect the frames of every caller.
            raise Refused(*known)
        # 3. and 4.
        return Reading(_bound(known, request), key, known)

    def permitted(self, reading: Reading) -> None:
        """A request with this document was permitted: it is worth remembering."""
        self._templates.put(reading.key, reading.document)

    def canonicalize(self, body: bytes) -> CanonicalRequest:
        """As `read`, for who is no caller: nothing is counted and nothing remembered.

        Args:
            body: as for `read`.

        Raises:
            Refused: as for `read`, but not NEW_DOCUMENTS_LIMITED.
        """
        request = GraphQLRequest.parse(body, self._limits)
        known = self._prepare(request.query)
        if not isinstance(known, PreparedDocument):
            raise Refused(*known)
        return _bound(known, request)

    def _prepare(self, query: str) -> "PreparedDocument | tuple[Reason, str]":
        try:
            document = reduce_document(
                read_document(query, self._schema.schema, self._limits), self._schema, self._limits
            )
            measure(document.text, self._limits)
            return PreparedDocument(document, self._limits)
        except Refused as refusal:
            return refusal.reason, refusal.detail


def _bound(document: PreparedDocument, request: GraphQLRequest) -> CanonicalRequest:
    # 3. The operation asked for is the only one there is.
    if request.operation_name is not None and request.operation_name != document.document.name:
        raise Refused(Reason.GRAPHQL_NO_OPERATION, "No operation found to evaluate")
    # 4. The values of the variables.
    return document.bind(request.variables)


class _Seen:
    """Least recently used documents and refusals, bounded in number and estimated bytes."""

    def __init__(self, entries: int, size: int) -> None:
        self._entries = entries
        self._left = size
        self._items: OrderedDict[bytes, PreparedDocument | tuple[Reason, str]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: bytes) -> PreparedDocument | tuple[Reason, str] | None:
        with self._lock:
            item = self._items.get(key)
            if item is not None:
                self._items.move_to_end(key)
            return item

    def put(self, key: bytes, item: PreparedDocument | tuple[Reason, str]) -> None:
        with self._lock:
            if key in self._items:
                return
            self._items[key] = item
            self._left -= _size(item)
            while self._items and (len(self._items) > self._entries or self._left < 0):
                self._left += _size(self._items.popitem(last=False)[1])


def _size(item: PreparedDocument | tuple[Reason, str]) -> int:
    return item.size if isinstance(item, PreparedDocument) else _REFUSAL_SIZE
