"""Text of strangers, made fit to stand in a Slack message: nothing in it is live, and nothing in it is invisible.

Slack reads three characters of mrkdwn as markup wherever they stand, code blocks included: `&`, `<` and `>`; and
backticks end a code block (docs.slack.dev, "Formatting message text"). Unicode adds characters that reorder what is
read or that nobody sees (UAX #9, UTS #39). Each is shown as what it is, so that the approver sees what will run.
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

#: Stands for a backtick, and looks like one: U+FF40.
BACKTICK = "｀"
_ESCAPED = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "`": BACKTICK}
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


def visible(character: str, *, multiline: bool) -> str:
    """One character as it may stand in mrkdwn."""
    if (escaped := _ESCAPED.get(character)) is not None:
        return escaped
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


def line(text: str, limit: int = 300) -> str:
    """Text on one line, outside a code block's fences but still inert; longer than `limit` it is cut, with a mark."""
    shown = Excerpt.of(text, limit, multiline=False)
    return shown.head if shown.whole else f"{shown.head}…{shown.left_out} more…{shown.tail}"


def code(text: str, limit: int = 300) -> str:
    """`text` as inline code: no formatting, no links, no mentions. An empty one is a dash."""
    return f"`{line(text, limit)}`" if text.strip() else "–"


def fence(shown: str) -> str:
    """Text that is already visible, as a code block."""
    return f"```\n{shown}\n```"


@dataclass(frozen=True)
class Excerpt:
    """As much of a text as fits: all of it, or its head and its tail with how many characters are left out between."""

    head: str
    left_out: int
    tail: str

    @property
    def whole(self) -> bool:
        """Whether nothing is left out."""
        return not self.left_out

    @classmethod
    def of(cls, text: str, limit: int, *, multiline: bool = True) -> "Excerpt":
        """The excerpt of at most `limit` characters as Slack counts them: escaped."""
        budget = limit
        pieces = [visible(character, multiline=multiline) for character in text]
        if sum(map(len, pieces)) <= limit:
            return cls("".join(pieces), 0, "")
        head = _fitting(pieces, budget // 2)
        tail = _fitting(reversed(pieces[head:]), budget - budget // 2)
        return cls("".join(pieces[:head]), len(pieces) - head - tail, "".join(pieces[len(pieces) - tail :]))


def _fitting(pieces: Iterable[str], limit: int) -> int:
    """How many pieces fit into `limit` characters."""
    count = 0
    for piece in pieces:
        limit -= len(piece)
        if limit < 0:
            return count
        count += 1
    return count
