"""The tree against RFC 6962's definition, written out, and against its published vectors."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.recorder.proof.merkle import (
    EMPTY_ROOT,
    Frontier,
    Node,
    Range,
    inclusion_path,
    leaf_hash,
    node_hash,
    parts,
    root_from_inclusion,
    root_of,
)

#: The entries of Certificate Transparency's reference tests, and the roots of the trees of the first 1, 2, … of them.
ENTRIES = (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
)  # fmt: skip
ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)


def naive(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, word for word."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(naive(leaves[:split]), naive(leaves[split:]))


def some(count: int) -> list[bytes]:
    return [leaf_hash(str(number).encode()) for number in range(count)]


def test_the_published_vectors() -> None:
    leaves = [leaf_hash(bytes.fromhex(entry)) for entry in ENTRIES]
    assert [root_of(leaves[: size + 1]).hex() for size in range(len(leaves))] == list(ROOTS)
    assert root_of([]) == EMPTY_ROOT


@given(sizes=st.lists(st.integers(0, 700), min_size=1, max_size=4))
def test_a_tree_that_grows_in_steps_is_the_tree(sizes: list[int]) -> None:
    leaves = some(sum(sizes))
    frontier, at, kept = Frontier(), 0, []
    for size in sizes:
        kept += frontier.extend(leaves[at : at + size])
        at += size
        assert frontier.size == at
        assert frontier.root() == naive(leaves[:at])
    assert kept == [
        Node(8, index, naive(leaves[256 * index : 256 * (index + 1)])) for index in range(len(leaves) // 256)
    ]


@given(size=st.integers(1, 600), data=st.data())
def test_a_proof_leads_to_the_root_and_nothing_else_does(size: int, data: st.DataObject) -> None:
    leaves = some(size)
    index = data.draw(st.integers(0, size - 1))
    path = [naive(leaves[start:end]) for start, end in inclusion_path(index, size)]
    root = naive(leaves)
    assert root_from_inclusion(index, size, leaves[index], path) == root
    assert root_from_inclusion(index, size, leaf_hash(b"other"), path) != root
    if path:
        at = data.draw(st.integers(0, len(path) - 1))
        assert root_from_inclusion(index, size, leaves[index], [*path[:at], b"x" * 32, *path[at + 1 :]]) != root
        with pytest.raises(ValueError, match="short"):
            root_from_inclusion(index, size, leaves[index], path[:-1])
    with pytest.raises(ValueError, match="long"):
        root_from_inclusion(index, size, leaves[index], [*path, b"x" * 32])


@given(size=st.integers(1, 200_000), data=st.data())
def test_a_step_of_a_proof_is_made_of_kept_nodes(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    for step in inclusion_path(index, size):
        at, read = step.start, 0
        for level, first, end in parts(step, size):
            assert first << level == at
            assert level == 0 or end << level <= size
            at, read = end << level, read + end - first
        assert at == step.end
        assert read <= 3 * 256


def test_the_parts_of_a_range_give_its_hash() -> None:
    leaves = some(1500)
    frontier = Frontier()
    nodes = {(node.level, node.number): node.hash for node in frontier.extend(leaves)}
    nodes |= {(0, index): leaf for index, leaf in enumerate(leaves)}
    for step in (Range(0, 1024), Range(1024, 1500), Range(512, 1024), Range(1280, 1500), Range(1499, 1500)):
        piece = Frontier()
        for level, first, end in parts(step, 1500):
            for index in range(first, end):
                piece.push(nodes[level, index], level)
        assert piece.root() == naive(leaves[step.start : step.end])


def test_a_leaf_outside_has_no_proof() -> None:
    for index, size in ((0, 0), (3, 3), (-1, 2)):
        with pytest.raises(ValueError, match="not in a tree"):
            inclusion_path(index, size)
