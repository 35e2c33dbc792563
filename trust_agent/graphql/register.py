"""A register as the agent sees it: from the body of a request to what is authorized.

Ties the steps together and remembers documents it has seen, bounded in number and in bytes, so that a caller with
10,000 different texts gains nothing (shared `cases/graphql.md`, "Order of cost").
"""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Final, Self

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from trust_agent.graphql.binding import CanonicalRequest, PreparedDocument
from trust_agent.graphql.canonical import reduce_document
from trust_agent.graphql.document import measure, read_document
from trust_agent.graphql.limits import Limits
from trust_agent.graphql.request import GraphQLRequest
from trust_agent.graphql.schema import AnnotatedSchema, load_schema

_REFUSAL_SIZE: Final = 1_000


class Register:
    """The schema of one register with its annotations; make it with `load`."""

    def __init__(self, schema: AnnotatedSchema, limits: Limits) -> None:
        self._schema = schema
        self._limits = limits
        self._seen = _Seen(limits.cached_documents, limits.cached_bytes)

    @classmethod
    def load(
        cls,
        sdl: str,
        *,
        overlay: Mapping[str, Mapping[str, str]] | None = None,
        public_fields: Sequence[str] = (),
        limits: Limits | None = None,
    ) -> Self:
        """Read a register's schema.

        Args:
            sdl: schema definition language, with or without `@authz`.
            overlay: annotations by coordinate for a schema that has none of its own: service, operation,
                resourceType and action.
            public_fields: coordinates, or `Type.*` for all plain values of a type.
            limits: caps on requests and on memory.

        Raises:
            SchemaRefused: the schema has holes; all of them are listed.
        """
        limits = limits or Limits()
        return cls(load_schema(sdl, overlay or {}, public_fields, limits), limits)

    @property
    def service(self) -> str:
        """The service that the annotations name; the agent's own service must be this one."""
        return self._schema.service

    def canonicalize(self, body: bytes) -> CanonicalRequest:
        """Read a request and reduce it to what is authorized and forwarded.

        Does not check that anything is permitted, nor that the caller may send it at all.

        Args:
            body: the bytes of the request body, as received and complete.

        Raises:
            Refused: BODY_TOO_LARGE or one of GRAPHQL_*; the text is fit for the caller.
        """
        # 1. The JSON around the query.
        request = GraphQLRequest.parse(body, self._limits)
        # 2. The document: known, or read, validated and reduced.
        prepared = self._prepare(request.query)
        # 3. The operation asked for is the only one there is.
        if request.operation_name is not None and request.operation_name != prepared.document.name:
            raise Refused(Reason.GRAPHQL_NO_OPERATION, "No operation found to evaluate")
        # 4. The values of the variables.
        return prepared.bind(request.variables)

    def _prepare(self, query: str) -> PreparedDocument:
        # The exact text is the key, by a digest, so that a key costs 16 bytes whatever the length of the text.
        key = hashlib.blake2b(query.encode(), digest_size=16).digest()
        known = self._seen.get(key)
        if known is None:
            known = self._read(query)
            self._seen.put(key, known)
        if isinstance(known, PreparedDocument):
            return known
        # A fresh exception each time: a stored one would collect the frames of every caller.
        raise Refused(*known)

    def _read(self, query: str) -> "PreparedDocument | tuple[Reason, str]":
        try:
            document = reduce_document(
                read_document(query, self._schema.schema, self._limits), self._schema, self._limits
            )
            measure(document.text, self._limits)
            return PreparedDocument(document, self._limits)
        except Refused as refusal:
            return refusal.reason, refusal.detail


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
