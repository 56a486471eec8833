"""Which values of a JSON document `mask.fields` names.

    $.customer.ssn    $.items[*].card    $.items[0].card    $..ssn    $['first name']

A small part of JSONPath (RFC 9535): members, list members by number or all of them, `*`, and `..` for any depth.
A set of paths is followed step by step while a document streams by; `States` are the steps taken so far.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from services.ingress.masking.errors import MaskingConfigError

_STEP = re.compile(
    r"(?P<deep>\.\.)?(?:"
    r"(?<=\.)(?P<name>[^\s.\[\]'\"*]+)|(?<=\.)(?P<any>\*)|\.(?P<member>[^\s.\[\]'\"*]+)|\.(?P<all>\*)"
    r"|\[(?:(?P<index>\d+)|(?P<star>\*)|'(?P<single>[^'\]]+)'|\"(?P<double>[^\"\]]+)\")\])"
)


class Step(NamedTuple):
    """One step: a member's name, a list member's number, or None for any; `deep` at any depth."""

    wanted: str | int | None
    deep: bool


Path = tuple[Step, ...]
#: (which path, how many of its steps have been taken).
States = frozenset[tuple[int, int]]


def parse(path: str) -> Path:
    """Raises MaskingConfigError when it is not a path as described above."""
    if not path.startswith("$") or len(path) < 2:
        raise MaskingConfigError(f"{path!r}: a field is written like $.customer.ssn")
    steps: list[Step] = []
    at = 1
    while at < len(path):
        match = _STEP.match(path, at)
        if match is None:
            raise MaskingConfigError(f"{path!r}: not a path at character {at + 1}")
        named = match["name"] or match["member"] or match["single"] or match["double"]
        wanted = named if named is not None else int(match["index"]) if match["index"] else None
        steps.append(Step(wanted, match["deep"] is not None))
        at = match.end()
    return tuple(steps)


class Paths:
    """A set of paths to follow."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = [parse(path) for path in paths]

    @property
    def start(self) -> States:
        """At the document's root."""
        return frozenset((number, 0) for number in range(len(self._paths)))

    def step(self, states: States, name: str | int) -> tuple[States, bool]:
        """Into the member `name`: the steps taken there, and whether a path ends there."""
        found: set[tuple[int, int]] = set()
        ended = False
        for number, taken in states:
            path = self._paths[number]
            step = path[taken]
            if step.deep:
                found.add((number, taken))
            if _matches(step.wanted, name):
                if taken + 1 == len(path):
                    ended = True
                else:
                    found.add((number, taken + 1))
        return frozenset(found), ended


def _matches(wanted: str | int | None, name: str | int) -> bool:
    return wanted is None or (wanted == name and isinstance(wanted, str) is isinstance(name, str))
