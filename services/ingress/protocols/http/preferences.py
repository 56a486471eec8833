"""How an HTTP caller wants to learn of a hold: `Prefer: respond-async, wait=10` (RFC 7240). Pure.

    wait=N                  the request waits so long, at most `approvals.wait`; then 403, and the question stays open
    respond-async           202 at once, with where to look
    respond-async, wait=N   202 unless people decide within N seconds (section 4.3)

What is not understood is ignored, and of a preference that is there twice the first counts (section 2).
"""

from collections.abc import Iterable
from dataclasses import dataclass


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
    for preference in ",".join(fields).split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        found.setdefault(name.strip().lower(), value.strip().strip('"'))
    wait = found.get("wait", "")
    return Preferences("respond-async" in found, int(wait) if wait.isdecimal() and len(wait) < 7 else None)
