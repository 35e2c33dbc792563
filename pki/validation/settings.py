"""How an operator says which issuing CA is believed about what: one section of the settings of authz and of an agent.

It becomes a `PinnedIssuer`. Kept apart from `pki.validation.schemes`, which knows nothing of files and settings.
"""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from authz.edge.settings import ExistingFile, Settings
from pki.validation.schemes.pin import MAX_POLICIES, PinnedIssuer
from pki.validation.schemes.table import IdentityTable

LONGEST_CRL_AGE: Final = 48 * 3600.0
"""Seconds. The longest life that a public CA of the field gives its CRLs; see docs/decisions/0017."""

HttpUrl = Annotated[str, StringConstraints(pattern=r"^http://[^\s/?#@]+(/[^\s?#]*)?$", max_length=1024)]
PolicyOid = Annotated[str, StringConstraints(pattern=r"^[0-2](\.(0|[1-9][0-9]{0,38})){1,31}$")]


class PinnedIssuerSettings(Settings):
    """An issuing CA whose certificates carry identities that count, pinned by its key."""

    certificate: ExistingFile
    """Its certificate, PEM."""
    scheme: Literal["sluis", "uzi", "pkio", "mapped"] = "sluis"
    """How its certificates say whose they are; see docs/explanation/certificates.md."""
    table: ExistingFile | None = None
    """For the scheme `mapped`, and for no other: TOML file that says which certificate is whose."""
    policies: tuple[PolicyOid, ...] = Field(default=(), max_length=MAX_POLICIES)
    """Certificate policies of which a certificate must name one; empty for a CA that issues one kind."""
    max_crl_age: Annotated[float, Field(gt=0, le=LONGEST_CRL_AGE)] | None = None
    """Seconds; for a CA that publishes less often than the general limit. Its `nextUpdate` counts as well."""

    ocsp_url: HttpUrl | None = None
    """Its OCSP responder: answers about certificates that are seen here are fetched from it ahead of time."""
    ocsp_required: bool = False
    """A CRL is not enough: without a fresh answer of `ocsp_url` a certificate is refused, also when it is new here."""

    @model_validator(mode="after")
    def _required_from_somewhere(self) -> Self:
        if self.ocsp_required and self.ocsp_url is None:
            raise ValueError("ocsp_required without ocsp_url refuses everybody: expected where answers come from")
        return self

    @model_validator(mode="after")
    def _table_fits_scheme(self) -> Self:
        if (self.table is None) == (self.scheme == "mapped"):
            raise ValueError("table belongs to the scheme mapped: expected both or neither")
        _table(self.table)
        return self

    def pin(self, spki_sha256: str, environment: str) -> PinnedIssuer:
        """What is believed about the CA.

        Args:
            spki_sha256: hex SHA-256 of the key in `certificate`.
            environment: PRD, TST or ACC: what the place that validates is for.

        Raises:
            TableError: the table has become unusable since the settings were read.
        """
        return PinnedIssuer(
            spki_sha256,
            self.scheme,
            environment,
            table=_table(self.table),
            policies=self.policies,
            max_crl_age=None if self.max_crl_age is None else timedelta(seconds=self.max_crl_age),
            ocsp_required=self.ocsp_required,
        )


def _table(path: Path | None) -> IdentityTable | None:
    return None if path is None else IdentityTable.load(path)
