"""Is any certificate of a path revoked, as far as is known here at this moment? Not knowing counts as revoked.

Specification: shared `spec/pki.md`, "Validating" rule 4; RFC 5280 section 6.3.3; RFC 6960 section 3.2. Every link of
the path is looked at. What is known was fetched and verified ahead of time (`CrlStore`, `OcspStore`); nothing is
fetched here and no clock is read. Soft-fail does not exist.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from pki.keys import spki_sha256
from pki.validation.crl_store import CrlStore, Listing
from pki.validation.ocsp_store import OcspStore, VerifiedAnswer
from pki.validation.path import CheckedPath, Parsed, PathChecker, parse

CLOCK_SKEW: Final = timedelta(seconds=60)
"""How far the clock of a CA may run ahead of ours before what it made counts as not yet made."""
_MAX_SIGNER_DEPTH: Final = 2
"""A list signed with another key of the CA, whose certificate again needs a list: deeper than that nobody goes."""


@dataclass(frozen=True, slots=True)
class Span:
    """The time within which an outcome rests on the same facts, UTC."""

    start: datetime
    end: datetime

    def within(self, other: "Span") -> "Span":
        """The part that both have in common."""
        return Span(max(self.start, other.start), min(self.end, other.end))

    def __contains__(self, at: datetime) -> bool:
        return self.start <= at <= self.end


class RevocationCheck:
    """Looks up every certificate of a path.

    Args:
        crls: verified CRLs, kept fresh by their owner.
        ocsp: verified OCSP answers, kept fresh by their owner; a fresh answer stands in the place of a CRL.
        paths: to find out whether a list signed with another key of a CA may speak for it.
        max_crl_age: how old what an issuing CA says about leaves may be.
        max_authority_crl_age: how old what is said about CA certificates may be.
    """

    def __init__(
        self,
        *,
        crls: CrlStore,
        ocsp: OcspStore | None,
        paths: PathChecker,
        max_crl_age: timedelta,
        max_authority_crl_age: timedelta,
    ) -> None:
        self._crls = crls
        self._ocsp = ocsp
        self._paths = paths
        self._max_age = max_crl_age
        self._max_authority_age = max_authority_crl_age

    @property
    def version(self) -> tuple[int, int]:
        """Changes with everything that could change an outcome."""
        return self._crls.version, self._ocsp.version if self._ocsp else 0

    def require(
        self, path: CheckedPath, at: datetime, max_age: timedelta | None = None, *, needs_answer: bool = False
    ) -> Span:
        """Refuse a path in which a certificate is revoked, or of which that is not known.

        Args:
            path: a path that passed every other check.
            at: moment of the decision, UTC.
            max_age: of what is said about the leaf, instead of the general limit.
            needs_answer: whether a CRL is not enough for the leaf: a fresh OCSP answer must be held too.

        Returns:
            How long the outcome holds while what is known stays the same.

        Raises:
            Refused: CERTIFICATE_REVOKED; CRL_MISSING, CRL_STALE, OCSP_MISSING: not known.
        """
        span = self._require(path, at, max_age or self._max_age, frozenset())
        return span.within(self._answered(path, at, max_age or self._max_age)) if needs_answer else span

    def _answered(self, path: CheckedPath, at: datetime, max_age: timedelta) -> Span:
        answer = self._answer(path.links[-1])
        span = _span(answer.this_update, answer.next_update, max_age) if answer is not None else None
        if span is None or at not in span:
            raise Refused(
                Reason.OCSP_MISSING, "What the OCSP responder says of the certificate is not known here yet; try again."
            )
        return span

    def _answer(self, link: tuple[Parsed, Parsed]) -> VerifiedAnswer | None:
        issuer, subject = (item.certificate for item in link)
        return self._ocsp.about(spki_sha256(issuer), subject.serial_number) if self._ocsp else None

    def _require(self, path: CheckedPath, at: datetime, max_age: timedelta, without: frozenset[str]) -> Span:
        span = Span(datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
        for issuer, subject in path.links:
            is_ca = _is_ca(subject.certificate)
            limit = self._max_authority_age if is_ca else max_age
            span = span.within(self._require_link(path, (issuer, subject), at, limit, without))
        return span

    def _require_link(
        self,
        path: CheckedPath,
        link: tuple[Parsed, Parsed],
        at: datetime,
        max_age: timedelta,
        without: frozenset[str],
    ) -> Span:
        issuer, subject = link
        answer = self._answer(link)
        listing = self._crls.covering(
            subject.certificate, spki_sha256(issuer.certificate), is_ca=_is_ca(subject.certificate)
        )
        if listing is not None and listing.newest.issuer_key in without:
            listing = None
        # A revocation outlives the freshness of what says so.
        if (listing and listing.lists(subject.certificate.serial_number)) or (answer and answer.revoked):
            raise Refused(Reason.CERTIFICATE_REVOKED, "The certificate has been revoked.")
        spans = []
        if answer is not None:
            spans.append(_span(answer.this_update, answer.next_update, max_age))
        if listing is not None:
            spans.append(freshness(listing, max_age))
        if not any(at in span for span in spans) and len(without) < _MAX_SIGNER_DEPTH:
            spans.extend(self._other_keys(path, link, at, max_age, without))
        if not spans:
            raise Refused(Reason.CRL_MISSING, "Whether the certificate is revoked is not known here at this moment.")
        for span in spans:
            if at in span:
                return span
        raise Refused(Reason.CRL_STALE, "What is known here about revoked certificates is not of this moment.")

    def _other_keys(
        self,
        path: CheckedPath,
        link: tuple[Parsed, Parsed],
        at: datetime,
        max_age: timedelta,
        without: frozenset[str],
    ) -> list[Span]:
        """Lists in the name of the issuer, signed with another key: after a rollover, or with a key for lists alone.

        Such a key speaks for the CA when its certificate has a path to the same anchor (RFC 5280 section 6.3.3 (f)), is
        not revoked itself, and was configured here: certificates that a caller sends along are never used for this.
        """
        issuer, subject = (item.certificate for item in link)
        spans = []
        for listing in self._crls.covering_by_name(subject, spki_sha256(issuer), is_ca=_is_ca(subject)):
            signer = listing.complete.issuer_key
            if signer in without:
                continue
            try:
                found = self._paths.check(parse(listing.complete.signer.public_bytes(Encoding.DER)), (), at)
                if found.certificates[0] != path.certificates[0]:
                    continue
                signed = self._require(found, at, self._max_authority_age, without | {signer})
            except Refused:
                continue  # a key that may not speak has said nothing
            if listing.lists(subject.serial_number):
                raise Refused(Reason.CERTIFICATE_REVOKED, "The certificate has been revoked.")
            spans.append(freshness(listing, max_age).within(signed))
        return spans


def freshness(listing: Listing, max_age: timedelta) -> Span:
    """Within which time a listing counts.

    Args:
        listing: what is known.
        max_age: its limit, besides `nextUpdate`.
    """
    return _span(listing.newest.this_update, listing.newest.next_update, max_age)


def _span(made: datetime, until: datetime, max_age: timedelta) -> Span:
    return Span(made - CLOCK_SKEW, min(until, made + max_age))


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False
