"""The leaves against the checkpoints: in one walk over the leaves that are there, every root and every kept node.

Checkpoints come in the order of their sizes, so the tree grows from one to the next in memory; ClickHouse is asked once
for each window of leaves.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from countersign.proof.checkpoints import Known
from countersign.proof.findings import Finding, LogReport, Report
from countersign.proof.windows import Window, windows
from countersign.record import Record, rows
from services.recorder.proof.merkle import HASH_BYTES, Frontier, Node

#: Leaves fetched at a time: 16 MiB.
LEAVES: Final = 500_000

_COUNTED: Final = """
SELECT intDiv(leaf, {width:UInt64}) AS place, count() AS n FROM leaves WHERE stream = {stream:String}
GROUP BY place ORDER BY place
"""
_DOUBTFUL: Final = """
SELECT leaf, min(stream_seq) AS seq FROM leaves
WHERE stream = {stream:String} AND leaf >= {first:UInt64} AND leaf < {end:UInt64}
GROUP BY leaf HAVING uniqExact(epoch, stream_seq, kind, hash) > 1 ORDER BY leaf LIMIT 50
"""
_DISORDERED: Final = """
SELECT leaf, stream_seq FROM (
    SELECT leaf, stream_seq, (epoch, stream_seq, kind) AS here,
           lagInFrame(here) OVER (ORDER BY leaf ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS before
    FROM (SELECT DISTINCT leaf, epoch, stream_seq, kind FROM leaves WHERE stream = {stream:String}
          AND leaf >= {before:UInt64} AND leaf < {end:UInt64})
) WHERE here <= before AND leaf > {before:UInt64} ORDER BY leaf LIMIT 50
"""
_HASHES: Final = """
SELECT any(hash) FROM leaves WHERE stream = {stream:String} AND leaf >= {first:UInt64} AND leaf < {end:UInt64}
GROUP BY leaf ORDER BY leaf
"""
_LAST: Final = """
SELECT max(leaf) AS last FROM leaves
WHERE stream = {stream:String} AND leaf >= {first:UInt64} AND leaf < {end:UInt64}
"""
_NODES: Final = """
SELECT DISTINCT node, lower(hex(hash)) AS hash FROM tree_nodes
WHERE stream = {stream:String} AND level = {level:UInt8} AND node >= {first:UInt64} AND node < {end:UInt64}
"""


class Walk:
    """From the first leaf to the last, comparing with what is known on the way."""

    def __init__(self, record: Record, log: LogReport, known: Iterator[Known], report: Report) -> None:
        """`known` rises in size; all of it is taken."""
        self._record = record
        self._log = log
        self._known = known
        self._next = next(known, None)
        self._report = report
        self._frontier = Frontier()
        self._good = 0

    def go(self) -> None:
        """Check all. Raises CommandError."""
        whole = True
        for window in list(self._windows()):
            self._look(window)
            if whole:
                whole = self._compare(window)
        if not whole:
            for _ in self._rest():  # they are counted, and their signatures checked, all the same
                pass
            return
        for one in self._rest():
            detail = f"{one.place} covers {one.size}, {self._log.leaves} are there"
            self._report.add(Finding("truncated", "leaves", detail))

    def _windows(self) -> Iterator[Window]:
        counted = rows(self._record, _COUNTED, {"stream": self._log.stream, "width": str(LEAVES)})
        return windows(((int(row["place"]), int(row["n"])) for row in counted), LEAVES, LEAVES)

    def _rest(self) -> Iterator[Known]:
        while self._next is not None:
            yield self._next
            self._next = next(self._known, None)

    def _look(self, window: Window) -> None:
        """Leaves that contradict each other."""
        where = self._where(window) | {"before": str(max(window.first - 1, 0))}
        for row in rows(self._record, _DOUBTFUL, where):
            detail = f"leaf {row['leaf']} is there twice, differently"
            self._report.add(Finding("tree", "leaves", detail, int(row["seq"])))
        for row in rows(self._record, _DISORDERED, where):
            detail = f"leaf {row['leaf']} is out of order"
            self._report.add(Finding("tree", "leaves", detail, int(row["stream_seq"])))

    def _compare(self, window: Window) -> bool:
        """False where leaves are missing: no root can be made from there on."""
        hashes = b"".join(self._record.ask(_HASHES, "RowBinary", self._where(window)))
        count = len(hashes) // HASH_BYTES
        (row,) = rows(self._record, _LAST, self._where(window))
        self._log.leaves = int(row["last"]) + 1
        start = self._frontier.size
        if missing := self._log.leaves - start - count:
            detail = f"{missing} leaves are missing from leaf {start} up to {self._log.leaves - 1}"
            self._report.add(Finding("tree", "leaves", detail))
            return False
        nodes: list[Node] = []
        while self._next is not None and self._next.size <= self._log.leaves:
            nodes += self._grow(hashes, start, self._next.size)
            self._check_root(self._next)
            self._next = next(self._known, None)
        if self._next is not None:
            nodes += self._grow(hashes, start, self._log.leaves)
        self._check_nodes(nodes)
        return True

    def _grow(self, hashes: bytes, start: int, size: int) -> list[Node]:
        first, end = (self._frontier.size - start) * HASH_BYTES, (size - start) * HASH_BYTES
        return self._frontier.extend([hashes[at : at + HASH_BYTES] for at in range(first, end, HASH_BYTES)])

    def _check_root(self, one: Known) -> None:
        if self._frontier.root() != one.checkpoint.root:
            detail = f"{one.place} has another root: a leaf from {self._good} up to {one.size - 1} was changed"
            self._report.add(Finding("tree", "leaves", detail))
        self._good = one.size

    def _check_nodes(self, nodes: list[Node]) -> None:
        """Proofs are read from the kept nodes: they are those of the leaves, all of them, and no others beside them."""
        levels: dict[int, dict[int, str]] = defaultdict(dict)
        for node in nodes:
            levels[node.level][node.number] = node.hash.hex()
        for level, made in levels.items():
            first, end = min(made), max(made) + 1
            where = {"stream": self._log.stream, "level": str(level), "first": str(first), "end": str(end)}
            there: dict[int, set[str]] = defaultdict(set)
            for row in rows(self._record, _NODES, where):
                there[int(row["node"])].add(row["hash"])
            for number, hash_ in made.items():
                if there[number] != {hash_}:
                    wrong = "is not that of its leaves" if there[number] else "is missing"
                    self._report.add(Finding("tree", "tree_nodes", f"node {number} of level {level} {wrong}"))

    def _where(self, window: Window) -> dict[str, str]:
        return {"stream": self._log.stream, "first": str(window.first), "end": str(window.end)}
