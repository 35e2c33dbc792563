"""One issuing CA: prepare a certificate, lint it, then sign exactly that, once.

Specification: shared `spec/pki.md`, "Issuing". Prepare and redeem are apart so that what is signed was linted and
recorded before (the intent), byte for byte. Knows no database and no other certificates; `pki.authority` puts the steps
in order.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_der_public_key

from authz.domain.errors import InvalidValue, Refused
from authz.domain.identifiers import Identifier
from authz.domain.reasons import Reason
from pki.enrolment.requests import CertificateRequest
from pki.lint.second_opinion import lint_certificate
from pki.lint.system import Around, lint_system_certificate
from pki.names import MAX_NAME, CertificateIdentity, subject_name
from pki.profiles import BACKDATE, SYSTEM_LIFETIME, Publication, system_certificate
from pki.signing.certifying import IssuingError, new_serial_number, prepare, sign
from pki.signing.encoding import ToBeSigned
from pki.signing.signer import Signer

__all__ = ["Holder", "IssuingCa", "IssuingError", "Prepared"]


@dataclass(frozen=True, slots=True)
class Holder:
    """Who gets a certificate, as an operator vetted it.

    Attributes:
        identifier: of the party.
        organization: legal name.
        kvk: 8 digits.
        dns_names: names under which it may serve; may be empty for a party that only calls.
        common_name: what people call the system; the first DNS name, or the organisation, when empty.
    """

    identifier: Identifier
    organization: str
    kvk: str
    dns_names: tuple[str, ...] = ()
    common_name: str = ""

    @property
    def display_name(self) -> str:
        """The common name of the subject."""
        fitting = next((name for name in self.dns_names if len(name) <= MAX_NAME), None)
        if self.common_name or fitting:
            return self.common_name or fitting or ""
        # As much of it as fits: a common name is counted in bytes, and no letter is cut in two.
        return self.organization.encode()[:MAX_NAME].decode(errors="ignore").strip()


@dataclass(frozen=True, slots=True)
class Prepared:
    """A certificate that passed the lints and waits for its signature."""

    serial_number: int
    tbs: bytes
    not_before: datetime
    not_after: datetime


class IssuingCa:
    """An issuing CA with its key.

    Args:
        certificate: DER of the CA certificate.
        signer: its key.
        published: where it publishes.
        environment: the only environment it issues for.
        local_names: DNS names of one label that may be certified (a lab's `localhost`).
        uzi_authority: OID under which an AGB-code is repeated in UZI layout; None leaves that out.

    Raises:
        IssuingError: the key is not that of the certificate.
    """

    def __init__(
        self,
        certificate: bytes,
        signer: Signer,
        published: Publication,
        environment: str,
        *,
        local_names: Sequence[str] = (),
        uzi_authority: str | None = None,
    ) -> None:
        self.certificate = x509.load_der_x509_certificate(certificate)
        self.der = certificate
        self.signer = signer
        self.published = published
        self.environment = environment
        self.key = hashlib.sha256(signer.public_key).hexdigest()
        self._uzi_authority = uzi_authority
        self._around = Around(self.certificate, published, environment, frozenset(local_names))
        self._outstanding: set[bytes] = set()
        if self.certificate.public_key() != load_der_public_key(signer.public_key):
            raise IssuingError(f"the key of issuing CA {published.name} does not belong to its certificate")

    @property
    def name(self) -> str:
        """Its name in settings, URLs and the register."""
        return self.published.name

    def prepare(
        self, holder: Holder, request: CertificateRequest, at: datetime, lifetime: timedelta = SYSTEM_LIFETIME
    ) -> Prepared:
        """Make a certificate ready to be signed.

        Args:
            holder: vetted identity and names.
            request: proved key.
            at: moment of issuing, UTC.
            lifetime: from notBefore to notAfter, both included; shortened so that it ends with this CA at the latest.

        Raises:
            Refused: REQUEST_MALFORMED, a name of the holder is malformed; LINT_FAILED.
        """
        start = (at - BACKDATE).replace(microsecond=0)
        # RFC 5280 section 4.1.2.5: both ends belong to the life.
        end = min(start + lifetime - timedelta(seconds=1), self.certificate.not_valid_after_utc)
        serial_number = new_serial_number()
        try:
            fields = ToBeSigned(
                serial_number=serial_number,
                algorithm=self.signer.algorithm,
                issuer=self.certificate.subject,
                subject=subject_name(
                    organization=holder.organization,
                    common_name=holder.display_name,
                    kvk=holder.kvk,
                    identifier=holder.identifier,
                ),
                public_key=request.public_key,
                not_before=start,
                not_after=end,
                extensions=system_certificate(
                    request.public_key,
                    self.signer.public_key,
                    self.published,
                    CertificateIdentity(self.environment, holder.identifier),
                    holder.dns_names,
                    uzi_authority=self._uzi_authority,
                ),
            )
            tbs = prepare(fields, self.signer, self._lint)
        except InvalidValue as error:
            raise Refused(Reason.REQUEST_MALFORMED, f"A certificate cannot be made: {error}.") from error
        self._outstanding.add(hashlib.sha256(tbs).digest())
        return Prepared(serial_number, tbs, start, end)

    def redeem(self, prepared: Prepared) -> bytes:
        """Sign what was prepared here, once.

        Returns:
            DER of the certificate, its signature verified.

        Raises:
            IssuingError: not prepared here, signed before, or the signer made a signature that does not verify.
            SignerError: the key cannot be used.
        """
        digest = hashlib.sha256(prepared.tbs).digest()
        if digest not in self._outstanding:
            raise IssuingError("this certificate was not prepared here, or was signed before")
        self._outstanding.discard(digest)
        return sign(prepared.tbs, self.signer, self.certificate)

    def _lint(self, unsigned: bytes) -> None:
        lint_system_certificate(x509.load_der_x509_certificate(unsigned), self._around)
        lint_certificate(unsigned, self._around.local_names)

    def forget(self, prepared: Prepared) -> None:
        """Let go of what will not be signed after all."""
        self._outstanding.discard(hashlib.sha256(prepared.tbs).digest())
