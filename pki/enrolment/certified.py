"""What was certified, read from the certificate itself and not from the row beside it.

Specification: shared `spec/pki.md`, "Issuing"; decision 0108. A row of the register is what somebody who can write the
database says. The certificate has the signature of the CA, so it alone says to whom, under which names and for which
key it was given; a row that says something else is refused, and is worth an alarm.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from authz.domain.errors import Refused
from authz.domain.reasons import Reason
from pki.issuing import Holder
from pki.keys import spki_sha256
from pki.names import common_name_of, dns_names_of, identity_of, kvk_of, organization_of
from pki.store.register import Registered


@dataclass(frozen=True, slots=True)
class KnownIssuer:
    """An issuing CA of this installation.

    Attributes:
        name: in settings and register.
        environment: the only one that it issues for.
        certificate: of the CA.
    """

    name: str
    environment: str
    certificate: x509.Certificate


@dataclass(frozen=True, slots=True)
class Certified:
    """What a certificate says, whose signature was verified.

    Attributes:
        environment: that of its identity, and of the CA that signed it.
        holder: identity, organisation, KvK number and names.
        subject_key: hex SHA-256 of its subjectPublicKeyInfo.
    """

    environment: str
    holder: Holder
    subject_key: str


class Certificates:
    """Reads certificates that the CAs of one installation issued.

    Args:
        issuers: all of them, those that were retired too.
    """

    def __init__(self, issuers: Iterable[KnownIssuer]) -> None:
        self._issuers = {issuer.name: issuer for issuer in issuers}

    def read(self, row: Registered) -> Certified:
        """What the certificate in a row says, when the row says the same.

        Does not look at revocation, nor whether the certificate is valid at this moment.

        Raises:
            Refused: REGISTER_CONTRADICTS_CERTIFICATE, there is no certificate, the CA that the row names did not sign
                it, or the row says another thing than it.
        """
        issuer = self._issuers.get(row.issuer)
        if issuer is None or row.certificate is None:
            raise _contradicts()
        try:
            certificate = x509.load_der_x509_certificate(row.certificate)
            certificate.verify_directly_issued_by(issuer.certificate)
            identity = identity_of(certificate)
            holder = Holder(
                identity.identifier,
                organization_of(certificate),
                kvk_of(certificate),
                dns_names_of(certificate),
                common_name_of(certificate),
            )
            found = Certified(identity.environment, holder, spki_sha256(certificate))
        except (ValueError, TypeError, InvalidSignature, Refused) as error:
            raise _contradicts() from error
        said = (
            f"{certificate.serial_number:x}", issuer.environment, found.environment, holder, found.subject_key,
            certificate.not_valid_before_utc, certificate.not_valid_after_utc,
        )  # fmt: skip
        written = (
            row.serial_number, row.environment, row.environment,
            Holder(row.identifier, row.organization, row.kvk, row.dns_names, row.common_name), row.subject_key,
            row.not_before, row.not_after,
        )  # fmt: skip
        if said != written:
            raise _contradicts()
        return found


def _contradicts() -> Refused:
    return Refused(
        Reason.REGISTER_CONTRADICTS_CERTIFICATE,
        "What the register says of this certificate is not what the certificate says; somebody has to look into that.",
    )
