"""What every ceremony is made of: a key in a file or a token, a CA certificate that was linted before it was signed."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from pki.ceremony.files import CeremonyError, Kind, Made
from pki.ceremony.transcript import Shown
from pki.lint.authority import Above, lint_authority
from pki.profiles import BACKDATE, ISSUING_LIFETIME, Extensions, Publication, issuing_authority
from pki.signing.certifying import new_serial_number, prepare, sign
from pki.signing.encoding import ToBeSigned
from pki.signing.pkcs11_signer import TokenKey, make_token_key
from pki.signing.signer import KeySigner, Signer, key_pem, new_key

_MAX_NAME: Final = 64
"""RFC 5280 appendix A.1, ub-common-name and ub-organization-name; counted in UTF-8 bytes."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was made.

    Attributes:
        signer: it.
        files: what must be kept of it; empty for a key in a token.
        settings: lines that tell the authority where it is.
        where: for the transcript.
    """

    signer: Signer
    files: dict[str, Made]
    settings: tuple[str, ...]
    where: str


class KeyPlan(Protocol):
    """How a key will be made and kept."""

    def make(self, name: str) -> NewKey:
        """Make it.

        Args:
            name: of the CA.

        Raises:
            SignerError: an unknown kind of key, or a token that cannot be used.
        """
        ...


@dataclass(frozen=True, slots=True)
class FileKeyPlan:
    """A key in an encrypted file.

    Attributes:
        kind: `ec-p256`, `ec-p384`, `rsa-3072` or `rsa-4096`.
        passphrase: encrypts it.
        passphrase_file: as the settings will name it; None for a key that stays offline.
    """

    kind: str
    passphrase: bytes
    passphrase_file: str | None = None

    def make(self, name: str) -> NewKey:
        """Make the key in memory."""
        key = new_key(self.kind)
        file = f"{name}.key.pem"
        settings = (f'key = "{file}"', f'passphrase_file = "{self.passphrase_file}"')
        pem = key_pem(key, self.passphrase)
        return NewKey(KeySigner(key), {file: Made(pem, Kind.KEY)}, settings, f"{self.kind}, file {file}")


@dataclass(frozen=True, slots=True)
class TokenKeyPlan:
    """A key in a PKCS#11 token, where it stays.

    Attributes:
        kind: `ec-p256`, `ec-p384`, `rsa-3072` or `rsa-4096`.
        module: the vendor's library.
        token: label of the token.
        pin_file: for now.
        pin_file_later: as the settings will name it.
    """

    kind: str
    module: Path
    token: str
    pin_file: Path
    pin_file_later: str

    def make(self, name: str) -> NewKey:
        """Make the key inside the token, with the name of the CA as its label."""
        signer = make_token_key(TokenKey(self.module, self.token, self.pin_file, name), self.kind)
        settings = (
            'signer = "pkcs11"',
            f'module = "{self.module}"',
            f'token = "{self.token}"',
            f'key = "{name}"',
            f'pin_file = "{self.pin_file_later}"',
        )
        return NewKey(signer, {}, settings, f'{self.kind}, token "{self.token}" of {self.module.name}, key "{name}"')


@dataclass(frozen=True, slots=True)
class Ca:
    """A CA as a ceremony holds it."""

    name: str
    signer: Signer
    certificate: x509.Certificate
    where: str

    @property
    def pem(self) -> bytes:
        """Its certificate."""
        return self.certificate.public_bytes(Encoding.PEM)

    def shown(self, heading: str) -> Shown:
        """It as the transcript describes it."""
        return Shown(heading, self.certificate, self.where)

    def above(self, base_url: str) -> Above:
        """It as the CA that signs."""
        return Above(self.certificate, Publication(base_url, self.name))


def ca_subject(organization: str, common_name: str) -> x509.Name:
    """C, O and CN of a CA.

    Raises:
        CeremonyError: a text is empty, too long, or holds control characters.
    """
    for text in (organization, common_name):
        if not text.strip() or not text.isprintable() or len(text.encode()) > _MAX_NAME:
            raise CeremonyError("--organization: expected a printable name; with what is added, at most 64 bytes")
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "NL"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def make_issuing(name: str, subject: x509.Name, key: NewKey, root: Ca, base_url: str, *, at: datetime) -> Ca:
    """An issuing CA under a root.

    Args:
        name: of the issuing CA, in files and URLs.
        subject: its distinguished name.
        key: its key.
        root: signs its certificate.
        base_url: where the root publishes.
        at: moment of the ceremony, UTC.

    Raises:
        Refused: LINT_FAILED; nothing was signed.
        SignerError: the key of the root cannot be used.
        IssuingError: the signature does not verify.
    """
    above = root.above(base_url)
    certificate = certify(
        subject,
        key.signer.public_key,
        issuing_authority(key.signer.public_key, root.signer.public_key, above.published),
        by=root.signer,
        above=above,
        at=at,
        lifetime=ISSUING_LIFETIME,
        path_length=0,
    )
    return Ca(name, key.signer, certificate, key.where)


def certify(
    subject: x509.Name,
    public_key: bytes,
    extensions: Extensions,
    *,
    by: Signer,
    above: Above | None,
    at: datetime,
    lifetime: timedelta,
    path_length: int,
) -> x509.Certificate:
    """Lint a CA certificate, sign it, and verify the signature.

    Args:
        subject: of the CA.
        public_key: DER subjectPublicKeyInfo of it.
        extensions: as its profile says.
        by: signs.
        above: the CA that signs; None for a root, which signs itself.
        at: moment of the ceremony, UTC.
        lifetime: shortened so that it ends with the CA above at the latest.
        path_length: how many CAs may stand below it.

    Raises:
        Refused: LINT_FAILED; nothing was signed.
        SignerError: the key cannot be used.
        IssuingError: the signature does not verify.
    """
    start = at.replace(microsecond=0) - BACKDATE
    end = start + lifetime
    if above is not None:
        start = max(start, above.certificate.not_valid_before_utc)
        end = min(end, above.certificate.not_valid_after_utc)
    fields = ToBeSigned(
        serial_number=new_serial_number(),
        algorithm=by.algorithm,
        issuer=above.certificate.subject if above else subject,
        subject=subject,
        public_key=public_key,
        not_before=start,
        not_after=end,
        extensions=extensions,
    )
    tbs = prepare(fields, by, lambda der: lint_authority(der, path_length, above))
    return x509.load_der_x509_certificate(sign(tbs, by, above.certificate if above else None))
