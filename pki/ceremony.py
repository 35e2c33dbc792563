"""The key ceremony: make a root and an issuing CA, their first CRLs, settings that use them, and a transcript.

Specification: shared `spec/pki.md`, "Issuing": roots offline, issuing CA online. Everything is made in memory first and
then written, and nothing that exists is overwritten: a ceremony either leaves a whole set of files or none it did not
find. Afterwards the root key belongs offline; the transcript says so.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from authz.domain.errors import SluisError
from pki.encoding import ToBeSigned, join_certificate
from pki.profiles import (
    ISSUING_LIFETIME,
    ROOT_LIFETIME,
    Extensions,
    Publication,
    issuing_authority,
    root_authority,
)
from pki.revocation import CRL_LIFE, CrlPlan, make_crl
from pki.signer import KeySigner, PrivateKey, key_pem, new_key

ROOT_CRL_LIFE: Final = timedelta(days=180)
"""The root signs its CRL twice a year; relying parties allow 190 days."""
_SECRET: Final = 0o600
_PUBLIC: Final = 0o644


class CeremonyError(SluisError):
    """The ceremony cannot be held like this. Nothing was written."""


@dataclass(frozen=True, slots=True)
class CeremonyPlan:
    """What the ceremony is asked to make.

    Attributes:
        folder: where the files go.
        organization: who answers for the CA; in its names.
        environment: PRD, TST or ACC.
        base_url: where CRLs and CA certificates will be published, for as long as the CA lives.
        listen_port: port of the plain listener in the settings that are written.
        root_passphrase: encrypts the root key.
        issuing_passphrase: encrypts the issuing key.
        issuing_passphrase_file: named in the settings that are written.
        root_kind: of key.
        issuing_kind: of key.
        witness: who holds it, for the transcript.
    """

    folder: Path
    organization: str
    environment: str
    base_url: str
    listen_port: int
    root_passphrase: bytes
    issuing_passphrase: bytes
    issuing_passphrase_file: Path
    root_kind: str = "ec-p384"
    issuing_kind: str = "ec-p256"
    witness: str = "unknown"

    @property
    def issuing_name(self) -> str:
        """Name of the issuing CA in files, URLs and the register."""
        return f"issuing-{self.environment.lower()}"


@dataclass(frozen=True, slots=True)
class _Ca:
    key: PrivateKey
    signer: KeySigner
    certificate: x509.Certificate

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)


def hold_ceremony(plan: CeremonyPlan, at: datetime) -> Mapping[str, Path]:
    """Make everything and write it.

    Args:
        plan: what to make.
        at: moment of the ceremony, UTC.

    Returns:
        What each file is -> its path.

    Raises:
        CeremonyError: a file exists already, or one cannot be written.
        SignerError: an unknown kind of key.
    """
    root_at = Publication(plan.base_url, "root")
    issuing_at = Publication(plan.base_url, plan.issuing_name)
    root = _make(plan.root_kind, f"{plan.organization} root", plan, at=at, lifetime=ROOT_LIFETIME, parent=None)
    issuing = _make(
        plan.issuing_kind,
        f"{plan.organization} issuing {plan.environment}",
        plan,
        at=at,
        lifetime=ISSUING_LIFETIME,
        parent=(root, root_at),
    )
    moment = at.replace(microsecond=0)
    root_crl = make_crl(root.signer, root.certificate.subject, None, CrlPlan(1, moment, moment + ROOT_CRL_LIFE), ())
    issuing_crl = make_crl(
        issuing.signer, issuing.certificate.subject, issuing_at, CrlPlan(1, moment, moment + CRL_LIFE), ()
    )
    name = plan.issuing_name
    files = {
        "root.key.pem": (key_pem(root.key, plan.root_passphrase), _SECRET),
        f"{name}.key.pem": (key_pem(issuing.key, plan.issuing_passphrase), _SECRET),
        "root.crt": (root.pem, _PUBLIC),
        f"{name}.crt": (issuing.pem, _PUBLIC),
        "ca-bundle.pem": (root.pem + issuing.pem, _PUBLIC),
        "root.crl": (root_crl, _PUBLIC),
        f"{name}.crl": (issuing_crl, _PUBLIC),
        "pki.toml": (_settings(plan).encode(), _PUBLIC),
    }
    files["transcript.md"] = (_transcript(plan, at, (root, issuing), files).encode(), _PUBLIC)
    _write_all(plan.folder, files)
    return {file: plan.folder / file for file in files}


def _make(
    kind: str,
    common_name: str,
    plan: CeremonyPlan,
    *,
    at: datetime,
    lifetime: timedelta,
    parent: tuple[_Ca, Publication] | None,
) -> _Ca:
    key = new_key(kind)
    signer = KeySigner(key)
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "NL"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, plan.organization),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )
    extensions: Extensions = root_authority(signer.public_key)
    if parent is not None:
        extensions = issuing_authority(signer.public_key, parent[0].signer.public_key, parent[1])
    by = parent[0].signer if parent else signer
    start = at.replace(microsecond=0) - timedelta(minutes=5)
    tbs = ToBeSigned(
        serial_number=x509.random_serial_number(),
        algorithm=by.algorithm,
        issuer=parent[0].certificate.subject if parent else subject,
        subject=subject,
        public_key=signer.public_key,
        not_before=start,
        not_after=start + lifetime,
        extensions=extensions,
    ).encode()
    certificate = x509.load_der_x509_certificate(join_certificate(tbs, by.algorithm, by.sign(tbs)))
    certificate.verify_directly_issued_by(parent[0].certificate if parent else certificate)
    return _Ca(key, signer, certificate)


def _settings(plan: CeremonyPlan) -> str:
    name = plan.issuing_name
    # Relative, so that the folder with its passphrase beside it can be moved as one.
    secret = os.path.relpath(plan.issuing_passphrase_file, plan.folder)
    return f"""# Settings of the certificate authority, written by `pki ceremony`. Relative paths start at this folder.

[root]
certificate = "root.crt"
crl = "root.crl"

[[issuers]]
name = "{name}"
environment = "{plan.environment}"
certificate = "{name}.crt"
key = "{name}.key.pem"
passphrase_file = "{secret}"

[database]
file = "pki.sqlite3"

[publication]
# Stands in every certificate: as permanent as the CA.
base_url = "{plan.base_url}"
port = {plan.listen_port}
"""


def _transcript(plan: CeremonyPlan, at: datetime, cas: tuple[_Ca, _Ca], files: Mapping[str, tuple[bytes, int]]) -> str:
    lines = [
        f"# Key ceremony of {plan.organization}, {plan.environment}",
        "",
        f"Held at {at.replace(microsecond=0).isoformat()} by {plan.witness}.",
        "",
    ]
    for title, ca in zip(("Root", "Issuing CA"), cas, strict=True):
        certificate = ca.certificate
        lines += [
            f"## {title}",
            "",
            f"* subject: {certificate.subject.rfc4514_string()}",
            f"* serial number: {certificate.serial_number:x}",
            f"* valid: {certificate.not_valid_before_utc.isoformat()} to {certificate.not_valid_after_utc.isoformat()}",
            f"* signature algorithm: {ca.signer.algorithm}",
            f"* SHA-256 of the certificate: {hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()}",
            f"* SHA-256 of the public key (the pin): {hashlib.sha256(ca.signer.public_key).hexdigest()}",
            "",
        ]
    lines += ["## Files", "", "| file | SHA-256 |", "|---|---|"]
    lines += [f"| {file} | {hashlib.sha256(content).hexdigest()} |" for file, (content, _) in sorted(files.items())]
    lines += [
        "",
        "## To do now",
        "",
        "1. Compare the SHA-256 values above with the files, aloud, with a second person.",
        "2. Move root.key.pem and its passphrase to two offline places and destroy them here.",
        f"3. Before {(at + ROOT_CRL_LIFE).date().isoformat()}: sign a new root CRL.",
        "",
        "| role | name | signature |",
        "|---|---|---|",
        "| ceremony leader | | |",
        "| witness | | |",
        "",
    ]
    return "\n".join(lines)


def _write_all(folder: Path, files: Mapping[str, tuple[bytes, int]]) -> None:
    written: list[Path] = []
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        existing = [file for file in files if (folder / file).exists()]
        if existing:
            raise CeremonyError(f"{folder}: {', '.join(existing)} exist already; a ceremony overwrites nothing")
        for file, (content, mode) in files.items():
            descriptor = os.open(folder / file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            written.append(folder / file)
            with os.fdopen(descriptor, "wb") as target:
                target.write(content)
                target.flush()
                os.fsync(target.fileno())
    except OSError as error:
        for path in written:  # ours alone: each was made with O_EXCL
            path.unlink(missing_ok=True)
        raise CeremonyError(f"{folder}: the files cannot be written ({error.strerror})") from error
