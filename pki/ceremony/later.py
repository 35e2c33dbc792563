"""What an offline root does after its first day: a further issuing CA, a new CRL, and its word for another root.

Specification: shared `spec/pki.md`, "Issuing" and "Revocation"; RFC 5280 sections 3.3 and 5; RFC 4210 section 4.4 (root
key update, here with a new name, so that nobody has to tell two keys of one name apart). Each has a folder of its own
and a transcript that names the hash of the one before it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from pki.algorithms import is_acceptable_key
from pki.ceremony.files import CeremonyError, Kind, Made, refuse_existing, write_all
from pki.ceremony.first import ROOT_CRL_LIFE, common_name, first_crl, issuer_settings, numbered
from pki.ceremony.parts import Ca, KeyPlan, ca_subject, certify, make_issuing
from pki.ceremony.transcript import Occasion, Shown, write_transcript
from pki.keys import load_spki, spki_of
from pki.names import ENVIRONMENTS
from pki.profiles import ROOT_LIFETIME, Publication, cross_certificate
from pki.revocation.crl import CRL_LIFE, CrlPlan, RevocationReason, make_crl
from pki.signing.encoding import CrlEntry
from pki.signing.signer import load_key_file

MAX_ENTRIES: Final = 1000
"""Certificates that a root ever withdrew; a list that is longer is not one of ours."""


@dataclass(frozen=True, slots=True)
class RootFiles:
    """A root and its key, for one ceremony on the offline machine.

    Attributes:
        certificate: PEM file; its name without ending is the name under which the root publishes.
        key: encrypted PKCS#8.
        passphrase: opens it.
        base_url: where the root publishes, as in the certificates that it signed before; its CRLs do not say it.
    """

    certificate: Path
    key: Path
    passphrase: bytes
    base_url: str = ""

    def open(self) -> Ca:
        """The root.

        Raises:
            CeremonyError: not a root of our kind, or a key of another CA.
            SignerError: the key cannot be used.
        """
        certificate = read_root(self.certificate)
        signer = load_key_file(self.key, self.passphrase)
        if spki_of(certificate) != signer.public_key:
            raise CeremonyError(f"{self.key}: it is not the key of {self.certificate}")
        return Ca(self.certificate.stem, signer, certificate, f"file {self.key.name}")


def read_root(path: Path) -> x509.Certificate:
    """A root certificate that is signed with its own, acceptable key.

    Raises:
        CeremonyError: it is not.
    """
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        certificate.verify_directly_issued_by(certificate)
        is_ca = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (OSError, ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound) as error:
        raise CeremonyError(f"{path}: expected the certificate of a root in PEM") from error
    if not is_ca or not is_acceptable_key(certificate.public_key()):
        raise CeremonyError(f"{path}: expected a root with ECDSA P-256 or P-384, or RSA of at least 3072 bits")
    return certificate


def hold_issuing(
    root_files: RootFiles, folder: Path, environment: str, *, generation: int, key_plan: KeyPlan, occasion: Occasion
) -> Mapping[str, Path]:
    """Make a further issuing CA under a root: for rollover, or for another environment.

    Args:
        root_files: the root.
        folder: for what is made.
        environment: PRD, TST or ACC.
        generation: 2 for the second issuing CA of an environment, and so on; 1 for the first of another environment.
        key_plan: how its key is made.
        occasion: who, when; its title is set here.

    Returns:
        What each file is -> its path.

    Raises:
        CeremonyError: files exist, or it cannot be done like this.
        SignerError: a key cannot be used or made.
        Refused: LINT_FAILED.
    """
    if environment not in ENVIRONMENTS or generation < 1:
        raise CeremonyError("expected the environment PRD, TST or ACC, and a generation from 1 on")
    name = numbered(f"issuing-{environment.lower()}", generation)
    refuse_existing(folder, (f"{name}.crt", f"{name}.key.pem", "transcript.md"))
    root = root_files.open()
    if not root.certificate.not_valid_before_utc <= occasion.at < root.certificate.not_valid_after_utc:
        raise CeremonyError(f"{root_files.certificate}: the root is not valid at this moment")
    organization = _organization(root.certificate)
    subject = ca_subject(organization, common_name(organization, f"issuing {environment}", generation))
    key = key_plan.make(name)
    issuing = make_issuing(name, subject, key, root, root_files.base_url, at=occasion.at)
    block = issuer_settings(name, environment, key.settings)
    advice = f'# Add this to pki.toml. It issues when [issuing] says: active = ["{name}"]\n\n{block}'
    files = {
        **key.files,
        f"{name}.crt": Made(issuing.pem, Kind.CERTIFICATE),
        f"{name}.crl": Made(
            first_crl(issuing, Publication(root_files.base_url, name), occasion.at, CRL_LIFE), Kind.CRL
        ),
        "issuers.toml": Made(advice.encode(), Kind.SETTINGS),
    }
    to_do = (
        "Compare the SHA-256 values above with the files, aloud, with a second person (`pki ceremony-verify`).",
        f"Give {name}.crt and its pin to every relying party, before it issues anything.",
        "Add the block of issuers.toml to the settings of the authority and restart it: both CAs publish CRLs.",
        f'When every relying party knows it: set active = ["{name}"] under [issuing].',
    )
    files["transcript.md"] = write_transcript(occasion, (root.shown("Root"), issuing.shown("Issuing CA")), files, to_do)
    return write_all(folder, files)


def make_root_crl(
    root_files: RootFiles,
    previous: Path,
    folder: Path,
    revoke: Sequence[tuple[Path, RevocationReason]],
    occasion: Occasion,
) -> Mapping[str, Path]:
    """Sign the next CRL of a root: everything that was on the one before, and what is withdrawn now.

    Args:
        root_files: the root.
        previous: its CRL until now; its number is followed.
        folder: for what is made; the new CRL has the name of the root.
        revoke: CA certificates (PEM) that this root issued, with the reason for each.
        occasion: who, when.

    Raises:
        CeremonyError: files exist; the previous CRL is not of this root or is newer than now; a certificate is not of
            this root, or listed already; a reason that has no place in a CRL of CAs.
        SignerError: the key cannot be used.
        Refused: LINT_FAILED.
    """
    root = root_files.open()
    name = f"{root.name}.crl"
    refuse_existing(folder, (name, "transcript.md"))
    before, number = _read_crl(previous, root.certificate)
    moment = occasion.at.replace(microsecond=0)
    if moment <= before.last_update_utc:
        raise CeremonyError(f"{previous}: it was made later than now; is the clock of this machine right?")
    entries = [_kept(entry) for entry in before]
    for path, reason in revoke:
        serial_number = _issued_by(root.certificate, path)
        if reason in _NOT_FOR_A_CA:
            raise CeremonyError(f"{path}: a CA certificate is withdrawn for good; choose another reason")
        if serial_number in {entry.serial_number for entry in entries}:
            raise CeremonyError(f"{path}: it is on the list already")
        entries.append(CrlEntry(serial_number, moment, reason.code))
    plan = CrlPlan(number + 1, moment, moment + ROOT_CRL_LIFE)
    der = make_crl(root.signer, root.certificate.subject, None, plan, entries)
    files = {name: Made(der, Kind.CRL)}
    to_do = (
        "Compare the SHA-256 values above with the files, aloud, with a second person (`pki ceremony-verify`).",
        f"Put {name} in the place of the one that the authority publishes; it notices by itself.",
        f"Before {plan.next_update.date().isoformat()}: sign the next one.",
        *(f"{path.name} is withdrawn ({reason}): take it from every configuration." for path, reason in revoke),
    )
    files["transcript.md"] = write_transcript(occasion, (root.shown("Root"),), files, to_do)
    return write_all(folder, files)


def cross_certify(root_files: RootFiles, other: Path, folder: Path, occasion: Occasion) -> Mapping[str, Path]:
    """Have a root vouch for the next one, so that who trusts the old one reaches everything below the new one.

    Args:
        root_files: the old root, which signs.
        other: certificate of the new root (PEM), which proves possession of its key by signing itself.
        folder: for what is made.
        occasion: who, when.

    Raises:
        CeremonyError: files exist; not a root; the two have one name or one key; or their times do not overlap.
        SignerError: the key cannot be used.
        Refused: LINT_FAILED.
    """
    root, new = root_files.open(), read_root(other)
    name = f"{other.stem}-cross"
    refuse_existing(folder, (f"{name}.crt", "transcript.md"))
    if new.subject == root.certificate.subject:
        raise CeremonyError(f"{other}: expected a root with another name than that of {root_files.certificate}")
    end = min(new.not_valid_after_utc, root.certificate.not_valid_after_utc)
    if not new.not_valid_before_utc <= occasion.at < end:
        raise CeremonyError(f"{other}: the two roots are not both valid at this moment")
    info = spki_of(new)
    above = root.above(root_files.base_url)
    certificate = certify(
        new.subject,
        info,
        cross_certificate(info, root.signer.public_key, above.published),
        by=root.signer,
        above=above,
        at=occasion.at,
        lifetime=min(ROOT_LIFETIME, end - occasion.at),
        path_length=1,
    )
    files = {f"{name}.crt": Made(certificate.public_bytes(Encoding.PEM), Kind.CERTIFICATE)}
    to_do = (
        "Compare the SHA-256 values above with the files, aloud, with a second person (`pki ceremony-verify`).",
        f'Add it to the settings of the authority: cross = "{name}.crt" beside the new root.',
        "Give it to relying parties that know only the old root, as an intermediate certificate.",
    )
    cas = (
        root.shown("Root that signs"),
        Shown(f"Cross-certificate {name}", certificate, "of the other root, not here"),
    )
    files["transcript.md"] = write_transcript(occasion, cas, files, to_do)
    return write_all(folder, files)


def _organization(certificate: x509.Certificate) -> str:
    found = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    if len(found) != 1:
        raise CeremonyError("the root names no organisation")
    return str(found[0].value)


def _read_crl(path: Path, root: x509.Certificate) -> tuple[x509.CertificateRevocationList, int]:
    try:
        crl = x509.load_der_x509_crl(path.read_bytes())
        number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        elsewhere = any(isinstance(item.value, x509.IssuingDistributionPoint) for item in crl.extensions)
        of_root = crl.issuer == root.subject and crl.is_signature_valid(load_spki(spki_of(root)))
    except (OSError, ValueError, TypeError, x509.ExtensionNotFound) as error:
        raise CeremonyError(f"{path}: expected the CRL of the root in DER") from error
    if not of_root or len(crl) > MAX_ENTRIES:
        raise CeremonyError(f"{path}: it is not a CRL of this root")
    if elsewhere:
        raise CeremonyError(f"{path}: it is for one distribution point; expected the CRL for everything of this root")
    return crl, number


def _kept(entry: x509.RevokedCertificate) -> CrlEntry:
    try:
        reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason.value
    except x509.ExtensionNotFound:
        reason = RevocationReason.UNSPECIFIED.value
    return CrlEntry(entry.serial_number, entry.revocation_date_utc, RevocationReason(reason).code)


def _issued_by(root: x509.Certificate, path: Path) -> int:
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        certificate.verify_directly_issued_by(root)
    except (OSError, ValueError, TypeError, InvalidSignature) as error:
        raise CeremonyError(f"{path}: expected a certificate (PEM) that this root issued") from error
    if certificate.subject == root.subject:
        raise CeremonyError(f"{path}: a root cannot withdraw itself; tell every relying party instead")
    return certificate.serial_number


_NOT_FOR_A_CA: Final = frozenset({RevocationReason.CERTIFICATE_HOLD, RevocationReason.REMOVE_FROM_CRL})
