"""Server-sent events (WHATWG HTML, section 9.2) and lines of JSON: bytes in, events out, each with its bytes.

Sans I/O: `receive` returns the events that are complete. Lines end in CR, LF or CRLF, also mixed, and a CRLF may be
cut between two reads. An event that nobody touches is passed on byte by byte as it came.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from services.ingress.masking.errors import MaskingError
from services.ingress.masking.llm_stream.limits import EVENT_LIMIT, PREAMBLE_LIMIT

_LINE_END = re.compile(rb"\r\n|\n|\r")
# Atomic: a CRLF is one line end, never two.
_BLANK_LINE = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_BOM = b"\xef\xbb\xbf"
_NAMES = (b"data:", b"event:", b"id:", b"retry:", b":")
_JSON_DATA = re.compile(rb"data:[ \t]*(?:\{[ \t]*[\"}]|\[DONE\])")


def opens_stream(start: bytes, *, final: bool = False) -> bool | None:
    """Whether a body that starts so is a stream of events, whatever it is declared as; None while that is open.

    Fields and comments alone may be any text: it takes an event whose data is JSON, as models send them.
    """
    *lines, last = _LINE_END.split(start)
    for line in lines:
        if _JSON_DATA.match(line):
            return True
        if line and not line.startswith(_NAMES):
            return False
    if _JSON_DATA.match(last):
        return True
    if final or len(start) > PREAMBLE_LIMIT:
        return False
    return None if any(last.startswith(name) or name.startswith(last) for name in _NAMES) else False


@dataclass
class Event:
    """One event or a run of comments: the bytes up to and including its blank line."""

    raw: bytes
    name: str = ""
    #: The data lines joined by LF; None when there are none.
    data: bytes | None = None
    #: Lines that are not data, as they stand.
    others: list[bytes] = field(default_factory=list)
    newline: bytes = b"\n"
    #: A line of JSON instead of an event with fields.
    is_line: bool = False


class Lines:
    """The same for lines of JSON: each is an event."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def rest(self) -> bytes:
        """What stands after the last line end."""
        return bytes(self._buffer)

    def receive(self, data: bytes) -> list[Event]:
        """The lines that `data` completes. Raises MaskingError for a line over EVENT_LIMIT."""
        end = data.rfind(b"\n") + 1
        if not end:
            self._buffer += data
        if len(self._buffer) > EVENT_LIMIT:
            raise MaskingError("a line of the stream is too large")
        if not end:
            return []
        whole = bytes(self._buffer) + data[:end]
        self._buffer = bytearray(data[end:])
        return [line_event(line) for line in whole.split(b"\n")[:-1]]


def line_event(line: bytes) -> Event:
    """A line without its end as an event."""
    return Event(line + b"\n", data=line if line.strip() else None, is_line=True)


class Framing:
    """Cuts a byte stream into events."""

    def __init__(self, limit: int = EVENT_LIMIT) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._searched = 0
        self._after_cr = False

    @property
    def rest(self) -> bytes:
        """What stands after the last complete event."""
        return bytes(self._buffer)

    def receive(self, data: bytes) -> list[Event]:
        """The events that `data` completes. Raises MaskingError for one that is too large."""
        events: list[Event] = []
        if self._after_cr and data:
            self._after_cr = False
            if data[:1] == b"\n":  # the second half of the CRLF that ended the last event
                events.append(Event(b"\n"))
                data = data[1:]
        self._buffer += data
        start = 0
        search = max(0, self._searched - 3)
        while end := self._blank_line(start, search):
            events.append(parse(bytes(self._buffer[start:end])))
            start = search = end
        del self._buffer[:start]
        self._searched = len(self._buffer)
        self._after_cr = bool(events) and not self._buffer and events[-1].raw.endswith(b"\r")
        if len(self._buffer) > self._limit:
            raise MaskingError("an event of the stream is too large")
        return events

    def _blank_line(self, start: int, search: int) -> int:
        """Where the event that starts at `start` ends; 0 while it goes on."""
        if lead := _LINE_END.match(self._buffer, start):
            return lead.end()  # a blank line of its own
        found = _BLANK_LINE.search(self._buffer, search)
        return found.end() if found else 0


def parse(raw: bytes) -> Event:
    """The fields of one event."""
    ending = _LINE_END.search(raw)
    event = Event(raw, newline=ending[0] if ending else b"\n")
    data: list[bytes] = []
    for line in _LINE_END.split(raw.removeprefix(_BOM)):
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            data.append(value)
        elif line:
            event.others.append(line)
            if name == b"event":
                event.name = value.decode("utf-8", "replace")
    if data:
        event.data = b"\n".join(data)
    return event


def write(event: Event, data: bytes, others: list[bytes] | None = None) -> bytes:
    """The event with other data, its other fields first, in its own line ends."""
    if event.is_line:
        return data + event.newline
    lines = list(event.others if others is None else others)
    lines += [b"data: " + line for line in _LINE_END.split(data)]
    return event.newline.join([*lines, b"", b""])
