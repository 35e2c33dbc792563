"""The tree against published vectors and against its own definition, written down a second time and naively."""

import json
from base64 import b64decode
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.audit.merkle import (
    EMPTY_ROOT,
    CompactTree,
    ProofCollector,
    ProofInvalid,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from tests.support import vectors


def naive_root(leaves: list[bytes]) -> bytes:
    """RFC 9162 section 2.1.1, as it is written there."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha256(b"\x01" + naive_root(leaves[:split]) + naive_root(leaves[split:])).digest()


def leaves_of(count: int) -> list[bytes]:
    return [leaf_hash(f"entry {index}".encode()) for index in range(count)]


def holds(**arguments: object) -> bool:
    try:
        verify_inclusion(**arguments)  # type: ignore[arg-type]
    except ProofInvalid:
        return False
    return True


def continues(**arguments: object) -> bool:
    try:
        verify_consistency(**arguments)  # type: ignore[arg-type]
    except ProofInvalid:
        return False
    return True


def published() -> list[Path]:
    try:
        return sorted((vectors() / "merkle" / "inclusion").rglob("*.json"))
    except (pytest.skip.Exception, pytest.fail.Exception):
        return []


@pytest.mark.vectors
def test_published_vectors_are_there() -> None:
    assert len(list((vectors() / "merkle" / "inclusion").rglob("*.json"))) >= 90


@pytest.mark.vectors
@pytest.mark.parametrize("path", published(), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_published_inclusion_vector(path: Path) -> None:
    case = json.loads(path.read_text())
    accepted = holds(
        leaf=b64decode(case["leafHash"]),
        index=case["leafIdx"],
        size=case["treeSize"],
        proof=[b64decode(each) for each in case["proof"] or ()],
        root=b64decode(case["root"]),
    )
    assert accepted is not case["wantErr"], case["desc"]


def test_the_empty_tree_has_the_published_root() -> None:
    assert CompactTree().root() == EMPTY_ROOT == root_of([])
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_leaf_never_passes_for_a_node() -> None:
    left, right = leaves_of(2)
    assert leaf_hash(left + right) != node_hash(left, right)


@given(st.integers(0, 70))
def test_growing_gives_the_root_of_the_definition(count: int) -> None:
    leaves = leaves_of(count)
    assert root_of(leaves) == naive_root(leaves)


@given(st.integers(1, 70), st.data())
def test_every_inclusion_proof_holds_for_its_entry_and_no_other(count: int, data: st.DataObject) -> None:
    leaves = leaves_of(count)
    index = data.draw(st.integers(0, count - 1))
    proof, root = inclusion_proof(leaves, index), root_of(leaves)
    assert holds(leaf=leaves[index], index=index, size=count, proof=proof, root=root)
    assert not holds(leaf=leaf_hash(b"another"), index=index, size=count, proof=proof, root=root)
    other = data.draw(st.integers(0, count + 1))
    if other != index:
        assert not holds(leaf=leaves[index], index=other, size=count, proof=proof, root=root)


@given(st.integers(1, 40), st.data())
def test_one_changed_bit_of_a_proof_is_refused(count: int, data: st.DataObject) -> None:
    leaves = leaves_of(count)
    index = data.draw(st.integers(0, count - 1))
    proof = list(inclusion_proof(leaves, index))
    if not proof:
        return
    place, bit = data.draw(st.integers(0, len(proof) - 1)), data.draw(st.integers(0, 255))
    changed = bytearray(proof[place])
    changed[bit // 8] ^= 1 << bit % 8
    proof[place] = bytes(changed)
    assert not holds(leaf=leaves[index], index=index, size=count, proof=proof, root=root_of(leaves))


@given(st.integers(1, 60), st.data())
def test_consistency_holds_for_growth_and_not_for_a_rewritten_past(count: int, data: st.DataObject) -> None:
    leaves = leaves_of(count)
    old = data.draw(st.integers(1, count))
    proof = consistency_proof(leaves, old)
    given_roots = {"old_size": old, "new_size": count, "new_root": root_of(leaves), "proof": proof}
    assert continues(old_root=root_of(leaves[:old]), **given_roots)
    assert not continues(old_root=root_of([*leaves[: old - 1], leaf_hash(b"rewritten")]), **given_roots)
    assert not continues(old_root=root_of(leaves[:old]), **given_roots | {"proof": (*proof, EMPTY_ROOT)})
    if proof:
        assert not continues(old_root=root_of(leaves[:old]), **given_roots | {"proof": proof[:-1]})


@given(st.integers(0, 60), st.integers(0, 60))
def test_a_tree_continues_from_its_frontier(before: int, after: int) -> None:
    leaves = leaves_of(before + after)
    tree = CompactTree()
    for leaf in leaves[:before]:
        tree.append(leaf)
    resumed = CompactTree.from_frontier(tree.size, tree.frontier)
    for leaf in leaves[before:]:
        resumed.append(leaf)
    assert (resumed.size, resumed.root()) == (len(leaves), root_of(leaves))


@pytest.mark.parametrize(
    ("size", "frontier"), [(1, ()), (3, (EMPTY_ROOT,)), (1, (b"short",)), (-1, ()), (0, (EMPTY_ROOT,))]
)
def test_a_frontier_of_another_size_is_refused(size: int, frontier: tuple[bytes, ...]) -> None:
    with pytest.raises(ProofInvalid):
        CompactTree.from_frontier(size, frontier)


@given(st.integers(1, 60), st.sets(st.integers(0, 70)))
def test_proofs_collected_in_one_pass_all_hold(count: int, wanted: set[int]) -> None:
    leaves = leaves_of(count)
    collector = ProofCollector(wanted)
    for leaf in leaves:
        collector.append(leaf)
    root, proofs = collector.finish()
    assert root == root_of(leaves)
    assert set(proofs) == {index for index in wanted if index < count}
    for index, proof in proofs.items():
        assert holds(leaf=leaves[index], index=index, size=count, proof=proof, root=root)


@pytest.mark.parametrize("index", [-1, 5, 6])
def test_no_proof_for_an_entry_outside_the_tree(index: int) -> None:
    with pytest.raises(ProofInvalid):
        inclusion_proof(leaves_of(5), index)


@pytest.mark.parametrize("old_size", [0, 6])
def test_no_consistency_proof_from_nothing_or_from_the_future(old_size: int) -> None:
    with pytest.raises(ProofInvalid):
        consistency_proof(leaves_of(5), old_size)
    assert not continues(old_size=old_size, old_root=EMPTY_ROOT, new_size=5, new_root=root_of(leaves_of(5)), proof=())


def test_one_size_with_two_roots_is_refused() -> None:
    root = root_of(leaves_of(4))
    assert continues(old_size=4, old_root=root, new_size=4, new_root=root, proof=())
    assert not continues(old_size=4, old_root=root, new_size=4, new_root=EMPTY_ROOT, proof=())
