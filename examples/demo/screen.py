"""What the viewer sees: chapters, what happens, and what was expected of it; colours only on a terminal."""

import sys
import textwrap
from collections.abc import Sequence

#: Columns of text beside the speaker's name.
WIDTH = 110
_STYLES = {"bold": "1", "dim": "2", "green": "32", "red": "31", "yellow": "33", "cyan": "36"}


class Different(Exception):
    """Something came out otherwise than announced."""


def _styled(text: str, style: str) -> str:
    return f"\033[{_STYLES[style]}m{text}\033[0m" if sys.stdout.isatty() else text


def title(text: str) -> None:
    """The demo's headline."""
    print(f"\n{_styled(text, 'bold')}\n{'=' * len(text)}")


def chapter(number: int, text: str) -> None:
    """A new step."""
    print(f"\n{_styled(f'{number}. {text}', 'bold')}")


def say(text: str) -> None:
    """Explain, wrapped."""
    for line in textwrap.wrap(text, 100):
        print(f"   {line}")


def event(who: str, text: str, style: str = "cyan", *, whole: bool = False) -> None:
    """Somebody does something; long text is cut unless it is to be read whole."""
    shown = " ".join(text.split())
    lines = textwrap.wrap(shown, WIDTH) if whole else [textwrap.shorten(shown, WIDTH, placeholder=" …")]
    for number, line in enumerate(lines or [""]):
        print(f"   {_styled((who if number == 0 else '').rjust(10), style)}  {line}", flush=True)


def code(text: str) -> None:
    """Show as it is."""
    print("\n".join(f"   {_styled(line, 'dim')}" for line in text.splitlines()))


def expect(what: str, got: object, wanted: object) -> None:
    """Check what was announced. Raises Different."""
    if got != wanted:
        raise Different(f"{what}: expected {wanted!r}, got {got!r}")
    print(f"   {_styled('✓', 'green')} {what}")


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A small table."""
    cells = [list(header), *([str(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    for number, row in enumerate(cells):
        line = "  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True))
        print(f"   {_styled(line, 'bold') if number == 0 else line}")


def failed(text: str) -> None:
    """The last line of a demo that differs from what it announced."""
    print(f"\n{_styled('✗ ' + text, 'red')}", file=sys.stderr)
