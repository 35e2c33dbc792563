"""Key files and signatures: what is written is encrypted, what is signed verifies elsewhere."""

import json
import stat
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from authz.tokens.issuer import CompactSigner
from authz.tokens.keyfiles import KeyFiles
from authz.tokens.keys import Es256Signer, KeyFileError, jwk_of, read_key, read_passphrase, write_key

PASSPHRASE = b"correct horse battery staple"

# RFC 7517 appendix A.1, the EC key; its RFC 7638 thumbprint as jwx, jose and step compute it.
RFC_X = "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4"
RFC_Y = "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"
RFC_THUMBPRINT = "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s"


def integer(text: str) -> int:
    import base64  # noqa: PLC0415

    return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")


def test_the_kid_is_the_published_thumbprint() -> None:
    key = ec.EllipticCurvePublicNumbers(integer(RFC_X), integer(RFC_Y), ec.SECP256R1()).public_key()
    jwk = jwk_of(key)
    assert (jwk["x"], jwk["y"], jwk["kid"]) == (RFC_X, RFC_Y, RFC_THUMBPRINT)


def test_coordinates_keep_their_leading_zeros() -> None:
    """One key in 256 has a coordinate that starts with a zero byte; a shorter text would be another key."""
    for private in range(1, 600):
        jwk = jwk_of(ec.derive_private_key(private, ec.SECP256R1()).public_key())
        assert len(jwk["x"]) == len(jwk["y"]) == 43


def test_a_signature_verifies_with_another_library_and_not_when_altered() -> None:
    signer = Es256Signer(ec.generate_private_key(ec.SECP256R1()))
    token = CompactSigner(signer, "at+jwt").sign({"a": 1})
    key = jwt.PyJWK(dict(signer.public_jwk))
    assert json.loads(jwt.PyJWS().decode(token, key, algorithms=["ES256"])) == {"a": 1}
    header, payload, signature = token.split(".")
    altered = f"{header}.{payload[:-1]}{'A' if payload[-1] != 'A' else 'B'}.{signature}"
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.PyJWS().decode(altered, key, algorithms=["ES256"])


def test_every_signature_has_64_bytes() -> None:
    signer = Es256Signer(ec.generate_private_key(ec.SECP256R1()))
    assert {len(signer.sign(bytes([number]))) for number in range(256)} == {64}


def test_a_key_on_another_curve_is_refused() -> None:
    with pytest.raises(KeyFileError):
        Es256Signer(ec.generate_private_key(ec.SECP384R1()))


def test_a_key_file_is_encrypted_and_for_its_owner_only(tmp_path: Path) -> None:
    key, path = ec.generate_private_key(ec.SECP256R1()), tmp_path / "k.pem"
    write_key(path, key, PASSPHRASE)
    assert b"ENCRYPTED" in path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_key(path, PASSPHRASE).private_numbers() == key.private_numbers()
    with pytest.raises(KeyFileError):
        read_key(path, PASSPHRASE + b"x")


def test_a_key_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "k.pem"
    write_key(path, ec.generate_private_key(ec.SECP256R1()), PASSPHRASE)
    before = path.read_bytes()
    with pytest.raises(KeyFileError):
        write_key(path, ec.generate_private_key(ec.SECP256R1()), PASSPHRASE)
    assert path.read_bytes() == before


def test_a_key_file_that_is_not_encrypted_is_refused(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "k.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(KeyFileError, match="not encrypted"):
        read_key(tmp_path / "k.pem", PASSPHRASE)


@pytest.mark.parametrize(
    ("content", "mode"), [(b"short\n", 0o600), (PASSPHRASE, 0o640), (PASSPHRASE, 0o604), (None, 0)]
)
def test_a_passphrase_that_is_short_readable_by_others_or_missing(
    tmp_path: Path, content: bytes | None, mode: int
) -> None:
    path = tmp_path / "passphrase"
    if content is not None:
        path.write_bytes(content)
        path.chmod(mode)
    with pytest.raises(KeyFileError) as refusal:
        read_passphrase(path)
    assert "horse" not in str(refusal.value)


def test_a_passphrase_is_the_first_line(tmp_path: Path) -> None:
    (tmp_path / "passphrase").write_bytes(PASSPHRASE + b"\r\nsecond\n")
    (tmp_path / "passphrase").chmod(0o600)
    assert read_passphrase(tmp_path / "passphrase") == PASSPHRASE


def test_keys_are_made_once(tmp_path: Path) -> None:
    passphrase = tmp_path / "passphrase"
    passphrase.write_bytes(PASSPHRASE)
    passphrase.chmod(0o600)

    def checkpoint(path: Path, _: bytes) -> None:
        path.write_bytes(b"made")

    first = KeyFiles.create(tmp_path / "keys", passphrase, checkpoint)
    token = first.create_token_key()
    second = KeyFiles.create(tmp_path / "keys", passphrase, checkpoint)
    assert (second.feed.kid, second.bundle.kid) == (first.feed.kid, first.bundle.kid)
    assert first.feed.kid != first.bundle.kid
    assert second.token_signer(token.kid).public_jwk == token.public_jwk


@pytest.mark.parametrize("kid", ["../../etc/passwd", "", "a/b", "x" * 43 + "\n", "A" * 42 + "\x00"])
def test_a_kid_that_is_no_thumbprint_never_becomes_a_path(tmp_path: Path, kid: str) -> None:
    signer = Es256Signer(ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(KeyFileError, match="malformed"):
        KeyFiles(tmp_path, PASSPHRASE, signer, signer).token_signer(kid)


def test_a_token_key_file_with_another_key_is_refused(tmp_path: Path) -> None:
    signer = Es256Signer(ec.generate_private_key(ec.SECP256R1()))
    files = KeyFiles(tmp_path, PASSPHRASE, signer, signer)
    one, other = files.create_token_key(), files.create_token_key()
    (tmp_path / f"token-{one.kid}.pem").replace(tmp_path / f"token-{other.kid}.pem")
    with pytest.raises(KeyFileError, match="does not hold"):
        files.token_signer(other.kid)


def test_no_key_id_begins_with_a_hyphen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command line takes such a key id for an option; one key in 64 has one."""
    keys = [ec.derive_private_key(private, ec.SECP256R1()) for private in range(1, 300)]
    hyphened = next(key for key in keys if jwk_of(key.public_key())["kid"].startswith("-"))
    plain = next(key for key in keys if not jwk_of(key.public_key())["kid"].startswith("-"))
    signer = Es256Signer(plain)
    drawn = iter((hyphened, hyphened, plain))
    monkeypatch.setattr(ec, "generate_private_key", lambda _curve: next(drawn))
    made = KeyFiles(tmp_path, PASSPHRASE, signer, signer).create_token_key()
    assert made.kid == signer.kid
    assert [path.name for path in tmp_path.iterdir()] == [f"token-{signer.kid}.pem"]
