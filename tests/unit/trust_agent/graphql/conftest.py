"""One register that has everything a schema may have: interfaces, a union, mutations, paging, relations, defaults."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from trust_agent.graphql import CanonicalRequest, Register

SDL = """
scalar UUID
scalar Date
scalar DateTime
scalar Anything

enum Kind { ZIN PGB }

type Query {
  dossier(where: DossierFilter): [Dossier!]!
    @authz(service: "dossiers", operation: "dossier", resourceType: "DOSSIER", action: "read")
  party(where: DossierFilter): [Party!]!
    @authz(service: "dossiers", operation: "party", resourceType: "PARTY", action: "read")
  found: [Found!]! @authz(service: "dossiers", operation: "found", resourceType: "FOUND", action: "read")
  dossiers(first: Int, where: DossierFilter): [Dossier!]!
    @authz(service: "dossiers", operation: "dossiers", resourceType: "DOSSIER", action: "read")
  byKind(kind: Kind = ZIN, weight: Float, anything: Anything): [Dossier!]!
    @authz(service: "dossiers", operation: "byKind", resourceType: "DOSSIER", action: "read")
}

type Mutation {
  close(id: UUID!): Dossier @authz(service: "dossiers", operation: "close", resourceType: "DOSSIER", action: "update")
}

interface Party {
  name: String!
  secret: String! @authz(service: "dossiers", operation: "party", resourceType: "SECRET", action: "read")
}
type Person implements Party {
  name: String!
  secret: String! @authz(service: "dossiers", operation: "party", resourceType: "PERSON_SECRET", action: "read")
  age: Int
}
type Office implements Party {
  name: String!
  secret: String! @authz(service: "dossiers", operation: "party", resourceType: "OFFICE_SECRET", action: "read")
}
union Found = Person | Dossier

type Dossier {
  id: UUID!
  title: String
  opened: Date
  changed: DateTime
  meta: Meta!
  owner: Person
    @authz(service: "dossiers", operation: "dossier", resourceType: "PERSON", action: "read")
    @authz(service: "dossiers", operation: "dossier", resourceType: "OWNERSHIP", action: "read")
  parts(where: PartFilter): [Part!]
    @authz(service: "dossiers", operation: "dossier", resourceType: "PART", action: "read")
}
type Meta { pages: Int version: String }
type Part { number: Int text: String }

input DossierFilter {
  and: [DossierFilter!]
  or: [DossierFilter!]
  not: DossierFilter
  id: UUIDOperations
  title: TextOperations
  opened: DateOperations
  changed: DateTimeOperations
  part: PartFilter
  parts: PartsFilter
}
input PartFilter { and: [PartFilter!] or: [PartFilter!] number: IntOperations text: TextOperations }
input PartsFilter { some: PartFilter none: PartFilter any: Boolean }
input UUIDOperations { eq: UUID neq: UUID in: [UUID] }
input TextOperations {
  and: [TextOperations!] or: [TextOperations!] eq: String neq: String in: [String] contains: String
}
input DateOperations { eq: Date gte: Date ngt: Date }
input DateTimeOperations { eq: DateTime gte: DateTime }
input IntOperations { eq: Int in: [Int!] }
"""
PUBLIC = ("Party.name", "Person.*", "Office.*", "Dossier.*", "Dossier.meta", "Meta.*", "Part.*")
UUID = "c0000000-0000-4000-8000-00000000000a"


@pytest.fixture(scope="session")
def register() -> Register:
    return Register.load(SDL, public_fields=PUBLIC)


Ask = Callable[..., CanonicalRequest]
Refuse = Callable[..., Reason]


@pytest.fixture(scope="session")
def ask(register: Register) -> Ask:
    """Canonicalize a query with variables, and hold every result to what must hold for all of them."""

    def asked(query: str, /, operation: str | None = None, **variables: Any) -> CanonicalRequest:
        request = register.canonicalize(body(query, operation, variables))
        again = register.canonicalize(request.body.encode("ascii"))
        assert again == request
        assert request.body.isprintable()
        return request

    return asked


@pytest.fixture(scope="session")
def refuse(register: Register) -> Refuse:
    """The reason for which a query is refused."""

    def refused(query: str, /, operation: str | None = None, **variables: Any) -> Reason:
        with pytest.raises(Refused) as refusal:
            register.canonicalize(body(query, operation, variables))
        return refusal.value.reason

    return refused


def body(query: str, operation: str | None, variables: dict[str, Any]) -> bytes:
    members: dict[str, Any] = {"query": query, "variables": variables}
    if operation is not None:
        members["operationName"] = operation
    return json.dumps(members).encode()
