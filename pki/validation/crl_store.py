"""The certificate revocation lists that a relying party holds, verified when they come in.

Specification: RFC 5280 section 6.3.3; shared `spec/pki.md`, "Validating" rule 4: fetched ahead of time, never in the
request path, signature checked, unknown is refused. `pki.validation.crl` says which lists are taken. Fetching and
keeping on disk is the owner's work; freshness is judged per decision by `pki.validation.revocation_check`.
"""

import threading
from collections.abc import Iterator, Sequence
from typing import Final

from cryptography import x509

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from pki.algorithms import STANDARD, AlgorithmRules
from pki.validation.crl import MAX_CRL_BYTES, CrlScope, Listing, VerifiedCrl, distribution_points, verify_crl

__all__ = [
    "MAX_CRLS",
    "MAX_CRL_BYTES",
    "CrlScope",
    "CrlStore",
    "Listing",
    "VerifiedCrl",
    "distribution_points",
    "verify_crl",
]

MAX_CRLS: Final = 256


class CrlStore:
    """Holds the newest verified CRL of each issuing key and scope, complete ones and deltas.

    Args:
        issuers: DER certificates of the CAs whose CRLs are accepted (anchors and intermediates), and of keys that sign
            lists for one of them under its name.
        rules: allowed keys and algorithms.
    """

    def __init__(self, issuers: Sequence[bytes], *, rules: AlgorithmRules = STANDARD) -> None:
        self._issuers = tuple(x509.load_der_x509_certificate(der) for der in issuers)
        self._rules = rules
        self._crls: dict[tuple[str, CrlScope], VerifiedCrl] = {}
        self._putting = threading.Lock()
        self.version = 0
        """Grows with each change; what was derived from an older version must be derived again."""

    def put(self, der: bytes) -> bool:
        """Verify a CRL and keep it when it is newer than what is held; may be called from threads.

        Whether it is still fresh is not judged here, so that a restart can load what it kept.

        Returns:
            Whether it was taken; False when the same or a newer one is already held (a replayed old CRL).

        Raises:
            Refused: CRL_INVALID: unreadable, unknown issuer, wrong signature, weak algorithm, or a kind that is not
                supported.
        """
        crl = verify_crl(der, self._issuers, self._rules)
        key = (crl.issuer_key, crl.scope)
        with self._putting:
            held = self._crls.get(key)
            if held is not None and (crl.number, crl.this_update) <= (held.number, held.this_update):
                return False
            if held is None and len(self._crls) >= MAX_CRLS:
                raise Refused(Reason.CRL_INVALID, "The certificate revocation list is refused: there are too many.")
            # Readers see one whole state or the other. The version comes last: whoever derived something and finds the
            # version that he began with, derived it from nothing older.
            self._crls = self._crls | {key: crl}
            self.version += 1
            return True

    def covering(self, certificate: x509.Certificate, issuer_key: str, *, is_ca: bool) -> Listing | None:
        """The newest listing signed by `issuer_key` that speaks about `certificate`, or None."""
        found = [
            listing
            for listing in self.listings()
            if listing.complete.issuer_key == issuer_key and listing.complete.scope.covers(certificate, is_ca=is_ca)
        ]
        return max(found, key=lambda listing: listing.newest.this_update, default=None)

    def covering_by_name(self, certificate: x509.Certificate, issuer_key: str, *, is_ca: bool) -> tuple[Listing, ...]:
        """Listings about `certificate` in the name of its issuer, signed with other keys than `issuer_key`.

        Whether such a key may speak for the issuer is not decided here.
        """
        return tuple(
            listing
            for listing in self.listings()
            if listing.complete.issuer_key != issuer_key
            and listing.complete.signer.subject == certificate.issuer
            and listing.complete.scope.covers(certificate, is_ca=is_ca)
        )

    def held(self) -> tuple[VerifiedCrl, ...]:
        """Everything held, for persistence and for status pages."""
        return tuple(self._crls.values())

    @property
    def issuers(self) -> tuple[x509.Certificate, ...]:
        """The CAs whose CRLs are accepted, and keys that sign lists for one of them."""
        return self._issuers

    def listings(self) -> Iterator[Listing]:
        """Every complete list, each with the delta that fits it."""
        crls = self._crls
        for (key, scope), crl in crls.items():
            if scope.delta:
                continue
            changes = CrlScope(scope.names, users=scope.users, authorities=scope.authorities, delta=True)
            delta = crls.get((key, changes))
            # RFC 5280 section 5.2.4 (c) and (d): the delta starts no later than this list, and goes further.
            fits = delta is not None and delta.base_number <= crl.number < delta.number
            yield Listing(crl, delta if fits else None)
