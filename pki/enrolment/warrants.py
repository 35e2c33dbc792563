"""What entitles to a certificate, decided in the transaction that takes the place of an identity in the register.

Specification: shared `spec/pki.md`, "Issuing" (two-person in production); decision 0108. Where two persons are needed,
nothing comes into the network but by a code that two operators vouched for with their keys: no first certificate, and
no renewal with other names, another organisation or another key. A holder who asks with the certificate that he has
chooses his own new key.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from pki.enrolment.certified import Certificates, Certified, KnownIssuer
from pki.enrolment.operators.roster import Roster
from pki.enrolment.requests import CertificateRequest
from pki.issuing import Holder
from pki.names import ENVIRONMENTS
from pki.settings import PkiSettings
from pki.store.codes import Codes, EnrolmentCode
from pki.store.register import Registered
from pki.validation.validator import ValidatedCertificate, thumbprint_of

ISSUE = "issue"
RENEW = "renew"
USED = "used up; ask an operator for a new one"


class Warrants:
    """The rule of one installation.

    Args:
        settings: where two persons are needed, and who the operators are.
        authorities: see `Roster`.
        issuers: the CAs whose certificates are renewed.
    """

    def __init__(self, settings: PkiSettings, authorities: Sequence[str], issuers: Iterable[KnownIssuer]) -> None:
        self._settings = settings
        self._certificates = Certificates(issuers)
        self.roster = Roster(settings.operators, authorities)

    def needs_two(self, environment: str) -> bool:
        """Whether two operators vouch for what is certified in an environment."""
        return self._settings.needs_two(environment)

    def guarded_from(self, environment: str) -> tuple[str, ...]:
        """Environments whose DNS names nobody certifies in this one: two vouch there, and one is enough here."""
        if self.needs_two(environment):
            return ()
        return tuple(other for other in sorted(ENVIRONMENTS) if self.needs_two(other))

    def require_for_issue(self, environment: str, code: EnrolmentCode | None) -> None:
        """A first certificate is nobody's to give alone.

        Raises:
            Refused: TWO_PERSONS_REQUIRED.
        """
        if code is None and self.needs_two(environment):
            raise Refused(
                Reason.TWO_PERSONS_REQUIRED,
                "Two operators vouch for a certificate here: `pki code create`, `pki code approve` by another one, and"
                " then `--code`.",
            )

    def certified(self, old: Registered) -> Certified:
        """What was certified, to be renewed. Who could write the row, but not sign, chooses none of it.

        Raises:
            Refused: REGISTER_CONTRADICTS_CERTIFICATE.
        """
        return self._certificates.read(old)

    def require_for_renewal(
        self,
        old: Registered,
        certified: Certified,
        holder: Holder,
        request: CertificateRequest,
        *,
        code: EnrolmentCode | None,
        shown: ValidatedCertificate | None,
    ) -> None:
        """One operator alone renews only what was vetted, for the key that was certified; a holder chooses his own key.

        Args:
            old: what is renewed.
            certified: what its certificate says.
            holder: as the new certificate will name it.
            request: proved key.
            code: that entitles to it, looked at in the transaction (`use`).
            shown: the certificate by which the holder himself asked.

        Raises:
            Refused: TWO_PERSONS_REQUIRED.
        """
        if code is not None or not self.needs_two(certified.environment):
            return
        had = certified.holder
        unchanged = (holder.identifier, holder.organization, holder.kvk, holder.dns_names) == (
            had.identifier, had.organization, had.kvk, had.dns_names
        )  # fmt: skip
        if unchanged and (request.subject_key == certified.subject_key or _is(shown, old)):
            return
        raise Refused(
            Reason.TWO_PERSONS_REQUIRED,
            "Two operators vouch for other names or another key: `pki code create --renewal`, `pki code approve` by"
            " another one, and then `--code`. A holder renews with a new key by himself: `pki reenrol`.",
        )

    async def use(
        self,
        connection: AsyncConnection,
        code: EnrolmentCode,
        holder: Holder,
        at: datetime,
        *,
        environment: str,
        purpose: str,
        issuer: str,
        serial_number: str,
        subject_key: str,
    ) -> None:
        """Use up a code for the certificate that is about to be signed, if it entitles to exactly that.

        The row is read here again: what the caller holds may be from before. What its holder showed was held against
        `code`, so the secrets there must be those that the operators signed for.

        Raises:
            Refused: CODE_USED, it is not there to be used; CODE_OTHER_KEY, it is for another key; TWO_PERSONS_REQUIRED
                or OPERATOR_SIGNATURE, no two operators vouched for this, or not for these halves.
        """
        codes = Codes(connection)
        if not await codes.claim(code.selector, at, purpose=purpose, issuer=issuer, serial_number=serial_number):
            raise Refused(Reason.CODE_USED, f"This code is {USED}.")
        found = await codes.by_selector(code.selector)
        wanted = (environment, holder.identifier, holder.organization, holder.kvk, holder.dns_names)
        if found is None or wanted != (
            found.environment, found.identifier, found.organization, found.kvk, found.dns_names
        ):  # fmt: skip
            raise Refused(Reason.TWO_PERSONS_REQUIRED, "This code is for another party, or other names of it.")
        if found.proof != code.proof:
            raise Refused(Reason.OPERATOR_SIGNATURE, "What was shown is not what this code is held against now.")
        if found.subject_key is not None and found.subject_key != subject_key:
            raise Refused(Reason.CODE_OTHER_KEY, "This code is for another key, which its operators named.")
        if self.needs_two(environment):
            self.roster.require_two(found)


def _is(shown: ValidatedCertificate | None, old: Registered) -> bool:
    if shown is None or old.certificate is None:
        return False
    return shown.thumbprint == thumbprint_of(old.certificate)
