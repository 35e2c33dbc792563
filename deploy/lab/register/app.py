"""The register as an application: canonical document in, `application/graphql-response+json` out.

Specification: GraphQL over HTTP, "Response". The data never changes, so answers are remembered: what a lab or a bench
then measures is the way to the register and not the register.
"""

import json
from collections import OrderedDict
from pathlib import Path
from typing import Any, Final, Protocol

from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLError,
    GraphQLResolveInfo,
    GraphQLSchema,
    build_schema,
    execute_sync,
    parse,
    validate,
)

from deploy.lab.register import SCHEMAS, people
from deploy.lab.register.matching import matches

GRAPHQL_RESPONSE: Final = "application/graphql-response+json"
_ANSWERS: Final = 1_000
_MAX_BODY: Final = 1_048_576


class Scope(Protocol):
    """The part of Granian's RSGI scope that is used here."""

    @property
    def method(self) -> str:
        """HTTP method."""
        ...

    @property
    def path(self) -> str:
        """Path without the query."""
        ...

    @property
    def headers(self) -> Any:  # noqa: ANN401  a mapping type of Granian's own
        """Request headers."""
        ...


class HttpProtocol(Protocol):
    """The part of Granian's RSGI protocol that is used here."""

    async def __call__(self) -> bytes:
        """The request body."""
        ...

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        """Send the whole response."""
        ...


class RegisterApp:
    """One register as an RSGI application.

    Args:
        schema: of the register.
        entities: everything it holds, by root field.
    """

    def __init__(self, schema: GraphQLSchema, entities: dict[str, tuple[people.Entity, ...]]) -> None:
        self._schema = schema
        self._answers: OrderedDict[bytes, tuple[int, bytes]] = OrderedDict()
        self._root = {name: _resolver(items) for name, items in entities.items()}

    async def __rsgi__(self, scope: Scope, protocol: HttpProtocol) -> None:
        """Answer one request; the path is the front's to choose."""
        if scope.method == "GET" and scope.path == "/health":
            protocol.response_bytes(200, [("content-type", "text/plain")], b"ok\n")
            return
        body = await protocol()
        status, content = self.answer(scope.method, scope.headers.get("claims"), body)
        protocol.response_bytes(status, [("content-type", GRAPHQL_RESPONSE)], content)

    def answer(self, method: str, claims: str | None, body: bytes) -> tuple[int, bytes]:
        """Status and body for one request.

        Args:
            method: only POST is served.
            claims: the header that the agent sets; without it the request did not come through the agent.
            body: JSON with `query` and perhaps `variables`.
        """
        if method != "POST" or len(body) > _MAX_BODY:
            return _refusal(405 if method != "POST" else 413, "this register takes GraphQL by POST")
        if not claims:
            return _refusal(403, "this register answers its trust agent only")
        known = self._answers.get(body)
        if known is None:
            known = self._answers[body] = self._execute(body)
            if len(self._answers) > _ANSWERS:
                self._answers.popitem(last=False)
        return known

    def _execute(self, body: bytes) -> tuple[int, bytes]:
        try:
            request = json.loads(body)
            document = parse(request["query"])
        except (ValueError, KeyError, TypeError, GraphQLError):
            return _refusal(400, "not a GraphQL request")
        errors = validate(self._schema, document)
        if errors:
            return 400, json.dumps({"errors": [error.formatted for error in errors]}).encode()
        result = self._run(document, request.get("variables"))
        return 200 if result.data is not None else 400, json.dumps(result.formatted).encode()

    def _run(self, document: DocumentNode, variables: dict[str, Any] | None) -> ExecutionResult:
        return execute_sync(self._schema, document, self._root, variable_values=variables)


def register(name: str, *, holder: str = "5001") -> RegisterApp:
    """One of the lab's registers.

    Args:
        name: `indicatie` or `bemiddeling`.
        holder: UZOVI code of the care office that holds the Bemiddelingsregister.
    """
    schema = build_schema(Path(SCHEMAS[name]).read_text(encoding="utf-8"))
    if name == "indicatie":
        return RegisterApp(schema, {"wlzIndicatie": people.indications()})
    return RegisterApp(schema, {"bemiddeling": people.mediations(holder)})


def _resolver(items: tuple[people.Entity, ...]) -> Any:  # noqa: ANN401  the library calls it
    def resolve(_info: GraphQLResolveInfo[None], where: dict[str, Any] | None = None) -> list[people.Entity]:
        return [item for item in items if matches(item, where)]

    return resolve


def _refusal(status: int, message: str) -> tuple[int, bytes]:
    return status, json.dumps({"errors": [{"message": message}]}).encode()
