"""DANE: does a presented TLS certificate fit the TLSA records of the endpoint?

Specification: shared `spec/dnssec.md`, "DANE"; RFC 6698 and RFC 7671 (usages 3 and 2, selectors 0 and 1, matching
types 1 and 2). TLSA counts only when its own chain is secure. Whether DANE is required of a participant is policy and
not decided here; nor is PKIX validation, which goes on beside it.
"""

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import dns.exception
import dns.rdata
import dns.rdataclass
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.TLSA import TLSA

from pki.dnssec.model import Answer, DnssecResult, DnssecState
from pki.dnssec.standing import Validator
from pki.keys import spki_of

MAX_RECORDS = 16
"""TLSA records looked at for one endpoint; a rollover needs two or four."""
MAX_CHAIN = 8
"""Certificates of a presented chain that are looked at."""
_TRUST_ANCHOR, _END_ENTITY = 2, 3
_WHOLE, _KEY = 0, 1
_DIGESTS = {1: hashlib.sha256, 2: hashlib.sha512}
_MALFORMED = (
    ValueError,
    TypeError,
    InvalidSignature,
    UnsupportedAlgorithm,
    x509.ExtensionNotFound,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    x509.InvalidVersion,
)
"""What a certificate of a stranger makes the library raise; such a certificate fits no record."""


class DaneOutcome(StrEnum):
    """What DANE says about a presented certificate."""

    MATCHED = "matched"
    MISMATCHED = "mismatched"
    ABSENT = "absent"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class DaneResult:
    """The outcome, and a sentence for an operator.

    `ABSENT`: DANE does not apply (no TLSA, none usable, or not secure). `FAILED`: the TLSA question had no trustworthy
    answer; a connection that enforces DANE must not be made (RFC 6698 section 4.1).
    """

    outcome: DaneOutcome
    message: str
    standing: DnssecResult


@dataclass(frozen=True, slots=True)
class Association:
    """The usable TLSA records of an endpoint, from a secure answer; never empty.

    Attributes:
        host: the endpoint's host name.
        owner: where the records stand.
        usable: the records.
        standing: the answer that they came in.
    """

    host: str
    owner: str
    usable: tuple[TLSA, ...]
    standing: DnssecResult

    def compare(self, chain_der: Sequence[bytes], at: datetime) -> DaneResult:
        """Does a chain, presented leaf first, fit one of the records at this moment?"""
        usage = _matching_usage(self.usable, chain_der, self.host, at)
        if usage is None:
            publish = "publish a new certificate's record before its use"
            said = f"what is presented fits no TLSA record at {self.owner}: {publish}"
            return DaneResult(DaneOutcome.MISMATCHED, said, self.standing)
        return DaneResult(DaneOutcome.MATCHED, f"a TLSA record of {self.owner} fits (usage {usage})", self.standing)


async def read_tlsa(validator: Validator, host: str, port: int, at: datetime) -> Association | DaneResult:
    """The TLSA records of an endpoint, or the outcome when there are none to compare with (ABSENT or FAILED).

    Args:
        validator: asks for the TLSA records; a `CachedStanding` or a `ChainValidator`.
        host: the endpoint's host name.
        port: its TCP port.
        at: the moment of the decision.
    """
    owner = f"_{port}._tcp.{host.rstrip('.')}."
    standing = await validator.check(owner, at, "TLSA")
    if standing.state is DnssecState.INSECURE:
        return DaneResult(DaneOutcome.ABSENT, f"TLSA of {owner} does not count: {standing.message}", standing)
    if standing.state is not DnssecState.SECURE:
        return DaneResult(DaneOutcome.FAILED, f"TLSA of {owner} cannot be trusted: {standing.message}", standing)
    usable = _usable(standing.records) if standing.answer is Answer.DATA else []
    if not usable:
        return DaneResult(DaneOutcome.ABSENT, f"no usable TLSA record at {owner}", standing)
    return Association(host, owner, tuple(usable), standing)


async def check_dane(
    validator: Validator, host: str, port: int, chain_der: Sequence[bytes], at: datetime
) -> DaneResult:
    """Compare a presented chain with the endpoint's TLSA records.

    Args:
        validator: asks for the TLSA records; a `CachedStanding` or a `ChainValidator`.
        host: the endpoint's host name.
        port: its TCP port.
        chain_der: the certificates as presented, the leaf first.
        at: the moment of the decision.
    """
    found = await read_tlsa(validator, host, port, at)
    return found if isinstance(found, DaneResult) else found.compare(chain_der, at)


def tlsa_for(certificate_der: bytes, *, authority: bool = False) -> str:
    """The recommended TLSA data for a certificate: `3 1 1 <SHA-256 of the key>` (RFC 7671 section 5.1).

    Args:
        certificate_der: of the endpoint, or of its issuing CA.
        authority: it is of the issuing CA: `2 1 1` (section 5.2), which fits whatever that CA issues for the name.

    Raises:
        ValueError: not a certificate, or one with a key that cannot be read.
    """
    try:
        selected = _selected(x509.load_der_x509_certificate(certificate_der), _KEY)
    except _MALFORMED as problem:
        raise ValueError("not a certificate whose key can be read") from problem
    usage = _TRUST_ANCHOR if authority else _END_ENTITY
    return f"{usage} 1 1 {hashlib.sha256(selected).hexdigest()}"


def _matching_usage(usable: Sequence[TLSA], chain_der: Sequence[bytes], host: str, at: datetime) -> int | None:
    """The usage of the first record that fits, usage 3 before 2; None when none does or a certificate is malformed."""
    try:
        chain = [x509.load_der_x509_certificate(der) for der in chain_der[:MAX_CHAIN]]
    except _MALFORMED:
        return None
    if not chain:
        return None
    if any(record.usage == _END_ENTITY and _fits(record, chain[0]) for record in usable):
        return _END_ENTITY
    if any(record.usage == _TRUST_ANCHOR and _anchored(record, chain, host, at) for record in usable):
        return _TRUST_ANCHOR
    return None


def _usable(records: Sequence[str]) -> list[TLSA]:
    found = []
    for text in records[:MAX_RECORDS]:
        try:
            record = dns.rdata.from_text(dns.rdataclass.IN, RdataType.TLSA, text)
        except dns.exception.DNSException:
            continue
        if (
            isinstance(record, TLSA)
            and record.usage in {_TRUST_ANCHOR, _END_ENTITY}
            and record.selector in {_WHOLE, _KEY}
            and record.mtype in _DIGESTS
        ):
            found.append(record)
    return found


def _selected(certificate: x509.Certificate, selector: int) -> bytes:
    if selector == _KEY:
        return spki_of(certificate)
    return certificate.public_bytes(Encoding.DER)


def _fits(record: TLSA, certificate: x509.Certificate) -> bool:
    try:
        selected = _selected(certificate, record.selector)
    except _MALFORMED:
        return False
    return bool(_DIGESTS[record.mtype](selected).digest() == record.cert)


def _anchored(record: TLSA, chain: Sequence[x509.Certificate], host: str, at: datetime) -> bool:
    """Usage 2: each certificate up to the matching one issued the one before, is a CA, and is valid now.

    Unlike usage 3, names and times count (RFC 7671 section 5.2).
    """
    if not _valid_at(chain[0], at) or not _names(chain[0], host):
        return False
    return any(_fits(record, issuer) for issuer in _issuers(chain, at))


def _issuers(chain: Sequence[x509.Certificate], at: datetime) -> Iterator[x509.Certificate]:
    for subject, issuer in itertools.pairwise(chain):
        try:
            subject.verify_directly_issued_by(issuer)
            constraints = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
        except _MALFORMED:
            return
        if not constraints.ca or not _valid_at(issuer, at):
            return
        yield issuer


def _valid_at(certificate: x509.Certificate, at: datetime) -> bool:
    return certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc


def _names(certificate: x509.Certificate, host: str) -> bool:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except _MALFORMED:
        return False
    wanted = host.rstrip(".").lower()
    return any(wanted == name.lower() for name in names.get_values_for_type(x509.DNSName))
