"""Multipart bodies (RFC 2046, section 5.1; RFC 7578): taken apart, so that each part is masked as what it is.

Whole bodies only. The delimiter is taken from the body's first line, and a part is judged by its bytes before its
declared type, so a body that names another delimiter hides nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from services.ingress.masking.errors import MaskingError
from services.ingress.masking.structure.limits import PARTS_LIMIT

_FIRST_LINE = re.compile(rb"\A(?:\r?\n)*--([^\r\n]{1,70}?)[ \t]*\r?\n")
_TYPE = re.compile(rb"(?im)^content-type:[ \t]*([^\r\n]*)")
_ENCODED = re.compile(rb"(?im)^content-transfer-encoding:[ \t]*(?!7bit|8bit|binary)")


class Part(NamedTuple):
    """One part: its header lines with the empty line, its body, and its declared type."""

    head: bytes
    body: bytes
    content_type: str


#: Masks the header lines, and a body of a type.
MaskHead = Callable[[bytes], bytes]
MaskBody = Callable[[bytes, str], bytes]


def mask_parts(data: bytes, mask_head: MaskHead, mask_body: MaskBody) -> bytes:
    """The body with every part masked, delimiters as they were. Raises MaskingError when it is not multipart."""
    first = _FIRST_LINE.match(data)
    if first is None:
        raise MaskingError("the multipart content has no delimiter")
    pieces = re.split(rb"(\r?\n--%s(?:--)?[ \t]*(?:\r?\n|\Z))" % re.escape(first[1]), data[first.end() :])
    closed = len(pieces) >= 3 and pieces[-2].strip().endswith(b"--")
    if not closed or len(pieces) > 2 * PARTS_LIMIT:
        raise MaskingError("the multipart content is cut off or has too many parts")
    out = [first[0]]
    for index in range(0, len(pieces) - 1, 2):
        part = _part(pieces[index])
        out += (mask_head(part.head), mask_body(part.body, part.content_type), pieces[index + 1])
    return b"".join([*out, mask_body(pieces[-1], "text/plain") if pieces[-1] else b""])


def _part(data: bytes) -> Part:
    end = re.search(rb"\A\r?\n|\r?\n\r?\n", data)
    if end is None:
        return Part(b"", data, "text/plain")
    head = data[: end.end()]
    if _ENCODED.search(head):
        raise MaskingError("a part of the multipart content is in a transfer encoding")
    found = _TYPE.search(head)
    return Part(head, data[end.end() :], found[1].decode("latin-1") if found else "text/plain")
