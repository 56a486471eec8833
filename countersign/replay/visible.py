"""Control characters made visible: what was recorded must neither steer a terminal nor hide in a page. Pure.

Lines and tabs stay. Whatever else draws nothing, moves the cursor or reorders its neighbours becomes its code point,
such as `<U+001B>`: C0 and C1 controls, bidirectional overrides (CVE-2021-42574), zero-width characters, line and
paragraph separators, surrogates, private use.
"""

import re
import unicodedata
from typing import Final

_KEPT: Final = frozenset("\n\t")
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
#: Plain text needs no look at each character.
_PLAIN: Final = re.compile(r"[\n\t\x20-\x7e\xa0-\xac\xae-\xff]*")
#: What a terminal obeys: CSI, OSC and the like up to their end, two-character escapes (ECMA-48, sections 5.3 to 5.6).
_SEQUENCE: Final = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c|$)"
    r"|\x1b[ -/]*[0-~]"
)


def visible(text: str) -> str:
    """The text as anybody may be shown it; `\\r\\n` counts as a line."""
    text = text.replace("\r\n", "\n")
    if _PLAIN.fullmatch(text):
        return text
    return "".join(map(_shown, text))


def one_line(text: str, width: int) -> str:
    """The text in one line of at most `width` characters: head and tail, since what matters may stand at either end."""
    plain = " ".join(visible(text).split())
    if len(plain) <= width:
        return plain
    half = max(1, (width - 3) // 2)
    return f"{plain[:half]} … {plain[-half:]}"


def without_sequences(text: str) -> str:
    """A terminal's output without what steered it; what is left goes through `visible`."""
    return visible(_SEQUENCE.sub("", text))


def _shown(character: str) -> str:
    if character in _KEPT or unicodedata.category(character) not in _HIDDEN:
        return character
    return f"<U+{ord(character):04X}>"
