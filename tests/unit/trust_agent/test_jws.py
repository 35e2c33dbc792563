"""Key sets that the agent refuses, and keys that it leaves out."""

import json

import pytest

from tests.fakes.datastation import TokenKey, b64
from tests.fakes.trust import key_set
from trust_agent.jws import KeySet, KeysInvalid

KEY = TokenKey()
JWKS = {
    "not JSON": b"{",
    "no keys": b"{}",
    "empty": b'{"keys": []}',
    "a key id twice": json.dumps({"keys": [KEY.jwk, KEY.jwk]}).encode(),
    "a key without id": json.dumps({"keys": [KEY.jwk | {"kid": ""}]}).encode(),
    "a private key": json.dumps({"keys": [KEY.jwk | {"d": "AAAA"}]}).encode(),
    "only a symmetric key": json.dumps({"keys": [{"kty": "oct", "k": "AAAA", "kid": "a", "alg": "HS256"}]}).encode(),
    "a point not on the curve": json.dumps({"keys": [KEY.jwk | {"x": b64(bytes(32))}]}).encode(),
    "an algorithm that is not the key's": json.dumps({"keys": [KEY.jwk | {"crv": "P-384"}]}).encode(),
    "a key that does not say what it signs": json.dumps({"keys": [TokenKey(typ=None).jwk]}).encode(),
    "a key that signs nothing": json.dumps({"keys": [KEY.jwk | {"sluis_typ": ""}]}).encode(),
    "a key that signs several things": json.dumps({"keys": [KEY.jwk | {"sluis_typ": ["at+jwt"]}]}).encode(),
    "a key for encryption": json.dumps({"keys": [KEY.jwk | {"use": "enc"}]}).encode(),
    "too many keys": json.dumps({"keys": [KEY.jwk | {"kid": str(i)} for i in range(51)]}).encode(),
}


@pytest.mark.parametrize("data", JWKS.values(), ids=JWKS.keys())
def test_a_wrong_key_set_is_refused_as_a_whole(data: bytes) -> None:
    with pytest.raises(KeysInvalid):
        KeySet.parse(data, ["ES256"])
    assert KEY.kid in key_set(KEY)


def test_keys_of_other_algorithms_are_left_out() -> None:
    other = {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": "ed", "x": b64(bytes(32))}
    keys = KeySet.parse(json.dumps({"keys": [KEY.jwk, other]}).encode(), ["ES256"])
    assert "ed" not in keys
    assert KEY.kid in keys
