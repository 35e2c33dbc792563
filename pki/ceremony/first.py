"""The first ceremony: a root and an issuing CA, their first CRLs, settings that use them, and a transcript.

Specification: shared `spec/pki.md`, "Issuing". Everything is made in memory first and then written, and nothing that
exists is overwritten: a ceremony either leaves a whole set of files or none it did not find. Afterwards the root key
belongs offline; the transcript says so. A later generation, for the day on which the root itself is replaced, has its
number in all names.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from pki.ceremony.files import CeremonyError, Kind, Made, refuse_existing, write_all
from pki.ceremony.parts import Ca, FileKeyPlan, KeyPlan, TokenKeyPlan, ca_subject, certify, make_issuing
from pki.ceremony.transcript import Occasion, People, write_transcript
from pki.names import ENVIRONMENTS
from pki.profiles import ROOT_LIFETIME, Publication, root_authority
from pki.revocation.crl import CRL_LIFE, CrlPlan, make_crl

ROOT_CRL_LIFE: Final = timedelta(days=180)
"""The root signs its CRL twice a year; relying parties allow 190 days."""


@dataclass(frozen=True, slots=True)
class HsmPlan:
    """A token in which the issuing key is made.

    Attributes:
        module: the vendor's PKCS#11 library.
        token: label of the token.
        pin_file: first line is the PIN; named in the settings that are written.
    """

    module: Path
    token: str
    pin_file: Path

    def key(self, kind: str, folder: Path) -> TokenKeyPlan:
        """The plan for one key; settings name the PIN file relative to their folder."""
        return TokenKeyPlan(kind, self.module, self.token, self.pin_file, os.path.relpath(self.pin_file, folder))


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
        issuing_passphrase: encrypts the issuing key; not used with `hsm`.
        issuing_passphrase_file: named in the settings that are written; not used with `hsm`.
        root_kind: of key; P-256 by default, because every new connection verifies two signatures of the root (0085).
        issuing_kind: of key.
        witness: who watches, for the transcript.
        leader: who holds it.
        hsm: where the issuing key is made; None for a file.
        generation: 1, and one more for each root that replaces another.
        command: what was typed, for the transcript.
    """

    folder: Path
    organization: str
    environment: str
    base_url: str
    listen_port: int
    root_passphrase: bytes
    issuing_passphrase: bytes
    issuing_passphrase_file: Path
    root_kind: str = "ec-p256"
    issuing_kind: str = "ec-p256"
    witness: str = ""
    leader: str = "unknown"
    hsm: HsmPlan | None = None
    generation: int = 1
    command: str = ""

    @property
    def root_name(self) -> str:
        """Name of the root in files and URLs."""
        return numbered("root", self.generation)

    @property
    def issuing_name(self) -> str:
        """Name of the issuing CA in files, URLs and the register."""
        return numbered(f"issuing-{self.environment.lower()}", self.generation)

    @property
    def issuing_key(self) -> KeyPlan:
        """How the key of the issuing CA is made."""
        if self.hsm is not None:
            return self.hsm.key(self.issuing_kind, self.folder)
        # Relative, so that the folder with its passphrase beside it can be moved as one.
        secret = os.path.relpath(self.issuing_passphrase_file, self.folder)
        return FileKeyPlan(self.issuing_kind, self.issuing_passphrase, secret)


def numbered(name: str, generation: int) -> str:
    """The name, with its generation from the second on."""
    return name if generation == 1 else f"{name}-{generation}"


def common_name(organization: str, what: str, generation: int) -> str:
    """What people call a CA."""
    return f"{organization} {what}" if generation == 1 else f"{organization} {what} {generation}"


def hold_ceremony(plan: CeremonyPlan, at: datetime) -> Mapping[str, Path]:
    """Make everything and write it.

    Args:
        plan: what to make.
        at: moment of the ceremony, UTC.

    Returns:
        What each file is -> its path.

    Raises:
        CeremonyError: a file exists already, one cannot be written, or the plan cannot be carried out.
        SignerError: an unknown kind of key, or a token that cannot be used.
        Refused: LINT_FAILED.
    """
    people = People(plan.leader, plan.witness)
    if plan.environment not in ENVIRONMENTS or plan.generation < 1:
        raise CeremonyError("expected the environment PRD, TST or ACC, and a generation from 1 on")
    root_name, name = plan.root_name, plan.issuing_name
    root_subject = ca_subject(plan.organization, common_name(plan.organization, "root", plan.generation))
    subject = ca_subject(
        plan.organization, common_name(plan.organization, f"issuing {plan.environment}", plan.generation)
    )
    # Before a key is made in a token, from where it would not disappear again.
    refuse_existing(plan.folder, (f"{root_name}.crt", f"{name}.crt", "pki.toml", "transcript.md"))
    root_key = FileKeyPlan(plan.root_kind, plan.root_passphrase).make(root_name)
    certificate = certify(
        root_subject,
        root_key.signer.public_key,
        root_authority(root_key.signer.public_key),
        by=root_key.signer,
        above=None,
        at=at,
        lifetime=ROOT_LIFETIME,
        path_length=2,
    )
    root = Ca(root_name, root_key.signer, certificate, root_key.where)
    key = plan.issuing_key.make(name)
    issuing = make_issuing(name, subject, key, root, plan.base_url, at=at)
    files = {
        **root_key.files,
        **key.files,
        f"{root_name}.crt": Made(root.pem, Kind.CERTIFICATE),
        f"{name}.crt": Made(issuing.pem, Kind.CERTIFICATE),
        "ca-bundle.pem": Made(root.pem + issuing.pem, Kind.CERTIFICATE),
        f"{root_name}.crl": Made(first_crl(root, None, at, ROOT_CRL_LIFE), Kind.CRL),
        f"{name}.crl": Made(first_crl(issuing, Publication(plan.base_url, name), at, CRL_LIFE), Kind.CRL),
        "pki.toml": Made(_settings(plan, key.settings).encode(), Kind.SETTINGS),
    }
    title = f"Key ceremony of {plan.organization}, {plan.environment}"
    to_do = (
        "Compare the SHA-256 values above with the files, aloud, with a second person (`pki ceremony-verify`).",
        f"Move {root_name}.key.pem and its passphrase to two offline places and destroy them here.",
        f"Before {(at + ROOT_CRL_LIFE).date().isoformat()}: sign a new CRL of the root (`pki ceremony-root-crl`).",
        "Write the SHA-256 of this transcript on the paper that is signed.",
        *_operators(plan.environment),
    )
    occasion = Occasion(title, people, at, plan.command)
    files["transcript.md"] = write_transcript(occasion, (root.shown("Root"), issuing.shown("Issuing CA")), files, to_do)
    return write_all(plan.folder, files)


def _operators(environment: str) -> tuple[str, ...]:
    if environment != "PRD":
        return ()
    return (
        "Two persons at least make a key each (`pki operator new`), with a passphrase that nobody else knows.",
        "Put the blocks that it prints into pki.toml, both present: without two operators nothing is issued.",
    )


def first_crl(ca: Ca, published: Publication | None, at: datetime, life: timedelta) -> bytes:
    """CRL number 1 of a CA, with nothing on it."""
    moment = at.replace(microsecond=0)
    return make_crl(ca.signer, ca.certificate.subject, published, CrlPlan(1, moment, moment + life), ())


def issuer_settings(name: str, environment: str, key: tuple[str, ...]) -> str:
    """The block of settings of one issuing CA."""
    lines = (
        "[[issuers]]",
        f'name = "{name}"',
        f'environment = "{environment}"',
        f'certificate = "{name}.crt"',
        *key,
    )
    return "\n".join(lines) + "\n"


def _settings(plan: CeremonyPlan, key: tuple[str, ...]) -> str:
    named = "" if plan.generation == 1 else f'name = "{plan.root_name}"\n'
    return f"""# Settings of the certificate authority, written by `pki ceremony`. Relative paths start at this folder.

[root]
{named}certificate = "{plan.root_name}.crt"
crl = "{plan.root_name}.crl"

{issuer_settings(plan.issuing_name, plan.environment, key)}
[database]
file = "pki.sqlite3"

[publication]
# Stands in every certificate: as permanent as the CA.
base_url = "{plan.base_url}"
port = {plan.listen_port}

# Only names that are secure (DNSSEC) get a first certificate: name a resolver before the first one is issued.
# [dnssec]
# resolvers = ["127.0.0.1:53"]

# For production two operators vouch for every certificate, each with a key of his own: `pki operator new`.
# [[operators]]
# name = "anna"
# public_key = "..."
"""
