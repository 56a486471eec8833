"""Text of strangers as people may read it: nothing in it is invisible, and nothing in it reorders what stands beside.

Unicode has characters that nobody sees and characters that change the order of others (UAX #9, UTS #39). Each is
shown by its number, so that the approver sees what will run. Markup is another matter, and each channel's own.
Pure.
"""

import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass

#: Control, format, surrogate, private use, unassigned; line and paragraph separators.
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
#: Default_Ignorable_Code_Point (UAX #44) outside those categories, and letters and symbols that have no ink.
_HIDDEN = frozenset(
    chr(code)
    for first, last in (
        (0x034F, 0x034F),
        (0x115F, 0x1160),
        (0x17B4, 0x17B5),
        (0x180B, 0x180F),
        (0x2800, 0x2800),
        (0x3164, 0x3164),
        (0xFE00, 0xFE0F),
        (0xFFA0, 0xFFA0),
        (0xE0100, 0xE01EF),
    )
    for code in range(first, last + 1)
)
#: Marks that stack on one letter; real text needs few, and a pile of them covers the lines around it.
MAX_MARKS = 4


def visible(character: str, *, multiline: bool) -> str:
    """One character as it may stand on a page."""
    if character in "\n\t":
        return character if multiline else {"\n": "⏎", "\t": "⇥"}[character]
    if " " <= character <= "~":
        return character
    if character < " " or character == "\x7f":
        return "␡" if character == "\x7f" else chr(0x2400 + ord(character))  # Control Pictures
    category = unicodedata.category(character)
    if category in _HIDDEN_CATEGORIES or category == "Zs" or character in _HIDDEN:
        return f"⟨U+{ord(character):04X}⟩"
    return character


def pieces(text: str, *, multiline: bool) -> list[str]:
    """Each character as it may stand on a page; marks piled up on one letter are shown by their numbers."""
    if text.isascii() and text.isprintable():
        return list(text)
    shown, marks = [], 0
    for character in text:
        if " " <= character <= "~":
            shown.append(character)
            marks = 0
            continue
        marks = marks + 1 if unicodedata.combining(character) else 0
        piled = marks > MAX_MARKS
        shown.append(f"⟨U+{ord(character):04X}⟩" if piled else visible(character, multiline=multiline))
    return shown


def line(text: str, limit: int = 300) -> str:
    """Text on one line; longer than `limit` it is cut in the middle, with a mark."""
    shown = Excerpt.of(text, limit, multiline=False)
    return shown.head if shown.whole else f"{shown.head}…{shown.left_out} more…{shown.tail}"


def names(several: Iterable[str], limit: int = 300) -> str:
    """`dba, oncall`, or a dash."""
    return line(", ".join(several), limit) or "–"


@dataclass(frozen=True)
class Excerpt:
    """As much of a text as fits: all of it, or its head and its tail with how many characters are left out between."""

    head: str
    left_out: int = 0
    tail: str = ""

    @property
    def whole(self) -> bool:
        """Whether nothing is left out."""
        return not self.left_out

    @classmethod
    def of(cls, text: str, limit: int, *, multiline: bool = True, length: Callable[[str], int] = len) -> "Excerpt":
        """The excerpt of at most `limit` in `length`, which measures one shown character."""
        if len(text) > limit:  # nothing is shown shorter than it is: what lies between need not be looked at
            start = pieces(text[:limit], multiline=multiline)
            end = pieces(text[-limit:], multiline=multiline)
            first, last = _fitting(start, limit // 2, length), _fitting(reversed(end), limit - limit // 2, length)
            return cls("".join(start[:first]), len(text) - first - last, "".join(end[len(end) - last :]))
        shown = pieces(text, multiline=multiline)
        if sum(map(length, shown)) <= limit:
            return cls("".join(shown))
        head = _fitting(shown, limit // 2, length)
        tail = _fitting(reversed(shown[head:]), limit - limit // 2, length)
        return cls("".join(shown[:head]), len(shown) - head - tail, "".join(shown[len(shown) - tail :]))


def _fitting(shown: Iterable[str], limit: int, length: Callable[[str], int]) -> int:
    """How many pieces fit into `limit`."""
    count = 0
    for piece in shown:
        limit -= length(piece)
        if limit < 0:
            return count
        count += 1
    return count
