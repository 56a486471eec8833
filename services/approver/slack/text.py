"""Text of strangers, made fit to stand in a Slack message: nothing in it is live, and nothing in it is invisible.

What nobody sees is shown by its number (`inert`). Beside that Slack reads three characters of mrkdwn as markup
wherever they stand, code blocks included: `&`, `<` and `>`; and backticks end a code block (docs.slack.dev,
"Formatting message text").
"""

from dataclasses import dataclass

from services.approver import inert

#: Stands for a backtick, and looks like one: U+FF40.
BACKTICK = "｀"
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "`": BACKTICK})


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
        shown = inert.Excerpt.of(text, limit, multiline=multiline, length=_length)
        return cls(shown.head.translate(_ESCAPES), shown.left_out, shown.tail.translate(_ESCAPES))


def _length(shown: str) -> int:
    return len(shown.translate(_ESCAPES))
