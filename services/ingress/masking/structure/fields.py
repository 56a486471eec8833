"""What `mask.fields` names in JSON, masked by its path, whole or as it streams by.

    string                   the label, hash, token … of its value, as a string
    number, true, false      null, for a reader that expects a number takes null rather than a word
    object, array            null
    null                     null

The reader is strict: a rule about a field cannot be kept in what is not JSON, and so that is refused (G1). Several
documents may follow one another, as lines or not. What a path does not name passes byte by byte.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from services.ingress.masking.errors import MaskingError
from services.ingress.masking.replace import Replacer
from services.ingress.masking.scanner import Match
from services.ingress.masking.structure.limits import DEPTH_LIMIT, FIELD_VALUE_LIMIT, KEY_LIMIT, WORD_LIMIT
from services.ingress.masking.structure.paths import Paths, States

#: The name under which a masked field is counted and labelled.
FIELD = "FIELD"

_SPACE = re.compile(rb"[ \t\r\n]*")
_STRING_PART = re.compile(rb'[^"\\]*')
_WORD = re.compile(rb"[^\s,:\[\]{}\"]+")
_VALUE = re.compile(rb"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null|NaN|-?Infinity")


@dataclass
class _Level:
    """An object or a list that is open."""

    closing: bytes
    states: States
    #: A list's members so far.
    position: int = 0


class FieldMasker:
    """Masks fields in parts. After an error nothing more may be forwarded.

    The grammar is one method per place in it; each takes what it can and says whether to go on.
    """

    def __init__(self, paths: Iterable[str], replacer: Replacer) -> None:
        self.counts: dict[str, int] = {}
        self._paths = Paths(paths)
        self._replacer = replacer
        self._levels: list[_Level] = []
        self._raw = b""
        self._at = 0
        self._out: list[bytes] = []
        self._place: Callable[[], bool] = self._value
        self._string = b""  # of a string that is being read, when it is kept
        self._kept = False  # whether it still fits
        self._key: str | int = ""
        self._named = False  # whether the value that comes is named by a path
        self._states: States = self._paths.start
        self._silent = 0  # the depth below which nothing is passed on; 0 for none

    @property
    def held(self) -> int:
        """How many bytes are held back."""
        return len(self._raw)

    def feed(self, data: bytes) -> bytes:
        """As much of the masked document as is certain. Raises MaskingError when it is not JSON."""
        self._raw += data
        while self._at < len(self._raw) and self._place():
            pass
        self._raw, self._at = self._raw[self._at :], 0
        if len(self._raw) > KEY_LIMIT:
            raise MaskingError("a number or key of the JSON content is too long")
        out, self._out = b"".join(self._out), []
        return out

    def close(self) -> bytes:
        """The rest of it. Raises MaskingError when it is cut off."""
        rest = self.feed(b"\n")
        if self._levels or self._raw or self._place not in (self._value, self._after):
            raise MaskingError("the JSON content is cut off")
        return rest.removesuffix(b"\n")

    # --- where in the grammar we are; False when more bytes are needed ---

    def _value(self) -> bool:
        """Before a value."""
        self._space()
        first = self._raw[self._at : self._at + 1]
        if first in (b"{", b"["):
            return self._open(first)
        if first == b'"':
            return self._begin_string(self._value_string)
        if first == b"]" and self._levels and self._levels[-1].closing == b"]" and not self._levels[-1].position:
            return self._close()
        return self._word() if first else False

    def _open(self, bracket: bytes) -> bool:
        if len(self._levels) >= DEPTH_LIMIT:
            raise MaskingError("the JSON content is nested too deeply")
        if self._named and not self._silent:
            self._put(b"null")
            self._count()
            self._silent = len(self._levels) + 1
        self._levels.append(_Level(b"}" if bracket == b"{" else b"]", self._states))
        self._pass(1)
        if bracket == b"[":
            self._enter(0)
            self._place = self._value
        else:
            self._place = self._key_or_end
        return True

    def _enter(self, name: str | int) -> None:
        self._states, self._named = self._paths.step(self._levels[-1].states, name)

    def _key_or_end(self) -> bool:
        self._space()
        if self._raw[self._at : self._at + 1] == b"}":
            return self._close()
        return self._key_start()

    def _key_start(self) -> bool:
        self._space()
        first = self._raw[self._at : self._at + 1]
        if not first:
            return False
        if first != b'"':
            raise _not_json()
        end = _string_end(self._raw, self._at + 1)
        if end < 0:
            return False
        self._enter(_decoded(self._raw[self._at + 1 : end]))
        self._pass(end + 1 - self._at)
        self._place = self._colon
        return True

    def _colon(self) -> bool:
        self._space()
        first = self._raw[self._at : self._at + 1]
        if first and first != b":":
            raise _not_json()
        self._pass(len(first))
        if first:
            self._place = self._value
        return bool(first)

    def _after(self) -> bool:
        """After a value."""
        self._space()
        first = self._raw[self._at : self._at + 1]
        if not first:
            return False
        if not self._levels:
            self._states, self._named = self._paths.start, False
            self._place = self._value
            return True
        level = self._levels[-1]
        if first == level.closing:
            return self._close()
        if first != b",":
            raise _not_json()
        self._pass(1)
        if level.closing == b"]":
            level.position += 1
            self._enter(level.position)
            self._place = self._value
        else:
            self._place = self._key_start
        return True

    def _close(self) -> bool:
        self._pass(1)
        self._levels.pop()
        if self._silent and len(self._levels) < self._silent:
            self._silent = 0
        self._place = self._after
        return True

    def _word(self) -> bool:
        """A number or a literal: taken when what follows it has come."""
        match = _WORD.match(self._raw, self._at)
        if match is None or match.end() - match.start() > WORD_LIMIT:
            raise _not_json()
        if match.end() == len(self._raw):
            return False
        if not _VALUE.fullmatch(match[0]):
            raise _not_json()
        if self._named and not self._silent:
            self._put(b"null")
            if match[0] != b"null":
                self._count()
            self._at = match.end()
        else:
            self._pass(len(match[0]))
        self._place = self._after
        return True

    def _begin_string(self, place: Callable[[], bool]) -> bool:
        if self._named and not self._silent:
            self._string, self._kept, self._at = b"", True, self._at + 1
        else:
            self._kept = False
            self._pass(1)
        self._place = place
        return True

    def _value_string(self) -> bool:
        """Inside a string value."""
        named = self._named and not self._silent
        end = self._string_part_end()
        part = self._raw[self._at : end]
        if named:
            self._keep(part)
            self._at = end
        else:
            self._pass(len(part))
        if end < len(self._raw) and self._raw[end] == 0x22:
            if named:
                self._at += 1
                self._put(self._replacement())
            else:
                self._pass(1)
            self._place = self._after
            return True
        return bool(part)

    def _string_part_end(self) -> int:
        """Up to the closing quote, or all whole escapes that have come."""
        at = self._at
        while True:
            match = _STRING_PART.match(self._raw, at)
            at = match.end() if match else at
            if at >= len(self._raw) - 1 or self._raw[at] == 0x22:
                return at
            at += 2

    def _keep(self, part: bytes) -> None:
        self._kept = self._kept and len(self._string) + len(part) <= FIELD_VALUE_LIMIT
        self._string = self._string + part if self._kept else b""

    def _replacement(self) -> bytes:
        self._count()
        if not self._kept:
            return b'"[%s]"' % FIELD.encode()
        value = _decoded(self._string)
        return json.dumps(self._replacer.replace(Match(0, len(value), FIELD, value))).encode("ascii")

    def _count(self) -> None:
        self.counts[FIELD] = self.counts.get(FIELD, 0) + 1

    def _space(self) -> None:
        match = _SPACE.match(self._raw, self._at)
        self._pass((match.end() if match else self._at) - self._at)

    def _pass(self, count: int) -> None:
        """Pass bytes on, unless they are inside a masked value."""
        if not self._silent:
            self._out.append(self._raw[self._at : self._at + count])
        self._at += count

    def _put(self, data: bytes) -> None:
        self._out.append(data)


def _string_end(raw: bytes, at: int) -> int:
    """Where the closing quote stands; -1 when it has not come."""
    while True:
        match = _STRING_PART.match(raw, at)
        at = match.end() if match else at
        if at >= len(raw):
            return -1
        if raw[at] == 0x22:
            return at
        at += 2


def _decoded(raw: bytes) -> str:
    try:
        return str(json.loads(b'"' + raw + b'"', strict=False))
    except ValueError:
        raise _not_json() from None


def _not_json() -> MaskingError:
    return MaskingError("the content is not JSON, so its fields cannot be masked")
