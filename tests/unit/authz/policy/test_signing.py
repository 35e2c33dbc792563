"""Signatures that do not say what the bundle needs them to say."""

import json
from datetime import timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from authz.policy.archive import SIGNATURES, BundleRefused
from authz.policy.signing import PemSigner, file_hash, sign_files, verify_files
from tests.fakes.bundles import NOW, SigningParty, content, encode, parts, signatures, token

US = SigningParty()


def verify(files: dict[str, bytes], *keys: object) -> str:
    return verify_files(files, keys or (US.key(),), NOW)  # type: ignore[arg-type]


def signed_files() -> dict[str, bytes]:
    files = content()
    return {**files, SIGNATURES: sign_files(files, US.signer)}


def with_token(*tokens: str) -> dict[str, bytes]:
    return {**content(), SIGNATURES: signatures(*tokens)}


def test_a_good_signature_is_accepted() -> None:
    assert verify(signed_files()) == "k1"


def test_one_good_key_among_several_is_found() -> None:
    assert verify(signed_files(), SigningParty("k0").key(), US.key(), SigningParty("k2").key()) == "k1"


def test_without_keys_nothing_verifies() -> None:
    with pytest.raises(BundleRefused, match="no key"):
        verify_files(signed_files(), (), NOW)


def test_an_unsigned_bundle_is_refused() -> None:
    with pytest.raises(BundleRefused, match="not signed"):
        verify(content())


@pytest.mark.parametrize("name", sorted(content()))
def test_an_altered_file_is_refused(name: str) -> None:
    files = signed_files()
    files[name] = files[name].replace(b"a", b"b") if name.endswith("rego") else b'{"x": 1}'
    with pytest.raises(BundleRefused, match="not the one"):
        verify(files)


def test_another_spelling_of_the_same_json_is_accepted() -> None:
    # As OPA has it: data.json and .manifest are hashed by meaning. Two spellings, one meaning, one hash.
    files = signed_files()
    files["data.json"] = b'{"data" : {"scopes":\n{}}}'
    assert verify(files) == "k1"


@pytest.mark.parametrize(
    "spelling",
    [
        b'{"data":{"scopes":{}},"data":{"scopes":{}}}',
        b'{"d\\u0061ta":{"scopes":{}},"data":{"scopes":{}}}',
        b'{"data":NaN}',
        b"\xef\xbb\xbf{}",
    ],
)
def test_json_that_two_readers_may_take_differently_is_refused(spelling: bytes) -> None:
    with pytest.raises(BundleRefused):
        file_hash("data.json", spelling)


def test_nesting_too_deep_is_refused() -> None:
    with pytest.raises(BundleRefused):
        file_hash("data.json", b"[" * 100_000 + b"]" * 100_000)
    with pytest.raises(BundleRefused, match="deep"):
        file_hash("data.json", b"[" * 70 + b"]" * 70)
    assert file_hash("data.json", b"[" * 60 + b"]" * 60)


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(BundleRefused, match="surrogate"):
        file_hash("data.json", b'{"a": "\\ud800"}')


@pytest.mark.parametrize(("one", "other"), [(b"1", b"1.0"), (b"1e3", b"1000"), (b'"1"', b"1"), (b"0", b"-0")])
def test_numbers_written_otherwise_are_otherwise(one: bytes, other: bytes) -> None:
    assert file_hash("data.json", one) != file_hash("data.json", other)


def test_an_extra_file_is_refused() -> None:
    with pytest.raises(BundleRefused, match="exactly"):
        verify({**signed_files(), "access/extra.rego": b"package access.extra\n"})


def test_a_missing_file_is_refused() -> None:
    files = signed_files()
    del files["access/decision.rego"]
    with pytest.raises(BundleRefused, match="exactly"):
        verify(files)


def test_two_signatures_are_refused() -> None:
    good = json.loads(signed_files()[SIGNATURES])["signatures"][0]
    with pytest.raises(BundleRefused, match="exactly one"):
        verify(with_token(good, good))
    with pytest.raises(BundleRefused, match="exactly one"):
        verify(with_token())
    assert verify(with_token(good)) == "k1"


@pytest.mark.parametrize(
    "listing",
    [
        b"",
        b"[]",
        b"{}",
        b'{"signatures": "x"}',
        b'{"signatures": [1]}',
        b'{"signatures": ["x"]}',
        b'{"signatures": ["x"], "plugin": "custom"}',
        b'{"signatures": [], "signatures": ["x"]}',
        b'{"signatures": ["' + b"a" * (1 << 20) + b'"]}',
    ],
)
def test_a_malformed_list_of_signatures_is_refused(listing: bytes) -> None:
    with pytest.raises(BundleRefused):
        verify({**content(), SIGNATURES: listing})


def test_alg_none_is_refused() -> None:
    _, payload, _ = parts(signed_files()[SIGNATURES])
    for algorithm in ("none", "None", "NONE"):
        with pytest.raises(BundleRefused, match="kind"):
            verify(with_token(f"{encode({'alg': algorithm, 'kid': 'k1'})}.{encode(payload)}."))


def test_hs256_with_our_public_key_is_refused() -> None:
    _, payload, _ = parts(signed_files()[SIGNATURES])
    message = f"{encode({'alg': 'HS256', 'kid': 'k1'})}.{encode(payload)}"
    hmac = jwt.get_algorithm_by_name("HS256")
    # PyJWT itself will not take a PEM as an HMAC key; the attacker's own program has no such scruple.
    signature = hmac.sign(message.encode(), US.public_pem.encode())
    with pytest.raises(BundleRefused, match="kind"):
        verify(with_token(f"{message}.{encode(signature)}"))


def test_a_header_that_says_es256_and_more_is_refused() -> None:
    _, payload, _ = parts(signed_files()[SIGNATURES])
    additions: list[dict[str, object]] = [
        {"jwk": {}},
        {"jku": "https://x"},
        {"x5c": []},
        {"crit": ["b64"], "b64": False},
    ]
    for more in additions:
        with pytest.raises(BundleRefused):
            verify(with_token(token({"alg": "ES256", "kid": "k1", **more}, payload, US)))
    assert verify(with_token(token({"alg": "ES256", "kid": "k1", "typ": "JWT"}, payload, US))) == "k1"


def test_an_altered_payload_or_signature_is_refused() -> None:
    header, payload, signature = parts(signed_files()[SIGNATURES])
    payload["files"] = payload["files"][:-1]
    with pytest.raises(BundleRefused, match="not good"):
        verify(with_token(f"{encode(header)}.{encode(payload)}.{signature}"))
    _, payload, _ = parts(signed_files()[SIGNATURES])
    for bad in ("", encode(b"\0" * 64), signature[:-4], "!!!"):
        with pytest.raises(BundleRefused):
            verify(with_token(f"{encode(header)}.{encode(payload)}.{bad}"))


def test_somebody_else_s_key_under_our_key_id_is_refused() -> None:
    thief = SigningParty("k1")
    files = content()
    with pytest.raises(BundleRefused, match="not good"):
        verify({**files, SIGNATURES: sign_files(files, thief.signer)})


def test_an_unknown_key_id_is_refused() -> None:
    files = content()
    stranger = PemSigner("k9", US.private_pem)
    with pytest.raises(BundleRefused, match="no key"):
        verify({**files, SIGNATURES: sign_files(files, stranger)})


def test_no_key_id_is_refused() -> None:
    _, payload, _ = parts(signed_files()[SIGNATURES])
    with pytest.raises(BundleRefused, match="no key"):
        verify(with_token(token({"alg": "ES256"}, payload, US)))


def test_opa_s_older_key_id_counts_and_may_not_contradict() -> None:
    _, payload, _ = parts(signed_files()[SIGNATURES])
    assert verify(with_token(token({"alg": "ES256"}, {**payload, "keyid": "k1"}, US))) == "k1"
    with pytest.raises(BundleRefused, match="two different"):
        verify(with_token(token({"alg": "ES256", "kid": "k1"}, {**payload, "keyid": "k2"}, US)))


def test_a_key_counts_from_its_first_moment_until_its_last() -> None:
    files = signed_files()
    assert verify(files, US.key(not_before=NOW)) == "k1"
    with pytest.raises(BundleRefused, match="moment"):
        verify(files, US.key(not_before=NOW + timedelta(seconds=1)))
    assert verify(files, US.key(not_after=NOW + timedelta(seconds=1))) == "k1"
    with pytest.raises(BundleRefused, match="moment"):
        verify(files, US.key(not_after=NOW))


def test_another_hash_is_refused() -> None:
    header, payload, _ = parts(signed_files()[SIGNATURES])
    for algorithm in ("SHA-1", "MD5", "", "sha-256"):
        weak = {"files": [{**entry, "algorithm": algorithm} for entry in payload["files"]]}
        with pytest.raises(BundleRefused, match="not the one"):
            verify(with_token(token(header, weak, US)))


@pytest.mark.parametrize("more", [{"scope": "write"}, {"exp": 1}, {"delta": True}, {"iat": "now"}])
def test_a_claim_that_we_do_not_understand_is_refused(more: dict[str, object]) -> None:
    header, payload, _ = parts(signed_files()[SIGNATURES])
    with pytest.raises(BundleRefused):
        verify(with_token(token(header, {**payload, **more}, US)))
    assert verify(with_token(token(header, {**payload, "iat": 1}, US))) == "k1"


def test_a_file_named_twice_is_refused() -> None:
    header, payload, _ = parts(signed_files()[SIGNATURES])
    first = payload["files"][0]
    twice = {"files": [*payload["files"], {**first, "name": "/" + first["name"]}]}
    with pytest.raises(BundleRefused, match="twice"):
        verify(with_token(token(header, twice, US)))


def test_only_p256_keys_sign_and_verify() -> None:
    for other in (ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)):
        with pytest.raises(BundleRefused, match="P-256"):
            PemSigner("k1", other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        public = other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        with pytest.raises(BundleRefused, match="P-256"):
            verify(signed_files(), US.key(public_pem=public))
    with pytest.raises(BundleRefused):
        PemSigner("k1", b"nonsense")
    with pytest.raises(BundleRefused):
        verify(signed_files(), US.key(public_pem="nonsense"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_the_hash_knows_only_the_meaning(value: object) -> None:
    spellings = {
        file_hash("data.json", json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode())
        for ascii_only in (True, False)
        for indent in (None, 3)
    }
    assert len(spellings) == 1
