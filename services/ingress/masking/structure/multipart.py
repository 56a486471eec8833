"""Multipart bodies (RFC 2046, section 5.1; RFC 7578): taken apart, so that each part is masked as what it is.

    first line   --X                                    names the delimiter
    head         lines up to an empty one               masked as text
    body         up to a line that is the delimiter     masked by a masker of its own
    after --X--                                         masked as text; another delimiter begins another part

The delimiter is taken from the body's first line, and a part is judged by its bytes before its declared type, so a
body that names another delimiter hides nothing. A part's field name tells what it is, as a form's does.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

from services.ingress.masking.errors import MaskingError
from services.ingress.masking.structure.limits import PART_HEAD_LIMIT, PARTS_LIMIT
from services.ingress.masking.structure.wrapped import Masker

_FIRST_LINE = re.compile(rb"\A(?:\r?\n)*--([^\r\n]{1,70}?)[ \t]*\r?\n")
_HEAD_END = re.compile(rb"\A\r?\n|\r?\n\r?\n")
_TYPE = re.compile(rb"(?im)^content-type:[ \t]*([^\r\n;]*)")
_NAME = re.compile(rb"(?im)^content-disposition:[^\r\n]*?;[ \t]*name[ \t]*=[ \t]*\"?([^\";\r\n]{1,128})")
_ENCODED = re.compile(rb"(?im)^content-transfer-encoding:[ \t]*(?!7bit|8bit|binary)")

#: Makes the masker of a part's body, from its type and its field's name.
MaskerOf = Callable[[str, bytes], Masker]


class PartsMasker:
    """Masks a multipart body in parts of any size. After an error nothing more may be forwarded.

    One method per place in the grammar; each gives what may pass, or None when it needs more bytes.
    """

    def __init__(self, masker_of: MaskerOf, head_masker: Callable[[], Masker]) -> None:
        self._masker_of = masker_of
        self._head_masker = head_masker
        self._raw = b""
        self._place: Callable[[], bytes | None] = self._first_line
        self._core = b""
        self._delimiter = _FIRST_LINE
        self._part: Masker = head_masker()
        self._parts = 0
        self._closed = False
        self._counts: Counter[str] = Counter()

    @property
    def counts(self) -> dict[str, int]:
        return dict(self._counts + Counter(self._part.counts))

    def feed(self, data: bytes) -> bytes:
        """What of the masked body is certain. Raises MaskingError when it is not multipart."""
        self._raw += data
        out: list[bytes] = []
        while (passed := self._place()) is not None:
            out.append(passed)
        return b"".join(out)

    def close(self) -> bytes:
        """The rest of it. Raises MaskingError when it is cut off."""
        last = b"" if self._closed else self.feed(b"\n").removesuffix(b"\n")  # the last delimiter needs no line end
        if not self._closed or self._place != self._body:
            raise MaskingError("the multipart content is cut off")
        rest, self._raw = self._raw, b""
        return last + self._part.feed(rest) + self._part.close()

    def _first_line(self) -> bytes | None:
        match = _FIRST_LINE.match(self._raw)
        if match is None:
            start = self._raw.lstrip(b"\r\n")
            if len(self._raw) > PART_HEAD_LIMIT or not (start[:2] or b"--").startswith(b"--"[: max(1, len(start[:2]))]):
                raise MaskingError("the multipart content has no delimiter")
            return None
        self._core = b"\n--" + match[1]
        self._delimiter = re.compile(rb"\r?%s(--)?[ \t]*\r?\n" % re.escape(self._core))
        self._place = self._head
        return self._taken(match.end())

    def _head(self) -> bytes | None:
        end, delimiter = _HEAD_END.search(self._raw), self._delimiter.search(self._raw)
        if delimiter and (end is None or delimiter.start() < end.end()):
            return self._begin(b"")  # a part without a head
        if end and _may_be(self._core, self._raw[end.end() - 1 :]):
            return None  # the head's last line end may be the delimiter's
        if end is None:
            if len(self._raw) > PART_HEAD_LIMIT:
                raise MaskingError("the head of a part of the multipart content is too long")
            return None
        return self._begin(self._taken(end.end()))

    def _begin(self, head: bytes) -> bytes:
        self._parts += 1
        if self._parts > PARTS_LIMIT:
            raise MaskingError("the multipart content has too many parts")
        if _ENCODED.search(head):
            raise MaskingError("a part of the multipart content is in a transfer encoding")
        of_head = self._head_masker()
        masked = of_head.feed(head) + of_head.close()
        kind, name = _TYPE.search(head), _NAME.search(head)
        media_type = kind[1].decode("latin-1").strip().lower() if kind else ""
        self._turn_to(self._masker_of(media_type, name[1].strip() if name else b""), of_head)
        self._place = self._body
        return masked

    def _body(self) -> bytes | None:
        match = self._delimiter.search(self._raw)
        if match is None:
            start = self._open_from()
            return self._part.feed(self._taken(start)) if start else None
        masked = self._part.feed(self._taken(match.start())) + self._part.close()
        self._closed = match[1] is not None
        self._turn_to(self._head_masker())
        self._place = self._body if self._closed else self._head
        return masked + self._taken(match.end() - match.start())

    def _open_from(self) -> int:
        """Where a delimiter may have begun that goes on in the next bytes."""
        raw, line = self._raw, self._raw.rfind(b"\n")
        tail = raw[max(line, 0) :]
        if line < 0 or not _may_be(self._core, tail):
            return len(raw) - raw.endswith(b"\r")
        if len(tail) > PART_HEAD_LIMIT:
            raise MaskingError("a delimiter of the multipart content is too long")
        return line - (raw[line - 1 : line] == b"\r")

    def _turn_to(self, masker: Masker, done: Masker | None = None) -> None:
        """Go on with another masker; what the last ones found is kept."""
        self._counts.update(self._part.counts)
        self._counts.update(done.counts if done else {})
        self._part = masker

    def _taken(self, count: int) -> bytes:
        taken, self._raw = self._raw[:count], self._raw[count:]
        return taken


def _may_be(core: bytes, tail: bytes) -> bool:
    """Whether the last line, from its line end on, is the beginning of a delimiter."""
    if len(tail) <= len(core):
        return core.startswith(tail)
    return tail.startswith(core) and tail[len(core) :].rstrip(b"\r").rstrip(b" \t") in (b"", b"-", b"--")
