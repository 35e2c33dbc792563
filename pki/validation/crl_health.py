"""Can the CRLs that are held vouch for anybody at all? For health pages, which ask before somebody is refused.

Looks at every issuing CA whose certificates count, and at the CAs above it, with the rules of
`pki.validation.revocation_check`. Does not look at OCSP answers: those are about one certificate each. Refuses nobody;
the validator does.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from pki.keys import spki_sha256
from pki.validation.ages import MAX_AUTHORITY_CRL_AGE
from pki.validation.crl_store import CrlScope, CrlStore, Listing
from pki.validation.revocation_check import freshness

_MAX_DEPTH: Final = 8


@dataclass(frozen=True, slots=True)
class CrlState:
    """What is known of the certificates of one CA.

    Attributes:
        issuer_key: hex SHA-256 of the key of the CA.
        listing: what speaks about its certificates; of several parts the one that is worst off; None without any.
        max_age: limit of its age, besides its `nextUpdate`.
        fresh: it counts at this moment.
    """

    issuer_key: str
    listing: Listing | None
    max_age: timedelta
    fresh: bool

    @property
    def problem(self) -> str:
        """`crl_missing`, `crl_stale`, or empty when all is well."""
        if self.fresh:
            return ""
        return "crl_missing" if self.listing is None else "crl_stale"


def crl_states(
    crls: CrlStore,
    max_ages: Mapping[str, timedelta],
    at: datetime,
    max_authority_age: timedelta = MAX_AUTHORITY_CRL_AGE,
) -> list[CrlState]:
    """The state of every CA that has to be heard, one each, in a steady order.

    Args:
        crls: what is held.
        max_ages: of the issuing CAs whose certificates count, by hex SHA-256 of the key.
        at: the moment, UTC.
        max_authority_age: of what is said about CA certificates.
    """
    found: dict[str, CrlState] = {}
    for key, max_age in max_ages.items():
        found.setdefault(key, _about_leaves(crls, key, max_age, at))
        for state in _above(crls, key, max_authority_age, at):
            found.setdefault(state.issuer_key, state)
    return list(found.values())


def crl_problems(
    crls: CrlStore,
    max_ages: Mapping[str, timedelta],
    at: datetime,
    max_authority_age: timedelta = MAX_AUTHORITY_CRL_AGE,
) -> Iterator[str]:
    """Stable codes of what is wrong, see `crl_states`; the same code may come more than once."""
    return (state.problem for state in crl_states(crls, max_ages, at, max_authority_age) if state.problem)


def _about_leaves(crls: CrlStore, key: str, max_age: timedelta, at: datetime) -> CrlState:
    """The worst of the parts that a CA divides its leaves into: whoever is in a part that is stale is refused."""
    names = {issuer.subject for issuer in crls.issuers if spki_sha256(issuer) == key}
    parts: dict[CrlScope, list[Listing]] = {}
    for listing in crls.listings():
        complete = listing.complete
        # A list in its name, signed with another key of it, may speak as well.
        if complete.scope.users and (complete.issuer_key == key or complete.signer.subject in names):
            parts.setdefault(complete.scope, []).append(listing)
    states = [_best(key, listings, max_age, at) for listings in parts.values()]
    return min(states, key=_end, default=CrlState(key, None, max_age, fresh=False))


def _above(crls: CrlStore, key: str, max_age: timedelta, at: datetime) -> Iterator[CrlState]:
    """What is said about the certificate of a CA, up to an anchor; of several ways up the best one."""
    below = next((issuer for issuer in crls.issuers if spki_sha256(issuer) == key), None)
    for _ in range(_MAX_DEPTH):
        if below is None or below.subject == below.issuer:
            return
        signers = [issuer for issuer in crls.issuers if _signed(issuer, below)]
        if not signers:
            return
        ways = [(_about_authority(crls, signer, below, max_age, at), signer) for signer in signers]
        state, below = max(ways, key=lambda way: _end(way[0]))
        yield state


def _about_authority(
    crls: CrlStore, signer: x509.Certificate, below: x509.Certificate, max_age: timedelta, at: datetime
) -> CrlState:
    key = spki_sha256(signer)
    own = crls.covering(below, key, is_ca=True)
    return _best(key, [*([own] if own else []), *crls.covering_by_name(below, key, is_ca=True)], max_age, at)


def _best(key: str, listings: Iterable[Listing], max_age: timedelta, at: datetime) -> CrlState:
    states = [CrlState(key, listing, max_age, at in freshness(listing, max_age)) for listing in listings]
    return max(states, key=_end, default=CrlState(key, None, max_age, fresh=False))


def _end(state: CrlState) -> tuple[bool, bool, float]:
    """The order from worst to best."""
    if state.listing is None:
        return False, False, 0.0
    return state.fresh, True, freshness(state.listing, state.max_age).end.timestamp()


def _signed(issuer: x509.Certificate, subject: x509.Certificate) -> bool:
    try:
        subject.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True
