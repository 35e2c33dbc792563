"""From the body of a GraphQL request to one canonical document and the field occurrences to be authorized.

`Register.load` proves that no field of a schema escapes authorization; `Register.canonicalize` reduces a request. Only
what comes out of it is authorized, and only that is forwarded: there are never two parsers. Specification: shared
`spec/enforcement.md` and `cases/graphql.md`.
"""

from trust_agent.graphql.binding import CanonicalRequest, Occurrence
from trust_agent.graphql.limits import Limits
from trust_agent.graphql.register import Register
from trust_agent.graphql.schema import Authz, SchemaRefused

__all__ = ["Authz", "CanonicalRequest", "Limits", "Occurrence", "Register", "SchemaRefused"]
