"""Claims: a token whose claims are not exactly of their shape is no token (RFC 9068, RFC 8705, RFC 8693)."""

from typing import Any

import pytest

from authz.domain.claims import MAX_LIFETIME, AccessTokenClaims
from authz.domain.errors import InvalidValue
from authz.domain.identifiers import Identifier, IdentifierKind
from authz.domain.scopes import ScopeSet

ISSUED = 1_795_348_800


def claims(**changes: Any) -> AccessTokenClaims:
    values: dict[str, Any] = {
        "issuer": "https://authz.example.nl",
        "subject": Identifier(IdentifierKind.UZOVI, "5000"),
        "audience": "https://pep.example.nl/iwlz/indicatieregister/v2/graphql",
        "issued_at": ISSUED,
        "expires_at": ISSUED + 900,
        "token_id": "A" * 22,
        "client_id": "uzovi:5000",
        "scope": ScopeSet.parse("registers/wlzindicatieregister/indicaties/indicatie:read"),
        "thumbprint": "t" * 43,
        "organization_type": "ZORGKANTOOR",
        "policy": "r1",
        "uzovi": "5000",
    }
    return AccessTokenClaims(**(values | changes))


def payload(**changes: Any) -> dict[str, Any]:
    return {name: value for name, value in (claims().to_json() | changes).items() if value is not ...}


def test_claims_survive_the_wire() -> None:
    full = claims(
        actor=Identifier(IdentifierKind.KVK, "12345678"),
        agb="01234567",
        authorization_details=({"type": "iwlz_care_client", "actions": ["read"]},),
    )
    assert AccessTokenClaims.from_json(full.to_json()) == full
    assert AccessTokenClaims.from_json(payload()) == claims()


def test_a_life_of_one_hour_is_the_longest() -> None:
    assert claims(expires_at=ISSUED + MAX_LIFETIME)
    for life in (MAX_LIFETIME + 1, 0, -1):
        with pytest.raises(InvalidValue):
            claims(expires_at=ISSUED + life)


@pytest.mark.parametrize(
    "changes",
    [
        {"cnf": ...},
        {"cnf": {}},
        {"cnf": {"x5t#S256": "t" * 43 + "="}},  # padded base64
        {"cnf": {"x5t": "t" * 27}},  # SHA-1
        {"cnf": {"x5t#S256": "t" * 43, "jkt": "j" * 43}},
        {"cnf": ["x5t#S256"]},
        {"exp": float(ISSUED + 900)},
        {"exp": str(ISSUED + 900)},
        {"exp": -1},
        {"exp": 10**400},
        {"exp": True},
        {"exp": ...},
        {"iat": ...},
        {"nbf": ISSUED - 1},
        {"aud": ["https://pep.example.nl/iwlz/indicatieregister/v2/graphql"]},
        {"aud": ""},
        {"sub": "uzovi:50000"},
        {"sub": 5000},
        {"act": {"sub": "kvk:12345678", "act": {"sub": "kvk:87654321"}}},  # nested
        {"act": {}},
        {"act": "kvk:12345678"},
        {"scope": ["registers/a:read"]},
        {"scopes": ["registers/other:read"]},
        {"scopes": "registers/wlzindicatieregister/indicaties/indicatie:read"},
        {"jti": "short"},
        {"jti": ...},
        {"authorization_details": {}},
        {"authorization_details": ["x"]},
        {"uzovi": "50000"},
        {"agb": 1234567},
        {"policy": ...},
        {"organization_type": ...},
    ],
)
def test_a_claim_of_another_shape_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        AccessTokenClaims.from_json(payload(**changes))
