"""The pin: what is believed about one issuing CA, named by its key.

Specification: shared `spec/pki.md`, "Validating" rule 3: pinning only a root would let every subordinate CA assert an
identity. The pin also says what such certificates do not say themselves, such as the environment.
"""

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from pki.names import ENVIRONMENTS
from pki.validation.schemes.table import IdentityTable

SCHEME_NAMES: Final = ("sluis", "uzi", "pkio", "mapped")
MAX_POLICIES: Final = 16
_PIN = re.compile(r"[0-9A-Fa-f]{64}")
_OID = re.compile(r"[0-2](?:\.(?:0|[1-9][0-9]{0,38})){1,31}")


@dataclass(frozen=True, slots=True)
class PinnedIssuer:
    """An issuing CA, by its key, and what it is believed about.

    Attributes:
        spki_sha256: hex SHA-256 of the issuing CA's subjectPublicKeyInfo.
        scheme: how the identity is written in its certificates, one of `SCHEME_NAMES`.
        environment: PRD, TST or ACC: the only environment it may issue for.
        table: whose certificate is whose; for the scheme `mapped`, and for no other.
        policies: certificate policy OIDs of which a certificate must name at least one; empty asks for none. For a CA
            key that issues several kinds of certificates.
        max_crl_age: how old the CRL of this CA may be, instead of the validator's own limit. For a CA that publishes
            less often than every hour (docs/decisions/0017).
        ocsp_required: whether its CRL is not enough, and a fresh OCSP answer must be held as well.

    Raises:
        ValueError: contradictory or malformed.
    """

    spki_sha256: str
    scheme: str
    environment: str
    table: IdentityTable | None = None
    policies: tuple[str, ...] = ()
    max_crl_age: timedelta | None = None
    ocsp_required: bool = False

    def __post_init__(self) -> None:
        if self.scheme not in SCHEME_NAMES:
            raise ValueError(f"unknown identity scheme: expected one of {', '.join(SCHEME_NAMES)}")
        if self.environment not in ENVIRONMENTS:
            raise ValueError(f"unknown environment: expected one of {', '.join(sorted(ENVIRONMENTS))}")
        if not _PIN.fullmatch(self.spki_sha256):
            raise ValueError("not a pin: expected the hex SHA-256 of a subjectPublicKeyInfo, 64 digits")
        if (self.table is None) == (self.scheme == "mapped"):
            raise ValueError("the scheme `mapped` needs a table, and no other scheme has one")
        if len(self.policies) > MAX_POLICIES or not all(_OID.fullmatch(policy) for policy in self.policies):
            raise ValueError(f"not certificate policies: expected at most {MAX_POLICIES} dotted object identifiers")
        if self.max_crl_age is not None and self.max_crl_age <= timedelta(0):
            raise ValueError("a CRL that may have no age is never fresh: expected more than zero")
