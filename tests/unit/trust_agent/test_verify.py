"""Tokens that the agent refuses (cases/oauth.md 51-68), each beside one that passes."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from tests.fakes.certificates import NOW, FakeAuthority
from tests.fakes.datastation import AUDIENCE, ISSUER, SCOPE, TokenKey, b64, claims
from tests.fakes.trust import FakeTrust, key_set
from trust_agent.verify import TokenRefused, TokenRules, VerifiedToken, Verifier

CA = FakeAuthority()
MINE, OTHER = CA.issue("uzovi:5000"), CA.issue("uzovi:5000")
VALIDATOR = CA.validator()
CERTIFICATE = VALIDATOR.validate(MINE.der, MINE.chain_der, NOW)
KEY = TokenKey()


def make(trust: FakeTrust | None = None, **options: Any) -> tuple[Verifier, FakeTrust]:
    trust = trust or FakeTrust(VALIDATOR, KEY)
    return Verifier(trust, TokenRules(ISSUER, AUDIENCE, frozenset({SCOPE})), **options), trust


async def check(token: str, *, seconds: float = 0, verifier: Verifier | None = None) -> VerifiedToken:
    verifier = verifier or make()[0]
    return await verifier.token([f"Bearer {token}"], CERTIFICATE, NOW + timedelta(seconds=seconds))


async def reason_of(token: str, *, seconds: float = 0, verifier: Verifier | None = None) -> Reason:
    with pytest.raises(Refused) as caught:
        await check(token, seconds=seconds, verifier=verifier)
    assert token not in str(caught.value) or not token
    return caught.value.reason


def good(**changes: Any) -> str:
    return KEY.sign(claims(MINE, NOW, **changes))


async def test_a_good_token_passes() -> None:
    verified = await check(good())
    assert verified.claims.subject.subject == "uzovi:5000"
    assert verified.in_scope
    payload = json.loads(base64.urlsafe_b64decode(verified.header + "=="))
    assert payload == verified.claims.to_json()


def _parts(token: str) -> list[str]:
    return token.split(".")


def _hs256_with_public_key() -> str:
    pem = KEY.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    head = b64(json.dumps({"alg": "HS256", "kid": KEY.kid, "typ": "at+jwt"}).encode())
    message = f"{head}.{b64(json.dumps(claims(MINE, NOW)).encode())}"
    return f"{message}.{b64(hmac.new(pem, message.encode(), hashlib.sha256).digest())}"


def _rs256_confusion() -> str:
    key = rsa.generate_private_key(65537, 2048)
    return jwt.encode(claims(MINE, NOW), key, "RS256", {"kid": KEY.kid, "typ": "at+jwt"})


def _der_signature() -> str:
    head, body, _ = _parts(good())
    return f"{head}.{body}.{b64(KEY.private.sign(f'{head}.{body}'.encode(), ec.ECDSA(hashes.SHA256())))}"


def _zero_signature() -> str:
    head, body, _ = _parts(good())
    return f"{head}.{body}.{b64(bytes(64))}"


def _other_payload() -> str:
    head, _, signature = _parts(good())
    return f"{head}.{b64(json.dumps(claims(MINE, NOW, uzovi='5001', sub='uzovi:5001')).encode())}.{signature}"


def _noncanonical_base64() -> str:
    token = good()
    last = token[-1]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    # 64 bytes leave four unused bits in the last character.
    return token[:-1] + alphabet[alphabet.index(last) + 1]


FORGED: dict[str, tuple[Callable[[], str], Reason]] = {
    "alg none": (lambda: KEY.sign(claims(MINE, NOW), alg="none"), Reason.TOKEN_ALGORITHM),
    "alg none without signature": (
        lambda: KEY.sign(claims(MINE, NOW), alg="none").rpartition(".")[0] + ".",
        Reason.TOKEN_MALFORMED,
    ),
    "alg None with capital": (lambda: KEY.sign(claims(MINE, NOW), alg="NONE"), Reason.TOKEN_ALGORITHM),
    "HS256 with our public key": (_hs256_with_public_key, Reason.TOKEN_ALGORITHM),
    "RS256 under the key id of an EC key": (_rs256_confusion, Reason.TOKEN_ALGORITHM),
    "ECDSA with r = s = 0": (_zero_signature, Reason.TOKEN_SIGNATURE),
    "DER-encoded ECDSA signature": (_der_signature, Reason.TOKEN_SIGNATURE),
    "signature of another key": (lambda: TokenKey().sign(claims(MINE, NOW)), Reason.TOKEN_SIGNATURE),
    "payload of another token": (_other_payload, Reason.TOKEN_SIGNATURE),
    "kid that climbs": (lambda: KEY.sign(claims(MINE, NOW), kid="../../etc/passwd"), Reason.TOKEN_KEY_UNKNOWN),
    "kid with SQL": (lambda: KEY.sign(claims(MINE, NOW), kid="' OR 1=1 --"), Reason.TOKEN_KEY_UNKNOWN),
    "kid that is a number": (lambda: KEY.sign(claims(MINE, NOW), kid=1), Reason.TOKEN_MALFORMED),
    "no kid": (lambda: KEY.sign(claims(MINE, NOW), kid=None), Reason.TOKEN_MALFORMED),
    "kid twice": (
        lambda: _with_header(b'{"alg":"ES256","typ":"at+jwt","kid":"x","kid":"key-1"}'),
        Reason.TOKEN_MALFORMED,
    ),
    "unknown crit": (lambda: KEY.sign(claims(MINE, NOW), crit=["exp"]), Reason.TOKEN_MALFORMED),
    "a key in the header": (lambda: KEY.sign(claims(MINE, NOW), jwk=KEY.jwk), Reason.TOKEN_MALFORMED),
    "a key by URL": (lambda: KEY.sign(claims(MINE, NOW), jku="https://evil.test/jwks"), Reason.TOKEN_MALFORMED),
    "typ JWT": (lambda: KEY.sign(claims(MINE, NOW), typ="JWT"), Reason.TOKEN_TYPE),
    "no typ": (lambda: KEY.sign(claims(MINE, NOW), typ=None), Reason.TOKEN_TYPE),
    "a client assertion": (lambda: KEY.sign(claims(MINE, NOW), typ="client-authentication+jwt"), Reason.TOKEN_TYPE),
    "the revocation feed": (lambda: KEY.sign(claims(MINE, NOW), typ="revocations+jwt"), Reason.TOKEN_TYPE),
    "five segments": (lambda: good() + ".a.b", Reason.TOKEN_MALFORMED),
    "trailing data": (lambda: good() + " x", Reason.TOKEN_MALFORMED),
    "a line break": (lambda: good() + "\n", Reason.TOKEN_MALFORMED),
    "JSON serialisation": (lambda: json.dumps({"payload": "e30"}), Reason.TOKEN_MALFORMED),
    "padding": (lambda: good() + "==", Reason.TOKEN_MALFORMED),
    "base64url that is not canonical": (_noncanonical_base64, Reason.TOKEN_MALFORMED),
    "too long": (lambda: KEY.sign(claims(MINE, NOW, pad="x" * 9000)), Reason.TOKEN_MALFORMED),
    "empty": (lambda: "", Reason.TOKEN_MALFORMED),
}


def _with_header(header: bytes) -> str:
    message = f"{b64(header)}.{b64(json.dumps(claims(MINE, NOW)).encode())}"
    return f"{message}.{b64(KEY.raw_signature(message.encode()))}"


@pytest.mark.parametrize("name", FORGED)
async def test_a_forged_token_is_refused(name: str) -> None:
    forge, expected = FORGED[name]
    assert await reason_of(forge()) is expected
    await check(good())


CLAIMS: dict[str, tuple[dict[str, Any], Reason]] = {
    "issuer with a trailing slash": ({"iss": ISSUER + "/"}, Reason.TOKEN_ISSUER),
    "another environment's issuer with the same key id": ({"iss": "https://authz.prd.test"}, Reason.TOKEN_ISSUER),
    "aud missing": ({"aud": None}, Reason.TOKEN_CLAIMS),
    "aud as array": ({"aud": [AUDIENCE]}, Reason.TOKEN_CLAIMS),
    "aud that is a prefix": ({"aud": AUDIENCE[:-1]}, Reason.TOKEN_AUDIENCE),
    "aud with a trailing slash": ({"aud": AUDIENCE + "/"}, Reason.TOKEN_AUDIENCE),
    "aud of another agent": ({"aud": "https://other.test/graphql"}, Reason.TOKEN_AUDIENCE),
    "exp as float": ({"exp": NOW.timestamp() + 900}, Reason.TOKEN_CLAIMS),
    "exp as text": ({"exp": str(int(NOW.timestamp()) + 900)}, Reason.TOKEN_CLAIMS),
    "exp huge": ({"exp": 10**15}, Reason.TOKEN_CLAIMS),
    "exp negative": ({"exp": -1}, Reason.TOKEN_CLAIMS),
    "exp true": ({"exp": True}, Reason.TOKEN_CLAIMS),
    "exp missing": ({"exp": None}, Reason.TOKEN_CLAIMS),
    "life of more than an hour": ({"exp": int(NOW.timestamp()) + 3601}, Reason.TOKEN_CLAIMS),
    "cnf absent": ({"cnf": None}, Reason.TOKEN_CLAIMS),
    "cnf with SHA-1": ({"cnf": {"x5t": "x" * 27}}, Reason.TOKEN_CLAIMS),
    "cnf padded": ({"cnf": {"x5t#S256": CERTIFICATE.thumbprint + "="}}, Reason.TOKEN_CLAIMS),
    "cnf of another certificate": ({"cnf": {"x5t#S256": b64(bytes(32))}}, Reason.TOKEN_BINDING),
    "nested act": ({"act": {"sub": "agbcode:01234567", "act": {"sub": "uzovi:5000"}}}, Reason.TOKEN_CLAIMS),
    "act that is a text": ({"act": "uzovi:5001"}, Reason.TOKEN_CLAIMS),
    "subject of nine digits": ({"sub": "agbcode:012345678"}, Reason.TOKEN_CLAIMS),
    "subject that means none": ({"sub": "agbcode:00000000"}, Reason.TOKEN_CLAIMS),
    "scope and scopes that differ": ({"scopes": [SCOPE, "a:read"]}, Reason.TOKEN_CLAIMS),
    "short jti": ({"jti": "short"}, Reason.TOKEN_CLAIMS),
}


@pytest.mark.parametrize("name", CLAIMS)
async def test_a_token_with_wrong_claims_is_refused(name: str) -> None:
    changes, expected = CLAIMS[name]
    assert await reason_of(good(**changes)) is expected


async def test_a_payload_with_a_duplicate_claim_is_refused() -> None:
    body = json.dumps(claims(MINE, NOW)).encode().replace(b"{", b'{"sub":"uzovi:5001",', 1)
    assert await reason_of(KEY.sign(body)) is Reason.TOKEN_CLAIMS


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(-10, None), (-10.001, Reason.TOKEN_NOT_YET_VALID), (909.999, None), (910, Reason.TOKEN_EXPIRED)],
)
async def test_the_skew_is_a_boundary(seconds: float, expected: Reason | None) -> None:
    verifier, _ = make()
    token = good()
    for _ in range(2):  # the second time from memory
        if expected is None:
            await check(token, seconds=seconds, verifier=verifier)
        else:
            assert await reason_of(token, seconds=seconds, verifier=verifier) is expected


async def test_a_remembered_token_is_still_bound_revoked_and_expired() -> None:
    verifier, trust = make()
    token = good()
    verified = await check(token, verifier=verifier)
    other = VALIDATOR.validate(OTHER.der, OTHER.chain_der, NOW)
    with pytest.raises(Refused, match="token_binding"):
        await verifier.token([f"Bearer {token}"], other, NOW)
    trust.revoked.add(verified.claims.token_id)
    assert await reason_of(token, verifier=verifier) is Reason.TOKEN_REVOKED
    trust.revoked.clear()
    trust.stale = Reason.REVOCATIONS_STALE
    assert await reason_of(token, verifier=verifier) is Reason.REVOCATIONS_STALE
    trust.stale = None
    await check(token, verifier=verifier)


async def test_a_retired_key_takes_its_tokens_with_it() -> None:
    verifier, trust = make()
    token = good()
    await check(token, verifier=verifier)
    trust.keys = key_set(TokenKey("key-2"))
    assert await reason_of(token, verifier=verifier) is Reason.TOKEN_KEY_UNKNOWN


async def test_a_token_signed_with_the_key_of_the_feed_is_refused() -> None:
    feed_key = TokenKey("feed", "revocations+jwt")
    verifier, _ = make(FakeTrust(VALIDATOR, KEY, feed_key))
    assert await reason_of(feed_key.sign(claims(MINE, NOW)), verifier=verifier) is Reason.TOKEN_KEY_UNKNOWN
    await check(good(), verifier=verifier)


@pytest.mark.parametrize("typ", ["at+jwt", "application/at+jwt", "AT+JWT"])
async def test_every_spelling_of_the_type_is_the_same_type(typ: str) -> None:
    await check(KEY.sign(claims(MINE, NOW), typ=typ))


@pytest.mark.parametrize("typ", ["application/application/at+jwt", "at+jwt ", "application/"])
async def test_another_type_is_refused(typ: str) -> None:
    assert await reason_of(KEY.sign(claims(MINE, NOW), typ=typ)) is Reason.TOKEN_TYPE


@pytest.mark.parametrize(
    ("changes", "seconds", "reason"),
    [
        ({"cnf": {"x5t#S256": b64(bytes(32))}}, 0, Reason.TOKEN_BINDING),
        ({}, 910, Reason.TOKEN_EXPIRED),
        ({}, -11, Reason.TOKEN_NOT_YET_VALID),
        ({"aud": "https://other.example.nl/graphql"}, 0, Reason.TOKEN_AUDIENCE),
        ({"iss": "https://other.example.nl"}, 0, Reason.TOKEN_ISSUER),
    ],
)
async def test_a_refusal_of_a_token_of_authz_says_which_token(
    changes: dict[str, Any], seconds: float, reason: Reason
) -> None:
    payload = claims(MINE, NOW, **changes)
    with pytest.raises(TokenRefused) as caught:
        await check(KEY.sign(payload), seconds=seconds)
    assert (caught.value.reason, caught.value.claims.token_id) == (reason, payload["jti"])
    with pytest.raises(Refused) as forged:
        await check(TokenKey().sign(payload), seconds=seconds)
    assert not isinstance(forged.value, TokenRefused)


async def test_an_unknown_key_is_looked_up_and_used_when_it_is_there() -> None:
    verifier, trust = make()
    new = TokenKey("key-2")
    trust.next_keys = key_set(KEY, new)
    await check(new.sign(claims(MINE, NOW)), verifier=verifier)
    assert trust.refetches == 1
    await check(good(), verifier=verifier)
    assert trust.refetches == 1


async def test_a_token_of_a_revoked_grant_is_refused() -> None:
    verifier, trust = make()
    token = good(authorization_details=[{"type": "iwlz_care_client", "grant_id": "g1"}])
    await check(token, verifier=verifier)
    trust.grants.add("g1")
    assert await reason_of(token, verifier=verifier) is Reason.TOKEN_REVOKED


async def test_remembered_tokens_are_bounded() -> None:
    verifier, _ = make(max_tokens=10)
    for _ in range(50):
        await check(good(), verifier=verifier)
    assert len(verifier._tokens) == 10


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], Reason.TOKEN_MISSING),
        ([""], Reason.TOKEN_MISSING),
        (["Basic YTpi"], Reason.TOKEN_MISSING),
        (["Bearer"], Reason.TOKEN_MISSING),
        (["Bearer "], Reason.TOKEN_MALFORMED),
        (["Bearer a", "Bearer b"], Reason.TOKEN_MULTIPLE),
        (["Bearer a,Bearer b"], Reason.TOKEN_MULTIPLE),
    ],
)
async def test_exactly_one_bearer_token_is_accepted(headers: list[str], expected: Reason) -> None:
    verifier, _ = make()
    with pytest.raises(Refused) as caught:
        await verifier.token(headers, CERTIFICATE, NOW)
    assert caught.value.reason is expected


async def test_lower_case_bearer_is_fine() -> None:
    verifier, _ = make()
    await verifier.token([f"bearer {good()}"], CERTIFICATE, NOW)


@pytest.mark.parametrize(
    "scope", [SCOPE + "x", SCOPE.removesuffix(":read") + ":create", "registers/wlzindicatieregister:read"]
)
async def test_a_scope_by_substring_is_refused(scope: str) -> None:
    verifier, _ = make()
    verified = await check(good(scope=scope, scopes=[scope]), verifier=verifier)
    with pytest.raises(Refused, match="token_scope"):
        verifier.scope(verified)
    verifier.scope(await check(good(), verifier=verifier))
