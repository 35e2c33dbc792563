"""The claims of one token, of a zorgkantoor, for whoever decides by claims and looks at no signature."""

from authz.domain.claims import AccessTokenClaims
from authz.domain.identifiers import Identifier, IdentifierKind
from authz.domain.scopes import ScopeSet

CLAIMS = AccessTokenClaims(
    issuer="https://authz.example",
    subject=Identifier(IdentifierKind.UZOVI, "5000"),
    audience="https://agent.example/graphql",
    issued_at=1_000,
    expires_at=1_900,
    token_id="A" * 22,
    client_id="uzovi:5000",
    scope=ScopeSet.parse("registers/wlzindicatieregister/indicaties/indicatie:read"),
    thumbprint="A" * 43,
    organization_type="ZORGKANTOOR",
    policy="r1",
    uzovi="5000",
)
