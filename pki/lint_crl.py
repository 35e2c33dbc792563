"""Checks of a CRL that is about to be signed.

Specification: RFC 5280 section 5; shared `spec/pki.md`, "Revocation": a full CRL with issuing distribution point,
number and nextUpdate. Written against the encoded bytes, apart from what encodes them. The entries are many and made by
one function, so the form is judged on the list with a few of them, by ourselves and by pkilint; of the others it is
checked that they are entries at all and that each serial number is there once, as far as `WALKED` bytes: 100,000
entries would take longer than making the list. Whether the right certificates are listed is the register's work.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_der_public_key

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from pki.encoding import CrlEnds
from pki.lint_pkilint import lint_crl
from pki.profiles import Publication
from pki.signer import Signer
from pki.throwaway import stand_in

SAMPLE: Final = 8
"""Entries that are read in full, besides the last: every one is made by the same function."""
WALKED: Final = 65_536
"""Bytes of entries that are walked through, about 1,500 entries."""
MAX_LIFE: Final = timedelta(days=20 * 366)
"""The last CRL of a CA lives as long as the CA; none lives longer."""
MAX_NUMBER_BITS: Final = 159
"""RFC 5280 section 5.2.3: at most 20 octets, and positive."""


def lint_before_signing(
    signer: Signer, issuer: x509.Name, published: Publication | None, ends: CrlEnds, listed: bytes
) -> None:
    """Refuse a CRL that breaks a rule.

    Args:
        signer: that will sign it; its real key is not used here.
        issuer: subject of the CA.
        published: its distribution point; None for a root.
        ends: everything but the entries.
        listed: the entries.

    Raises:
        Refused: LINT_FAILED, with the clauses that are broken.
        LinterMissing: pkilint is not installed.
    """
    entries, whole = _entries(listed)
    broken = [] if whole else ["entries end where the list ends, each serial number once (RFC 5280 5.1.2.6)"]
    sample = b"".join([*entries[:SAMPLE], *entries[SAMPLE:][-1:]]) if whole else b""
    key = stand_in(signer)
    head, tail = ends.sign(sample, signer.algorithm, key.sign(ends.to_be_signed(sample)))
    der = b"".join((head, sample, tail))
    try:
        crl = x509.load_der_x509_crl(der)
        broken += [clause for clause, holds in _checks(crl, signer, issuer, published) if not holds]
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension):
        broken.append("a CRL of version 2 with its extensions, each once (RFC 5280 5.1, 5.2)")
    if broken:
        raise Refused(Reason.LINT_FAILED, f"The CRL would break its profile: {'; '.join(broken)}.")
    lint_crl(der)


def _checks(
    crl: x509.CertificateRevocationList, signer: Signer, issuer: x509.Name, published: Publication | None
) -> Iterator[tuple[str, bool]]:
    start, end = crl.last_update_utc, crl.next_update_utc
    yield "issuer is the CA, byte for byte (RFC 5280 5.1.2.3)", crl.issuer.public_bytes() == issuer.public_bytes()
    yield (
        "thisUpdate before nextUpdate, which is there (RFC 5280 5.1.2.5)",
        end is not None and start < end <= start + MAX_LIFE,
    )
    number = crl.extensions.get_extension_for_class(x509.CRLNumber)
    yield (
        "CRL number, positive, at most 20 octets, not critical (RFC 5280 5.2.3)",
        not number.critical and 0 < number.value.crl_number.bit_length() <= MAX_NUMBER_BITS,
    )
    authority = crl.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    own = x509.SubjectKeyIdentifier.from_public_key(load_der_public_key(signer.public_key))  # type: ignore[arg-type]
    yield (
        "key identifier of the key that signs, not critical (RFC 5280 5.2.1)",
        not authority.critical and authority.value.key_identifier == own.digest,
    )
    expected = {x509.CRLNumber.oid, x509.AuthorityKeyIdentifier.oid}
    if published is not None:
        expected.add(x509.IssuingDistributionPoint.oid)
        yield "a full CRL of its distribution point, critical (RFC 5280 5.2.5)", _is_full(crl, published)
    yield "no other extension (spec/pki.md)", {item.oid for item in crl.extensions} == expected
    for entry in crl:
        reasons = [item.value for item in entry.extensions]
        yield (
            "an entry says a reason or nothing, and neither unspecified nor removeFromCRL (RFC 5280 5.3.1)",
            all(isinstance(item, x509.CRLReason) and item.reason not in _NOT_IN_A_FULL_LIST for item in reasons),
        )


_NOT_IN_A_FULL_LIST: Final = frozenset({x509.ReasonFlags.unspecified, x509.ReasonFlags.remove_from_crl})


def _is_full(crl: x509.CertificateRevocationList, published: Publication) -> bool:
    point = crl.extensions.get_extension_for_class(x509.IssuingDistributionPoint)
    value = point.value
    narrowed = (
        value.only_contains_user_certs, value.only_contains_ca_certs, value.only_some_reasons, value.indirect_crl,
        value.only_contains_attribute_certs, value.relative_name,
    )  # fmt: skip
    names = [name.value for name in value.full_name or ()]
    return point.critical and not any(narrowed) and names == [published.crl_url]


def _entries(listed: bytes) -> tuple[list[bytes], bool]:
    """The entries, and whether they fill the list to its end with each serial number once."""
    found: list[bytes] = []
    serial_numbers: set[bytes] = set()
    at = 0
    while at + 4 <= len(listed) and at < WALKED:
        end = at + 2 + listed[at + 1]
        serial = listed[at + 4 : at + 4 + listed[at + 3]]
        if listed[at] != _SEQUENCE or listed[at + 2] != _INTEGER or end > len(listed):
            return found, False
        found.append(listed[at:end])
        serial_numbers.add(serial)
        at = end
    return found, (at == len(listed) or at >= WALKED) and len(serial_numbers) == len(found)


_SEQUENCE: Final = 0x30
_INTEGER: Final = 0x02
