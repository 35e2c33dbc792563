"""The transcript of a ceremony: who did what, when, with which software, and the hash of every file that came of it.

Specification: shared `spec/pki.md`, "Issuing" ("writes a transcript"). A Markdown page that people read aloud and sign
on paper, and whose table of files a program checks afterwards (`verify_transcript`). What is written by hand below it
is the proof that people were there; a hash alone is not.
"""

import hashlib
import platform
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import cryptography
from cryptography import x509
from cryptography.hazmat.backends.openssl import backend
from cryptography.hazmat.primitives.serialization import Encoding

from pki.ceremony.files import CeremonyError, Kind, Made
from pki.keys import spki_of

MAX_TRANSCRIPT_BYTES: Final = 262_144
_PERSON: Final = re.compile(r"[^\x00-\x1f\x7f|`<>]{1,64}")
_ROW: Final = re.compile(r"\| ([A-Za-z0-9][A-Za-z0-9._-]{0,100}) \| ([a-z]+) \| ([0-9a-f]{64}) \|")


@dataclass(frozen=True, slots=True)
class People:
    """Who holds the ceremony.

    Attributes:
        leader: acts.
        witness: watches, and holds the other half of the secrets; empty outside production.

    Raises:
        CeremonyError: a name is missing or malformed, or the two are one.
    """

    leader: str
    witness: str = ""

    def __post_init__(self) -> None:
        if not _is_name(self.leader) or (self.witness and not _is_name(self.witness)):
            raise CeremonyError("--leader and --witness: expected names of 1 to 64 printable characters")
        if _heard(self.leader) == _heard(self.witness):
            raise CeremonyError("--leader and --witness: expected two persons")


def _is_name(text: str) -> bool:
    return _PERSON.fullmatch(text) is not None and text.isprintable() and bool(_heard(text))


def _heard(name: str) -> str:
    """A name without what a reader does not hear: capitals, dots, spaces, accents, width and look of letters."""
    parts = unicodedata.normalize("NFKD", name)
    return "".join(sign for sign in parts if sign.isalnum()).casefold()


@dataclass(frozen=True, slots=True)
class Occasion:
    """Everything a transcript says besides what was made.

    Attributes:
        title: what kind of ceremony, and whose.
        people: who.
        at: when, UTC.
        command: what was typed, without secrets.
        before: hash of the transcript that came before it, where there is one.
    """

    title: str
    people: People
    at: datetime
    command: str = ""
    before: str | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """A CA certificate as the transcript describes it; `where` its key is, in words."""

    heading: str
    certificate: x509.Certificate
    where: str


def write_transcript(occasion: Occasion, cas: Sequence[Shown], files: Mapping[str, Made], to_do: Sequence[str]) -> Made:
    """The page.

    Args:
        occasion: who, when, with what.
        cas: each is described with its fingerprints.
        files: everything that is made.
        to_do: what the people do now.
    """
    lines = [f"# {occasion.title}", "", *_circumstances(occasion), ""]
    for ca in cas:
        certificate = ca.certificate
        key = spki_of(certificate)
        lines += [
            f"## {ca.heading}",
            "",
            f"* subject: {certificate.subject.rfc4514_string()}",
            f"* issuer: {certificate.issuer.rfc4514_string()}",
            f"* serial number: {certificate.serial_number:x}",
            f"* valid: {certificate.not_valid_before_utc.isoformat()} to {certificate.not_valid_after_utc.isoformat()}",
            f"* key: {ca.where}",
            f"* SHA-256 of the certificate: {_hash(certificate.public_bytes(Encoding.DER))}",
            f"* SHA-256 of the public key (the pin): {_hash(key)}",
            "",
        ]
    lines += ["## Files", "", "| file | what | SHA-256 |", "|---|---|---|"]
    lines += [f"| {name} | {made.kind} | {_hash(made.content)} |" for name, made in sorted(files.items())]
    lines += ["", "## To do now", ""]
    lines += [f"{number}. {what}" for number, what in enumerate(to_do, 1)]
    lines += ["", "| role | name | date and signature |", "|---|---|---|"]
    lines += [f"| ceremony leader | {occasion.people.leader} | |", f"| witness | {occasion.people.witness} | |", ""]
    return Made("\n".join(lines).encode(), Kind.TRANSCRIPT)


@dataclass(frozen=True, slots=True)
class Checked:
    """What became of one file.

    Attributes:
        name: of the file.
        verdict: `unchanged`, `absent` or `changed`.
        acceptable: whether that is as it may be: a key is elsewhere, settings are edited.
    """

    name: str
    verdict: str
    acceptable: bool


def verify_transcript(path: Path) -> tuple[str, list[Checked]]:
    """Compare the files beside a transcript with what it says.

    Does not check the signatures on paper, nor that the transcript itself is the one that was signed: compare the hash
    that is returned with the one that was written down.

    Args:
        path: the transcript; its files are in the same folder.

    Returns:
        SHA-256 of the transcript, and the files in their order.

    Raises:
        CeremonyError: it cannot be read, or names no files.
    """
    try:
        content = path.read_bytes()
        text = content.decode("utf-8") if len(content) <= MAX_TRANSCRIPT_BYTES else ""
    except (OSError, UnicodeDecodeError) as error:
        raise CeremonyError(f"{path}: cannot be read as a transcript") from error
    rows = [match.groups() for line in text.splitlines() if (match := _ROW.fullmatch(line))]
    if not rows or len({name for name, _, _ in rows}) != len(rows):
        raise CeremonyError(f"{path}: expected a table of files, each once")
    return _hash(content), [_check(path.parent / name, kind, said) for name, kind, said in rows]


def _check(path: Path, kind: str, said: str) -> Checked:
    try:
        found = _hash(path.read_bytes())
    except FileNotFoundError:
        return Checked(path.name, "absent", kind == Kind.KEY)
    except OSError as error:
        raise CeremonyError(f"{path}: cannot be read ({error.strerror})") from error
    if found == said:
        return Checked(path.name, "unchanged", acceptable=True)
    return Checked(path.name, "changed", kind == Kind.SETTINGS)


def hash_of(path: Path) -> str:
    """SHA-256 of a file, for the transcript that comes after it.

    Raises:
        CeremonyError: it cannot be read.
    """
    try:
        return _hash(path.read_bytes())
    except OSError as error:
        raise CeremonyError(f"{path}: cannot be read ({error.strerror})") from error


def _circumstances(occasion: Occasion) -> list[str]:
    witness = occasion.people.witness or "nobody (not a production ceremony)"
    lines = [
        f"* held at: {occasion.at.replace(microsecond=0).isoformat()}",
        f"* leader: {occasion.people.leader}",
        f"* witness: {witness}",
        f"* software: sluis {_version('sluis')}, pkilint {_version('pkilint')}, Python {platform.python_version()}",
        f"* cryptography: {cryptography.__version__}, {backend.openssl_version_text()}",
    ]
    if occasion.command:
        lines.append(f"* command: `{occasion.command.replace('`', '')}`")
    if occasion.before:
        lines.append(f"* SHA-256 of the transcript before this one: {occasion.before}")
    return lines


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "from a checkout"


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
