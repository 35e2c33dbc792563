"""Keys in a token (a real SoftHSM2): they sign as X.509 wants it, never come out, and survive a lost connection."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pkcs11
import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key
from pkcs11 import Attribute, KeyType, MechanismFlag, ObjectClass

from authz.domain.identifiers import Identifier
from pki.enrolment.requests import CertificateRequest
from pki.issuing import Holder, IssuingCa
from pki.profiles import Publication
from pki.revocation.crl import CrlPlan, make_crl
from pki.signing.pkcs11_signer import TokenSigner, make_token_key, open_token_key
from pki.signing.pkcs11_token import Session, Token, open_token
from pki.signing.signer import KeySigner, SignerError
from tests.fakes.certificates import NOW, FakeAuthority
from tests.fakes.softhsm import PIN, SoftHsm

ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="module")
def made(hsm: SoftHsm) -> TokenSigner:
    return make_token_key(hsm.key("shared"), "ec-p256")


def token_of(hsm: SoftHsm) -> Token:
    return open_token(hsm.module, "sluis", hsm.pin_file)


@pytest.mark.parametrize(
    ("kind", "algorithm"),
    [("ec-p256", "sha256_ecdsa"), ("ec-p384", "sha384_ecdsa"), ("rsa-3072", "sha256_rsa")],
)
def test_a_key_of_each_kind_signs_as_a_key_file_would(kind: str, algorithm: str, hsm: SoftHsm) -> None:
    signer = make_token_key(hsm.key(f"kind-{kind}"), kind)
    assert signer.algorithm == algorithm
    again = open_token_key(hsm.key(f"kind-{kind}"))
    assert again.public_key == signer.public_key
    key = load_der_public_key(signer.public_key)
    for data in (b"", b"x", b"y" * 100_000):
        signature = again.sign(data)
        if isinstance(key, ec.EllipticCurvePublicKey):
            digest = hashes.SHA384() if kind == "ec-p384" else hashes.SHA256()
            key.verify(signature, data, ec.ECDSA(digest))
            with pytest.raises(InvalidSignature):
                key.verify(signature, data + b".", ec.ECDSA(digest))
        else:
            assert isinstance(key, rsa.RSAPublicKey)
            key.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())


def test_a_certificate_and_a_crl_by_a_key_in_a_token_verify(made: TokenSigner) -> None:
    fake = FakeAuthority()
    root = fake.root.key
    assert isinstance(root, ec.EllipticCurvePrivateKey)
    public = load_der_public_key(made.public_key)
    assert isinstance(public, ec.EllipticCurvePublicKey)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(fake.issuing.certificate.subject)
        .issuer_name(fake.root.certificate.subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(root, hashes.SHA256())
    )
    published = Publication("http://127.0.0.1:18080", "issuing-tst")
    ca = IssuingCa(certificate.public_bytes(Encoding.DER), made, published, "TST")
    request = CertificateRequest(KeySigner(ec.generate_private_key(ec.SECP256R1())).public_key)
    leaf = ca.redeem(ca.prepare(Holder(Identifier.parse_subject("uzovi:5000"), "Test", "12345678"), request, NOW))
    x509.load_der_x509_certificate(leaf).verify_directly_issued_by(certificate)
    crl = make_crl(made, certificate.subject, published, CrlPlan(2, NOW, NOW + timedelta(hours=2)), ())
    assert x509.load_der_x509_crl(crl).is_signature_valid(public)


def test_the_key_cannot_be_taken_out(made: TokenSigner, hsm: SoftHsm) -> None:
    def value(session: Session) -> object:
        key = session.raw.get_key(object_class=ObjectClass.PRIVATE_KEY, label="shared")
        assert (key[Attribute.SENSITIVE], key[Attribute.EXTRACTABLE]) == (True, False)
        assert (key[Attribute.NEVER_EXTRACTABLE], key[Attribute.LOCAL]) == (True, True)
        return key[Attribute.VALUE]

    with pytest.raises(SignerError, match="AttributeSensitive"):
        token_of(hsm).use(value)
    assert not hasattr(made, "private_bytes")


def plain_key(hsm: SoftHsm, label: str, **private: Any) -> None:
    def make(session: Any) -> None:
        names = {"extractable": Attribute.EXTRACTABLE, "sensitive": Attribute.SENSITIVE, "sign": Attribute.SIGN}
        names |= {"always_authenticate": Attribute.ALWAYS_AUTHENTICATE}
        size = private.pop("size", None)
        options = {
            "label": label,
            "id": label.encode(),
            "store": True,
            "capabilities": MechanismFlag.SIGN | MechanismFlag.VERIFY,
            "private_template": {
                Attribute.EXTRACTABLE: False,
                Attribute.SENSITIVE: True,
                **{names[name]: value for name, value in private.items()},
            },
        }
        if size:
            session.generate_keypair(KeyType.RSA, size, **options)
        else:
            curve = {Attribute.EC_PARAMS: pkcs11.util.ec.encode_named_curve_parameters("secp256r1")}
            session.create_domain_parameters(KeyType.EC, curve, local=True).generate_keypair(**options)

    token_of(hsm).change(make)


@pytest.mark.parametrize(
    ("private", "words"),
    [
        ({"extractable": True}, "can be taken out"),
        ({"sensitive": False}, "can be taken out"),
        ({"always_authenticate": True}, "asks for the PIN at each use"),
        ({"sign": False}, "may not sign"),
        ({"size": 2048}, "at least 3072"),
    ],
)
def test_a_key_that_is_not_kept_as_it_should_be_is_refused(private: dict[str, Any], words: str, hsm: SoftHsm) -> None:
    label = "odd-" + "-".join(private)
    plain_key(hsm, label, **private)
    with pytest.raises(SignerError, match=words):
        open_token_key(hsm.key(label))


def test_a_label_that_names_two_keys_needs_the_id(hsm: SoftHsm) -> None:
    plain_key(hsm, "twice")
    plain_key(hsm, "twice")
    with pytest.raises(SignerError, match="found 2"):
        open_token_key(hsm.key("twice"))


def test_what_is_not_there_is_said_by_name(hsm: SoftHsm, tmp_path: Path) -> None:
    with pytest.raises(SignerError, match="found 0"):
        open_token_key(hsm.key("missing"))
    with pytest.raises(SignerError, match="no token with the label 'nowhere'"):
        open_token_key(hsm.key("shared", token="nowhere"))
    absent = tmp_path / "absent.so"
    with pytest.raises(SignerError, match="cannot be loaded"):
        Token(absent, "sluis", PIN).use(lambda session: session)


def test_a_ceremony_replaces_no_key(made: TokenSigner, hsm: SoftHsm) -> None:
    with pytest.raises(SignerError, match="replaces nothing"):
        make_token_key(hsm.key("shared"), "ec-p256")
    assert open_token_key(hsm.key("shared")).public_key == made.public_key
    with pytest.raises(SignerError, match="unknown kind"):
        make_token_key(hsm.key("other"), "rsa-1024")
    with pytest.raises(SignerError, match="label of a key"):
        make_token_key(hsm.key("with space"), "ec-p256")


def test_a_pin_that_was_refused_is_not_tried_again(hsm: SoftHsm) -> None:
    token = Token(hsm.module, "spare", "999999")
    for words in ("PIN is not accepted", "not tried again", "not tried again"):
        with pytest.raises(SignerError, match=words) as caught:
            token.use(lambda session: session)
        assert "999999" not in str(caught.value)


def test_a_pin_file_that_others_can_read_or_that_holds_another_pin(
    made: TokenSigner, hsm: SoftHsm, tmp_path: Path
) -> None:
    pin = tmp_path / "pin"
    pin.write_text(PIN)
    pin.chmod(0o640)
    with pytest.raises(SignerError, match="chmod 600"):
        open_token_key(hsm.key("shared", pin_file=pin))
    pin.chmod(0o600)
    open_token_key(hsm.key("shared", pin_file=pin)).sign(b"x")
    pin.write_text("777777")
    with pytest.raises(SignerError, match="another PIN"):
        open_token_key(hsm.key("shared", pin_file=pin))
    pin.write_text("1")
    with pytest.raises(SignerError, match="at least 4"):
        open_token_key(hsm.key("shared", pin_file=pin))


def test_a_lost_connection_is_made_again(made: TokenSigner, hsm: SoftHsm) -> None:
    made.sign(b"before")
    pkcs11.lib(str(hsm.module)).finalize()  # as when the module was shut down beneath us
    made.sign(b"after")
    session = token_of(hsm)._session
    assert session is not None
    session.raw.close()  # as when the token dropped the session
    made.sign(b"again")
    # A key in another token of the same module works after the module was started anew.
    spare = make_token_key(hsm.key("spare", token="spare"), "ec-p256")
    token_of(hsm)._module.restart()
    spare.sign(b"one")
    made.sign(b"other")


def test_many_threads_sign_one_after_another(made: TokenSigner) -> None:
    with ThreadPoolExecutor(12) as threads:
        signatures = list(threads.map(made.sign, [str(number).encode() for number in range(60)]))
    assert len(set(signatures)) == 60


def test_a_signature_that_does_not_verify_never_leaves(made: TokenSigner, monkeypatch: pytest.MonkeyPatch) -> None:
    other = KeySigner(ec.generate_private_key(ec.SECP256R1()))
    monkeypatch.setattr(made, "_key", load_der_public_key(other.public_key))
    with pytest.raises(SignerError, match="does not verify"):
        made.sign(b"x")


def test_without_the_extra_it_is_said_what_to_install(hsm: SoftHsm) -> None:
    code = (
        "import sys; sys.modules['pkcs11'] = None\n"
        "from pathlib import Path\n"
        "from pki.signing.signer import SignerError\n"
        "from pki.signing.pkcs11_signer import TokenKey, make_token_key, open_token_key\n"
        f"key = TokenKey(Path({str(hsm.module)!r}), 'sluis', Path({str(hsm.pin_file)!r}), 'shared')\n"
        "for work in (open_token_key, lambda key: make_token_key(key, 'ec-p256')):\n"
        "    try: work(key)\n"
        "    except SignerError as error: print(error)\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.count("pip install 'sluis[hsm]'") == 2
