"""What fuzzing once found, each with what it would have cost."""

import pytest
from asn1crypto import x509 as asn1

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from pki.names import decode_identity
from pki.validation.schemes.uzi import permanent_identifier
from tests.fakes.certificates import FakeAuthority


@pytest.mark.parametrize(
    "hexadecimal",
    ["300a08083132333435363738", "300a8808313233343536373800", "301213035453541305717a6f1e16190002002300"],
)
def test_a_permanent_identifier_with_a_foreign_tag_is_refused_and_no_error(hexadecimal: str) -> None:
    # asn1crypto answers `.native` of such sequences with AttributeError or IndexError: a 500 instead of a refusal.
    with pytest.raises(Refused) as caught:
        permanent_identifier(bytes.fromhex(hexadecimal))
    assert caught.value.reason is Reason.CERTIFICATE_IDENTITY


def test_an_identity_with_a_foreign_tag_is_refused_and_no_error() -> None:
    with pytest.raises(Refused) as caught:
        decode_identity(bytes.fromhex("301213035453541305757af680c7880435303030"))
    assert caught.value.reason is Reason.CERTIFICATE_IDENTITY


def test_a_name_of_no_string_type_is_refused_and_no_error() -> None:
    # The path library reads names when it compares them, and raised ValueError out of `validate`.
    ca = FakeAuthority()
    der = ca.issue("uzovi:5000").der
    country = der.index(b"\x13\x02NL")
    altered = der[:country] + b"\x17" + der[country + 1 :]
    with pytest.raises(Refused) as caught:
        ca.validator().validate(altered, [ca.issuing.der], ca.now)
    assert caught.value.reason in {Reason.CERTIFICATE_MALFORMED, Reason.CERTIFICATE_UNTRUSTED}


def test_the_same_certificate_under_another_thumbprint_is_refused() -> None:
    # Bits that a reader ignores are not signed: the holder could present one certificate under many thumbprints and
    # so walk past whatever names it by thumbprint.
    ca = FakeAuthority()
    leaf = ca.issue("uzovi:5000")
    validator = ca.validator()
    assert validator.validate(leaf.der, [ca.issuing.der], ca.now)
    signature = asn1.Certificate.load(leaf.der)["signature_value"].contents
    place = leaf.der.rindex(signature)
    unused = leaf.der[:place] + b"\x01" + leaf.der[place + 1 :]
    with pytest.raises(Refused) as caught:
        validator.validate(unused, [ca.issuing.der], ca.now)
    assert caught.value.reason is Reason.CERTIFICATE_MALFORMED


def test_another_algorithm_beside_the_signature_than_under_it_is_refused() -> None:
    ca = FakeAuthority()
    leaf = ca.issue("uzovi:5000")
    sha256, sha384 = (bytes.fromhex(f"06082a8648ce3d0403{last}") for last in ("02", "03"))
    place = leaf.der.rindex(sha256)
    with pytest.raises(Refused) as caught:
        ca.validator().validate(leaf.der[:place] + sha384 + leaf.der[place + len(sha256) :], [ca.issuing.der], ca.now)
    assert caught.value.reason is Reason.CERTIFICATE_MALFORMED
