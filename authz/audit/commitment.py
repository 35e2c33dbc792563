"""The salted commitment of one log entry: what the Merkle leaf covers instead of the record itself.

Specification: shared `spec/audit.md`, "Tamper evidence". The tree is built over commitments, so that a payload and its
salt can be erased by law while every proof stays valid; without the salt nobody can tell from the commitment what the
payload was. The commitment also binds the position and the time of receipt, so that a record moved to another place is
recognised by itself, without a checkpoint.
"""

import os
import struct
from hashlib import sha256
from typing import Final

from authz.audit.merkle import leaf_hash

SALT_BYTES: Final = 16
_TAG: Final = b"sluis/audit/entry/v1\n"
# Every part before the payload has a fixed length, so that no two inputs share one encoding.
_POSITION: Final = struct.Struct(">Qq")


def new_salts(count: int) -> list[bytes]:
    """`count` fresh salts of 128 random bits, in one call to the kernel."""
    data = os.urandom(SALT_BYTES * count)
    return [data[start : start + SALT_BYTES] for start in range(0, len(data), SALT_BYTES)]


def commit(salt: bytes, index: int, received_us: int, payload: bytes) -> bytes:
    """Commit to a payload at its place in the log.

    Args:
        salt: `SALT_BYTES` random bytes, secret once the payload is erased.
        index: position in the log, from zero.
        received_us: when the log received the record, in microseconds since the epoch.
        payload: the record's bytes, exactly as stored.
    """
    return sha256(_TAG + salt + _POSITION.pack(index, received_us) + payload).digest()


def leaf_of(commitment: bytes) -> bytes:
    """The Merkle leaf of a commitment."""
    return leaf_hash(commitment)
