"""Passes a child's output on to our stderr in whole lines, and remembers the last one for the error message."""

import re
import sys
from asyncio import StreamReader
from contextlib import suppress

#: Output without a line break is passed on in pieces of this size, so that no child fills our memory.
LONGEST_LINE = 64 * 1024
#: As much of the last line as an error message can bear.
_SHOWN = 500
_COLOURS = re.compile(rb"\x1b\[[0-9;]*m")


class Output:
    """The output of one child over all its restarts."""

    def __init__(self) -> None:
        #: The last line that was not empty, without colours.
        self.last = ""

    async def pump(self, reader: StreamReader) -> None:
        """Pass everything on until the stream ends."""
        rest = b""
        while piece := await reader.read(LONGEST_LINE):
            whole, newline, rest = (rest + piece).rpartition(b"\n")
            if whole or newline:
                self.take(whole + newline)
            elif len(rest) > LONGEST_LINE:
                self.take(rest)
                rest = b""
        if rest:
            self.take(rest + b"\n")

    def take(self, lines: bytes) -> None:
        """Pass these lines on."""
        if said := [line for line in lines.splitlines() if line.strip()]:
            self.last = _COLOURS.sub(b"", said[-1]).decode(errors="replace").strip()[:_SHOWN]
        with suppress(OSError):  # nobody reads our stderr any more; the children go on
            sys.stderr.buffer.write(lines)
            sys.stderr.buffer.flush()
