"""Signed notes and checkpoints: the text in which a log states its size and root, and its signatures.

Specification: C2SP signed-note and tlog-checkpoint (shared `spec/audit.md`, "Tamper evidence"), with Ed25519
signatures only. Says who signed what; whether the root fits any entries is `verify`'s work.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Protocol, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from authz.audit.merkle import HASH_BYTES
from authz.domain.errors import SluisError

MAX_NOTE_BYTES: Final = 16_384
"""Bytes of a signed note; a checkpoint with ten cosignatures stays under 2 kB."""
MAX_SIGNATURES: Final = 64
"""Signatures of one note that are looked at."""

_ED25519: Final = b"\x01"
_KEY_ID_BYTES: Final = 4
_KEY_BYTES: Final = 32
_NAME = re.compile(r"[^\s+]{1,200}")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_SIGNATURE = re.compile(r"— ([^\s+]{1,200}) ([A-Za-z0-9+/=]{1,400})")


class NoteInvalid(SluisError):  # noqa: N818  names what happened, like `Refused`
    """A text is not a signed note, or no known key signed it."""


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key under a name.

    Attributes:
        name: for a checkpoint the origin of the log: a host name and path without a scheme.
        public: 32 bytes of an Ed25519 public key.
    """

    name: str
    public: bytes

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or len(self.public) != _KEY_BYTES:
            raise NoteInvalid("a verifier key has a name without white space or plus signs, and 32 bytes")

    @property
    def key_id(self) -> bytes:
        """SHA-256(name || 0x0A || 0x01 || public key), first four bytes."""
        return sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:_KEY_ID_BYTES]

    def __str__(self) -> str:
        encoded = base64.b64encode(_ED25519 + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{encoded}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the form `name+keyid+base64`.

        Raises:
            NoteInvalid: another form or algorithm, or a key id that is not this key's.
        """
        name, _, rest = text.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        data = _decoded(encoded)
        if data[:1] != _ED25519:
            raise NoteInvalid("the algorithm of a verifier key is not Ed25519")
        key = cls(name, data[1:])
        if key.key_id.hex() != key_id:
            raise NoteInvalid("the key id of a verifier key is not that of its name and key")
        return key


class NoteSigner(Protocol):
    """Signs notes; the key hides behind it."""

    @property
    def verifier(self) -> VerifierKey:
        """The public half, with the name under which it signs."""
        ...

    def sign(self, text: bytes) -> bytes:
        """An Ed25519 signature over the text."""
        ...


@dataclass(frozen=True, slots=True)
class SignedNote:
    """A note as received.

    Attributes:
        unverified_text: the text including its last newline; call `verified_text`.
        signatures: name, key id and signature of each signature line.
    """

    unverified_text: str
    signatures: tuple[tuple[str, bytes, bytes], ...]

    @classmethod
    def parse(cls, note: str) -> Self:
        """Take a note apart.

        Raises:
            NoteInvalid: not a signed note, or beyond a limit.
        """
        if len(note.encode(errors="surrogatepass")) > MAX_NOTE_BYTES:
            raise NoteInvalid(f"a signed note has at most {MAX_NOTE_BYTES} bytes")
        text, separator, lines = note.rpartition("\n\n")
        if not separator or not lines.endswith("\n") or any(ord(each) < 32 and each != "\n" for each in note):  # noqa: PLR2004  control characters
            raise NoteInvalid("a signed note is a text, an empty line and signature lines")
        signatures: list[tuple[str, bytes, bytes]] = []
        for line in lines[:-1].split("\n"):
            match = _SIGNATURE.fullmatch(line)
            if match is None or len(signatures) == MAX_SIGNATURES:
                raise NoteInvalid("a signature line of the note is malformed, or there are too many")
            data = _decoded(match[2])
            if len(data) <= _KEY_ID_BYTES:
                raise NoteInvalid("a signature of the note is too short")
            signatures.append((match[1], data[:_KEY_ID_BYTES], data[_KEY_ID_BYTES:]))
        return cls(text + "\n", tuple(signatures))

    def verified_text(self, *keys: VerifierKey) -> str:
        """The text, once at least one of these keys has signed it.

        A signature by a key that is not given is ignored; a wrong one by a key that is given refuses the note.

        Raises:
            NoteInvalid: no signature of these keys, or a wrong one.
        """
        known = {(key.name, key.key_id): key for key in keys}
        verified = False
        for name, key_id, signature in self.signatures:
            key = known.get((name, key_id))
            if key is None:
                continue
            try:
                Ed25519PublicKey.from_public_bytes(key.public).verify(signature, self.unverified_text.encode())
            except InvalidSignature:
                raise NoteInvalid("a signature of the note is wrong") from None
            verified = True
        if not verified:
            raise NoteInvalid("the note is not signed by a known key")
        return self.unverified_text


def sign_note(text: str, signer: NoteSigner) -> str:
    """The note over this text, with one signature.

    Raises:
        NoteInvalid: the text does not end in a newline, or holds control characters.
    """
    if not text.endswith("\n") or any(ord(each) < 32 and each != "\n" for each in text):  # noqa: PLR2004
        raise NoteInvalid("the text of a note ends in a newline and holds no other control characters")
    key = signer.verifier
    encoded = base64.b64encode(key.key_id + signer.sign(text.encode())).decode()
    return f"{text}\n— {key.name} {encoded}\n"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log states of itself.

    Attributes:
        origin: name of the log.
        size: number of entries.
        root: root of the tree over them.
    """

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The text of its note."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, verified_text: str) -> Self:
        """Read the text of a verified note; extension lines are allowed and ignored.

        Raises:
            NoteInvalid: not a checkpoint.
        """
        lines = verified_text.split("\n")
        if len(lines) < 4 or lines[-1] or not all(lines[:-1]) or not _SIZE.fullmatch(lines[1]):  # noqa: PLR2004  three lines
            raise NoteInvalid("a checkpoint has an origin, a size and a root, each on its line")
        root = _decoded(lines[2])
        if len(root) != HASH_BYTES:
            raise NoteInvalid("the root of a checkpoint has 32 bytes")
        return cls(lines[0], int(lines[1]), root)

    @classmethod
    def open(cls, note: str, *keys: VerifierKey) -> Self:
        """Verify a signed checkpoint: signed by one of the keys, and the log's name is that key's name.

        Raises:
            NoteInvalid: it is not.
        """
        parsed = SignedNote.parse(note)
        checkpoint = cls.parse(parsed.verified_text(*keys))
        if checkpoint.origin not in {key.name for key in keys}:
            raise NoteInvalid("the checkpoint is of another log")
        return checkpoint


def _decoded(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise NoteInvalid("a part of the note is not base64") from None
    if base64.b64encode(data).decode() != text:
        raise NoteInvalid("a part of the note is not the one base64 spelling of its bytes")
    return data
