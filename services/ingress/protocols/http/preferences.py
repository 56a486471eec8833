"""How an HTTP caller wants to learn of a hold: `Prefer: respond-async, wait=10` (RFC 7240). Pure.

    wait=N                  the request waits so long, at most `approvals.wait`; then 403, and the question stays open
    respond-async           202 at once, with where to look
    respond-async, wait=N   202 unless people decide within N seconds (section 4.3)

What is not understood is for the upstream, and of a preference that is there twice the first counts (section 2).
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

#: One preference with its parameters; a comma within quotes is part of it.
_PREFERENCE = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*")+')
#: What is asked of the gateway.
_OURS = frozenset({"respond-async", "wait"})


@dataclass(frozen=True)
class Preferences:
    """What the caller prefers; `wait` in seconds, None when it did not say."""

    respond_async: bool = False
    wait: int | None = None

    def patience(self, most: float) -> float:
        """Seconds that the request waits for people, within what the settings allow."""
        if self.wait is None:
            return 0.0 if self.respond_async else most
        return min(float(self.wait), most)

    def applied(self, waited: float) -> str:
        """The `Preference-Applied` field (section 3); empty when nothing was preferred."""
        names = ["respond-async"] if self.respond_async else []
        return ", ".join([*names, f"wait={waited:g}"] if self.wait is not None else names)


def parse(fields: Iterable[str]) -> Preferences:
    """Read the `Prefer` fields."""
    found: dict[str, str] = {}
    for _, name, value in _split(fields):
        found.setdefault(name, value)
    wait = found.get("wait", "")
    return Preferences("respond-async" in found, int(wait) if wait.isdecimal() and len(wait) < 7 else None)


def for_upstream(fields: Iterable[str]) -> str:
    """The `Prefer` field without what was asked of the gateway; empty when nothing is left."""
    return ", ".join(whole for whole, name, _ in _split(fields) if name not in _OURS)


def _split(fields: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Each preference: as it was sent, its name in lower case, its value without quotes."""
    for found in _PREFERENCE.finditer(",".join(fields)):
        name, _, value = found[0].partition(";")[0].partition("=")
        if name.strip():
            yield found[0].strip(), name.strip().lower(), value.strip().strip('"')
