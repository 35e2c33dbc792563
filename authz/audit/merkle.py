"""The Merkle tree of the log: hashes, incremental growth, inclusion and consistency proofs.

Specification: RFC 9162 section 2.1 (leaf = SHA-256(0x00 || entry), node = SHA-256(0x01 || left || right), split at the
largest power of two below the size). Knows hashes only: that a leaf hash belongs to a record is `commitment`'s work,
and that a root was signed is `note`'s.
"""

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Final, Self

from authz.domain.errors import SluisError

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = sha256(b"").digest()
"""Root of a tree without entries (RFC 9162 section 2.1.1)."""


class ProofInvalid(SluisError):  # noqa: N818  names what happened, like `Refused`
    """A proof does not show what it claims, or is not a proof at all."""


def leaf_hash(entry: bytes) -> bytes:
    """Hash of one entry; the prefix keeps a leaf from ever passing for a node."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of two subtrees."""
    return sha256(b"\x01" + left + right).digest()


def root_of(leaves: Iterable[bytes]) -> bytes:
    """Root over leaf hashes in order."""
    tree = CompactTree()
    for leaf in leaves:
        tree.append(leaf)
    return tree.root()


class CompactTree:
    """A tree that grows at its right edge and remembers only the roots of its full subtrees (at most 64 hashes)."""

    __slots__ = ("_full", "_size")

    def __init__(self) -> None:
        self._size = 0
        self._full: list[bytes] = []

    @classmethod
    def from_frontier(cls, size: int, frontier: Sequence[bytes]) -> Self:
        """Continue where another tree stood.

        Does not check that the frontier belongs to any signed root: compare `root()` with one before relying on it.

        Args:
            size: number of entries.
            frontier: roots of the full subtrees, largest first, one for each bit that is set in `size`.

        Raises:
            ProofInvalid: the frontier has not the form that the size requires.
        """
        if size < 0 or len(frontier) != size.bit_count() or any(len(each) != HASH_BYTES for each in frontier):
            raise ProofInvalid("the frontier does not fit the size of the tree")
        tree = cls()
        tree._size = size
        tree._full = list(frontier)
        return tree

    @property
    def size(self) -> int:
        """Number of entries."""
        return self._size

    @property
    def frontier(self) -> tuple[bytes, ...]:
        """Roots of the full subtrees, largest first."""
        return tuple(self._full)

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash at the end."""
        full = self._full
        position = self._size
        while position & 1:
            leaf = node_hash(full.pop(), leaf)
            position >>= 1
        full.append(leaf)
        self._size += 1

    def root(self) -> bytes:
        """Root over everything appended so far."""
        if not self._full:
            return EMPTY_ROOT
        root = self._full[-1]
        for left in reversed(self._full[:-1]):
            root = node_hash(left, root)
        return root


class ProofCollector:
    """Makes the inclusion proofs of chosen entries in one pass over all leaf hashes.

    Memory is proportional to the number of chosen entries, not to the size of the tree.
    """

    def __init__(self, wanted: Iterable[int]) -> None:
        self._proofs: dict[int, list[bytes]] = {index: [] for index in wanted}
        self._stack: list[tuple[int, bytes, list[int]]] = []  # (leaves below, root, chosen entries below)
        self._size = 0

    def append(self, leaf: bytes) -> None:
        """Take the next leaf hash."""
        chosen = [self._size] if self._size in self._proofs else []
        self._stack.append((1, leaf, chosen))
        self._size += 1
        while len(self._stack) > 1 and self._stack[-1][0] == self._stack[-2][0]:
            self._merge()

    def finish(self) -> tuple[bytes, dict[int, tuple[bytes, ...]]]:
        """The root and the proof of each chosen entry; the collector cannot be used afterwards."""
        while len(self._stack) > 1:
            self._merge()
        root = self._stack[0][1] if self._stack else EMPTY_ROOT
        return root, {index: tuple(proof) for index, proof in self._proofs.items() if index < self._size}

    def _merge(self) -> None:
        right_size, right, right_chosen = self._stack.pop()
        left_size, left, left_chosen = self._stack.pop()
        for index in left_chosen:
            self._proofs[index].append(right)
        for index in right_chosen:
            self._proofs[index].append(left)
        self._stack.append((left_size + right_size, node_hash(left, right), left_chosen + right_chosen))


def inclusion_proof(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Proof that entry `index` is in the tree over `leaves` (RFC 9162 section 2.1.3.1).

    Raises:
        ProofInvalid: there is no such entry.
    """
    if not 0 <= index < len(leaves):
        raise ProofInvalid("there is no such entry in a tree of this size")
    collector = ProofCollector((index,))
    for leaf in leaves:
        collector.append(leaf)
    return collector.finish()[1][index]


def consistency_proof(leaves: Sequence[bytes], old_size: int) -> tuple[bytes, ...]:
    """Proof that the tree over `leaves` only added to its first `old_size` entries (RFC 9162 section 2.1.4.1).

    Raises:
        ProofInvalid: the old size is zero or larger than the tree.
    """
    if not 0 < old_size <= len(leaves):
        raise ProofInvalid("a consistency proof needs an old size between one and the size of the tree")
    return tuple(_subproof(leaves, old_size, whole=True))


def _subproof(leaves: Sequence[bytes], old_size: int, *, whole: bool) -> list[bytes]:
    if old_size == len(leaves):
        return [] if whole else [root_of(leaves)]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    if old_size <= split:
        return [*_subproof(leaves[:split], old_size, whole=whole), root_of(leaves[split:])]
    return [*_subproof(leaves[split:], old_size - split, whole=False), root_of(leaves[:split])]


def verify_inclusion(*, leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that `leaf` is entry `index` of the tree of `size` entries with this root (RFC 9162 section 2.1.3.2).

    Does not check who signed the root.

    Raises:
        ProofInvalid: it is not, or an argument has not the form it must have.
    """
    _check_hashes(leaf, root, *proof)
    if not 0 <= index < size:
        raise ProofInvalid("the entry lies outside the tree")
    computed = leaf
    for sibling, on_left in _upwards(index, size - 1, proof):
        computed = node_hash(sibling, computed) if on_left else node_hash(computed, sibling)
    if computed != root:
        raise ProofInvalid("the proof does not lead from the entry to the root")


def verify_consistency(
    *, old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Check that the new tree only added to the old one (RFC 9162 section 2.1.4.2).

    Raises:
        ProofInvalid: it did more than that, or an argument has not the form it must have.
    """
    _check_hashes(old_root, new_root, *proof)
    if not 0 < old_size <= new_size:
        raise ProofInvalid("a consistency proof needs an old size between one and the new size")
    if old_size == new_size:
        if proof or old_root != new_root:
            raise ProofInvalid("two trees of one size have two roots")
        return
    path = list(proof)
    if old_size & (old_size - 1) == 0:
        path.insert(0, old_root)
    if not path:
        raise ProofInvalid("an empty proof proves nothing")
    position, last = old_size - 1, new_size - 1
    while position & 1:
        position >>= 1
        last >>= 1
    old_computed = new_computed = path[0]
    for sibling, on_left in _upwards(position, last, path[1:]):
        if on_left:
            old_computed = node_hash(sibling, old_computed)
            new_computed = node_hash(sibling, new_computed)
        else:
            new_computed = node_hash(new_computed, sibling)
    if old_computed != old_root or new_computed != new_root:
        raise ProofInvalid("the new tree does not continue the old one")


def _upwards(position: int, last: int, proof: Sequence[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Each sibling on the way from a node to the root, and whether it stands on the left.

    Args:
        position: of the node on its level.
        last: position of the last node on that level.
        proof: the siblings; exactly as many as the way is long.
    """
    for sibling in proof:
        if last == 0:
            raise ProofInvalid("the proof is longer than the tree is high")
        on_left = bool(position & 1) or position == last
        yield sibling, on_left
        # A last node without a sibling moves up unchanged until it has one on its left.
        while on_left and position and not position & 1:
            position >>= 1
            last >>= 1
        position >>= 1
        last >>= 1
    if last:
        raise ProofInvalid("the proof is shorter than the tree is high")


def _check_hashes(*hashes: bytes) -> None:
    if any(len(each) != HASH_BYTES for each in hashes):
        raise ProofInvalid("a hash of a proof is not 32 bytes long")
