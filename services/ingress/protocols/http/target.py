"""The request target: which connector, which upstream path; or why it is refused (RFC 9112, section 3.2).

Only origin-form is taken. What a proxy and an upstream could read differently (dot segments, empty ones, encoded
slashes, dots and letters, backslashes, control characters) is refused rather than normalised, since policy judges the
path it sees.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import parse_qsl, unquote

#: Longest target; aiohttp's own line limit is a little above.
MAX_TARGET = 8000
#: Paths that need not be looked at again, for agents call the same few: at most 8 MB of them.
MAX_KNOWN_PATHS = 1024

_CONNECTOR = re.compile(r"^[a-z0-9][a-z0-9_-]{0,62}$")
#: Dots that stand for themselves or are percent-encoded once: `..`, `.%2e`, `%2E%2e`, …
_DOT_SEGMENT = re.compile(r"^(?:\.|%2e){1,2}(?:;.*)?$", re.IGNORECASE)
#: Encoded slash, backslash, NUL and line breaks, and anything that is not a printable ASCII character.
_AMBIGUOUS = re.compile(r"%(?:2f|5c|00|0a|0d)|[^\x21-\x7e]|[\\\"<>^`{|}]", re.IGNORECASE)
_UNENCODED = re.compile(r"[^\x21-\x7e]")
#: Letters, digits and `-._~` percent-encoded: the same address to an upstream, another one to a rule that reads it. No
#: client should write them so (RFC 3986, section 2.3).
_NEEDLESS = re.compile(r"%(?:2[de]|3[0-9]|[46][1-9a-f]|[57][0-9a]|5f|7e)", re.IGNORECASE)
_BAD_ESCAPE = re.compile(r"%(?![0-9a-fA-F]{2})")


class TargetRefused(Exception):
    """The target is malformed or ambiguous; the message says which."""


@dataclass(frozen=True)
class Target:
    """`/<connector>/<path>?<query>`, taken apart but not decoded: `path` starts with a slash, as it is sent on."""

    connector: str
    path: str
    query: str

    @property
    def path_and_query(self) -> str:
        """What follows the upstream's base address."""
        return f"{self.path}?{self.query}" if self.query else self.path

    def parameters(self) -> dict[str, str]:
        """Decoded query parameters; of a repeated name, all values joined by a comma."""
        found: dict[str, str] = {}
        if not self.query:
            return found
        for name, value in parse_qsl(self.query, keep_blank_values=True, max_num_fields=200):
            found[name] = f"{found[name]},{value}" if name in found else value
        return found


def parse(raw: str) -> Target:
    """Take a raw target apart. Raises TargetRefused."""
    if len(raw) > MAX_TARGET:
        raise TargetRefused("the request target is too long")
    if not raw.startswith("/") or raw.startswith("//"):
        raise TargetRefused("only origin-form targets are served: /<connector>/<path>")
    path, _, query = raw.partition("?")
    if "#" in raw:
        raise TargetRefused("a request target has no fragment")
    if query and (_BAD_ESCAPE.search(query) or _UNENCODED.search(query)):
        raise TargetRefused("the query holds a malformed escape or a raw character that must be encoded")
    connector, rest = _split(path)
    try:
        parsed = Target(connector, rest, query)
        parsed.parameters()
    except ValueError:
        raise TargetRefused("the query has too many parameters") from None
    return parsed


@lru_cache(MAX_KNOWN_PATHS)
def _split(path: str) -> tuple[str, str]:
    """The connector's name, and the path at the upstream."""
    _check_path(path)
    name, slash, rest = path[1:].partition("/")
    if not _CONNECTOR.match(name):
        raise TargetRefused("the first path segment is no connector's name")
    return name, f"/{rest}" if slash else "/"


def _check_path(path: str) -> None:
    if _BAD_ESCAPE.search(path) or _AMBIGUOUS.search(path):
        raise TargetRefused("the path holds a character or escape that an upstream could read differently")
    if "%" in path and _NEEDLESS.search(path):
        raise TargetRefused("the path holds a letter, digit or one of -._~ percent-encoded, which is not to be encoded")
    if "//" in path:
        raise TargetRefused("the path holds an empty segment, which upstreams read differently")
    if any(_DOT_SEGMENT.match(segment) for segment in path.split("/")):
        raise TargetRefused("the path holds a dot segment")
    if _DOT_SEGMENT.match(unquote(path.rsplit("/", 1)[-1])):
        raise TargetRefused("the path holds a doubly encoded dot segment")
