"""The text of an enrolment code: how it is drawn, read and remembered.

Specification: shared `spec/pki.md`, "Issuing" ("one-time code"). A code has a selector of 40 random bits, by which it
is looked up and which is shown in lists, and a secret of 160 random bits, of which only a slow hash is kept. As the
selector cannot be guessed either, nobody can lock the code of a party whose identity he knows. Whether a code works
(approved, not expired, not used) is the register's matter, not this module's.

Where two operators vouch for a party, that is the first half only, for the operator who asks; a second secret of 160
bits is drawn when another one approves, and shown to him alone. Whoever enrols shows both, one behind the other.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Final

SELECTOR_LENGTH: Final = 8
SECRET_LENGTH: Final = 32
"""Characters of five bits each: 160 bits."""
SECOND_LENGTH: Final = 32
"""Characters of the second half."""
SALT_BYTES: Final = 16
_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's: without I, L, O and U, so that a code can be read aloud."""
_GROUP: Final = 5
_FIRST: Final = SELECTOR_LENGTH + SECRET_LENGTH
_FORM = re.compile(rf"[{_ALPHABET}]{{{_FIRST}}}([{_ALPHABET}]{{{SECOND_LENGTH}}})?")
_LOOKALIKES = str.maketrans({"O": "0", "I": "1", "L": "1"} | dict.fromkeys("- \t\r\n", ""))
MAX_TEXT: Final = 160
"""Characters, with separators."""
# scrypt, 16 MiB and some 40 ms: the secret is random, so this only makes a stolen database dearer still.
_COST: Final = {"n": 1 << 14, "r": 8, "p": 1, "maxmem": 64 * 1024 * 1024, "dklen": 32}


@dataclass(frozen=True, slots=True, repr=False)
class Code:
    """A code in its parts. Its secrets have no text form but `text()`.

    Attributes:
        selector: names the code; no secret.
        secret: proves it.
        second: proves, where two operators vouch, that the second one agreed; None in one half, or where one is enough.
    """

    selector: str
    secret: str
    second: str | None = None

    def __repr__(self) -> str:
        return f"Code({self.selector}...)"

    def text(self) -> str:
        """As it is handed over, once: groups of five with hyphens."""
        return in_groups(self.selector + self.secret + (self.second or ""))


def in_groups(text: str) -> str:
    """As people copy it: groups of five with hyphens."""
    return "-".join(text[start : start + _GROUP] for start in range(0, len(text), _GROUP))


def draw_code() -> Code:
    """A new random code, or the first half of one."""
    drawn = _draw(_FIRST)
    return Code(drawn[:SELECTOR_LENGTH], drawn[SELECTOR_LENGTH:])


def draw_second() -> str:
    """A new random second half."""
    return _draw(SECOND_LENGTH)


def _draw(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def read_code(text: str) -> Code | None:
    """What somebody typed or pasted; None when it has not the form of a code.

    Args:
        text: small letters, spaces, hyphens and ends of lines anywhere, and O, I, L for 0, 1, 1 are taken. Two halves
            stand one behind the other.
    """
    if len(text) > MAX_TEXT or not text.isascii():
        return None
    plain = text.strip().upper().translate(_LOOKALIKES)
    if not _FORM.fullmatch(plain):
        return None
    return Code(plain[:SELECTOR_LENGTH], plain[SELECTOR_LENGTH:_FIRST], plain[_FIRST:] or None)


def are_swapped(text: str) -> bool:
    """Whether a line of the length of a second half stands before one of the length of a first.

    Only where each has a line of its own: in one line nothing tells them apart.
    """
    lengths = [len(line.strip().upper().translate(_LOOKALIKES)) for line in text.splitlines()]
    return [length for length in lengths if length] == [SECOND_LENGTH, _FIRST]


def read_selector(text: str) -> str | None:
    """The reference of a code as an operator typed it; None when it has not that form."""
    padded = read_code(text.strip() + "0" * SECRET_LENGTH)
    return padded.selector if padded else None


def new_salt() -> bytes:
    """Random, for one code."""
    return secrets.token_bytes(SALT_BYTES)


def verifier_of(secret: str, salt: bytes) -> bytes:
    """The slow hash of one secret; takes some 40 ms and 16 MiB, so not in an event loop."""
    return hashlib.scrypt(secret.encode("ascii"), salt=salt, **_COST)


def fits(secret: str, salt: bytes, verifier: bytes) -> bool:
    """Whether this is the secret that `verifier` was made from; the comparison takes the same time either way."""
    return hmac.compare_digest(verifier_of(secret, salt), verifier)
