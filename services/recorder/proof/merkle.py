"""The Merkle tree of RFC 6962, section 2.1 (the same as RFC 9162): growth, roots, and inclusion proofs. Pure.

A tree of n leaves is at any time a row of complete subtrees, one per bit of n, largest first; that row (`Frontier`) is
all one needs to go on. Hashes are SHA-256: of 0x00 and the entry for a leaf, of 0x01, left and right for a node.
"""

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Final, NamedTuple

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = sha256().digest()
#: Nodes of levels 8, 16, 24, … are kept beside the leaves: a proof then reads at most 256 hashes of each level.
STRIDE: Final = 8


class Node(NamedTuple):
    """A complete subtree of 2**level leaves: the `number`-th of its level, from 0."""

    level: int
    number: int
    hash: bytes


def leaf_hash(entry: bytes) -> bytes:
    """The hash of a leaf."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return sha256(b"\x01" + left + right).digest()


class Frontier:
    """A growing tree, as the roots of its complete subtrees."""

    def __init__(self) -> None:
        self.size = 0
        self._roots: list[bytes] = []

    def push(self, hash_: bytes, level: int = 0) -> list[Node]:
        """Append a leaf, or a complete subtree of 2**level leaves; answers the kept nodes that this completes.

        Raises ValueError where such a subtree cannot begin.
        """
        if self.size & ((1 << level) - 1):
            raise ValueError(f"a subtree of level {level} cannot begin at leaf {self.size}")
        grown = self.size + (1 << level)
        made = []
        while True:
            if level and level % STRIDE == 0:
                made.append(Node(level, (grown >> level) - 1, hash_))
            if not self.size >> level & 1:
                break
            hash_ = node_hash(self._roots.pop(), hash_)
            level += 1
        self._roots.append(hash_)
        self.size = grown
        return made

    def extend(self, leaves: Sequence[bytes]) -> list[Node]:
        """Append many leaf hashes; answers the kept nodes that are complete now."""
        made: list[Node] = []
        at, width = 0, 1 << STRIDE
        while at < len(leaves):
            if self.size % width == 0 and len(leaves) - at >= width:
                made += self.push(_root_of_complete(leaves[at : at + width]), STRIDE)
                at += width
            else:
                made += self.push(leaves[at])
                at += 1
        return made

    def root(self) -> bytes:
        """The head of the tree as it is."""
        if not self._roots:
            return EMPTY_ROOT
        *rest, root = self._roots
        for left in reversed(rest):
            root = node_hash(left, root)
        return root


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The head of a tree of these leaf hashes."""
    frontier = Frontier()
    frontier.extend(list(leaves))
    return frontier.root()


def _root_of_complete(hashes: Sequence[bytes]) -> bytes:
    """Of 2**k hashes: level by level, which is the quickest that Python does it."""
    row = list(hashes)
    while len(row) > 1:
        row = [sha256(b"\x01" + row[at] + row[at + 1]).digest() for at in range(0, len(row), 2)]
    return row[0]


class Range(NamedTuple):
    """Leaves `start` up to and without `end`, whose subtree is a step of a proof."""

    start: int
    end: int


def inclusion_path(index: int, size: int) -> list[Range]:
    """The subtrees whose hashes prove leaf `index` in a tree of `size`, from the leaf up (RFC 6962, section 2.1.1).

    Raises ValueError for a leaf that is not in the tree.
    """
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size}")
    path = []
    start, end = 0, size
    while end - start > 1:
        middle = start + (1 << (end - start - 1).bit_length() - 1)
        if index < middle:
            path.append(Range(middle, end))
            end = middle
        else:
            path.append(Range(start, middle))
            start = middle
    return path[::-1]


def parts(of: Range, size: int) -> Iterator[tuple[int, int, int]]:
    """Cut a range into runs of kept nodes and leaves: (level, first index, end index), to be pushed in this order.

    `size` is the tree's: nodes that are complete in it are kept. The range begins where a subtree of its size may.
    """
    at = of.start
    level = max((size.bit_length() // STRIDE) * STRIDE, 0)
    for height in range(level, -1, -STRIDE):
        first, end = at >> height, of.end >> height
        if at & ((1 << height) - 1) == 0 and end > first:
            yield height, first, end
            at = end << height


def root_from_inclusion(index: int, size: int, leaf: bytes, path: Sequence[bytes]) -> bytes:
    """The head that this proof leads to (RFC 9162, section 2.1.3.2). Raises ValueError when its length is wrong."""
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size}")
    node, last, root = index, size - 1, leaf
    for step in path:
        if last == 0:
            raise ValueError("the proof is too long")
        if node & 1 or node == last:
            root = node_hash(step, root)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            root = node_hash(root, step)
        node >>= 1
        last >>= 1
    if last:
        raise ValueError("the proof is too short")
    return root
