"""Mask a document of any structure as it streams by: what is found in the view is replaced in the bytes.

The counterpart of `text.StreamMasker` for documents. The whole view is searched as one text, keys and punctuation
included, for a key often tells what its value is (`"ssn": 123456789`). A value is then cut to the token that it
starts in, so that a key without its footer in one string never swallows the strings after it.

    sum of feeds and close == mask_document(the whole), however it is cut
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from services.ingress.masking.entities import ENTITIES
from services.ingress.masking.limits import CONTEXT_LIMIT
from services.ingress.masking.replace import Replacer
from services.ingress.masking.scanner import Match, Scanner, Span
from services.ingress.masking.structure.limits import WORD_LIMIT
from services.ingress.masking.structure.view import Lexer, View, Zone

_BUILT_IN = frozenset(ENTITIES)
_BARE = frozenset({Zone.BARE, Zone.NESTED_BARE})
_WORD = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+-._"
_OPENS = b"[{ \t\r\n"
_WORDS = re.compile(rb"[0-9A-Za-z+\-._]+")
#: RFC 8259 sections 3 and 6: what stands bare in JSON.
_JSON_WORD = re.compile(rb"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null")


class Edit(NamedTuple):
    """Replace start to end of the view; as a JSON value of its own when `quoted`."""

    start: int
    end: int
    rank: int
    entity: str
    zone: Zone
    quoted: bool


class FlowMasker:
    """Masks a document in parts. After an error nothing more may be forwarded; every further call raises it again."""

    def __init__(self, lexer: Lexer, scanner: Scanner, replacer: Replacer, context: bytes = b"") -> None:
        """`context` stands before the document for whoever looks at it, and tells what it is: a field's name."""
        self.counts: dict[str, int] = {}
        self._lexer = lexer
        self._scanner = scanner
        self._replacer = replacer
        self._view = View(lexer, context)
        self._decided = len(context)  # values that start before this place of the view have been dealt with
        self._passed = len(context)  # the view up to here has been passed on
        self._failed: Exception | None = None

    @property
    def held(self) -> int:
        """How many bytes are held back."""
        return self._view.unpassed

    def feed(self, data: bytes) -> bytes:
        """As much of the masked document as cannot change any more. Raises MaskingError."""
        return self._guarded(data, final=False) if data else b""

    def close(self) -> bytes:
        """The rest of it. Raises MaskingError."""
        return self._guarded(b"", final=True)

    def _guarded(self, data: bytes, *, final: bool) -> bytes:
        if self._failed:
            raise self._failed
        try:
            return self._step(data, final=final)
        except Exception as error:
            self._failed = error
            self._view = View(self._lexer)
            raise

    def _step(self, data: bytes, *, final: bool) -> bytes:
        view = self._view
        view.read(data, final=final)
        since = self._decided - view.base
        if final:
            spans, until = self._scanner.spans(view.text, since), view.end
        else:
            spans, open_from = self._scanner.view(view.text, since)
            until = max(self._decided, view.base + min(open_from, self._word_start()))
        masked = self._advance(spans, until)
        self._forget(until)
        return masked

    def _word_start(self) -> int:
        """Where a number at the end of the view starts: half a number must not get out."""
        text = self._view.text
        if not self._lexer.in_bare:
            return len(text)
        tail = text[-WORD_LIMIT:]
        before = tail.rstrip(_WORD)
        return len(text) - len(tail) + len(before) if before or len(text) < WORD_LIMIT else len(text)

    def _advance(self, spans: list[Span], until: int) -> bytes:
        view, base = self._view, self._view.base
        parts: list[bytes] = []
        for edit in sorted(
            edit for span in spans if self._decided <= base + span.start < until for edit in self._edits(span)
        ):
            parts += self._apply(edit)
        if self._passed < until:
            parts.append(view.pass_raw(view.raw_end(until)))
            self._passed = until
        return b"".join(parts)

    def _edits(self, span: Span) -> Iterator[Edit]:
        """What to replace for one value; nothing of it remains, and no token outside it is touched."""
        start, end = self._view.base + span.start, self._view.base - span.minus_end
        tokens = self._view.tokens(start, end)
        if span.entity in _BUILT_IN or len(tokens) == 1:
            yield self._edit(*tokens[0], span)
            return
        for token_start, token_end, zone in tokens:  # an operator's own pattern may reach over several tokens
            if zone not in _BARE:
                yield self._edit(token_start, token_end, zone, span)
                continue
            for word in _WORDS.finditer(self._text(token_start, token_end)):
                yield self._edit(token_start + word.start(), token_start + word.end(), zone, span)

    def _edit(self, start: int, end: int, zone: Zone, span: Span) -> Edit:
        quoted = False
        if zone in _BARE:
            text = self._text(start, end)
            start += len(text) - len(text.lstrip(_OPENS))  # a list's first member is the value, not the list
            word_start, word_end = self._word_around(start, end)
            if _JSON_WORD.fullmatch(self._text(word_start, word_end)) and word_start >= self._passed:
                start, end, quoted = word_start, word_end, True
        return Edit(start, end, span.rank, span.entity, zone, quoted)

    def _word_around(self, start: int, end: int) -> tuple[int, int]:
        base, text = self._view.base, self._view.text
        before = text[max(0, start - base - WORD_LIMIT) : start - base]
        after = text[end - base : end - base + WORD_LIMIT]
        return start - len(before) + len(before.rstrip(_WORD)), end + len(after) - len(after.lstrip(_WORD))

    def _text(self, start: int, end: int) -> bytes:
        return self._view.text[start - self._view.base : end - self._view.base]

    def _apply(self, edit: Edit) -> Iterator[bytes]:
        """Pass on what precedes the edit, and its replacement; what an earlier one covers is done with."""
        if edit.end <= self._passed:
            return
        view = self._view
        start = max(edit.start, self._passed)
        yield view.pass_raw(max(view.raw_start(start), view.raw_end(self._passed)))
        value = self._lexer.value(view.pass_raw(view.raw_end(edit.end)), edit.zone)
        self._passed = edit.end
        self.counts[edit.entity] = self.counts.get(edit.entity, 0) + 1
        text = self._replacer.replace(Match(start, edit.end, edit.entity, value))
        yield self._lexer.write(text, edit.zone, quoted=edit.quoted)

    def _forget(self, until: int) -> None:
        """Drop what no later decision needs: all but the context of what is still open."""
        self._decided = until
        view = self._view
        cut = max(view.base, until - CONTEXT_LIMIT)
        while cut > view.base and view.text[cut - view.base] & 0xC0 == 0x80:
            cut -= 1
        view.forget(cut)


def mask_document(data: bytes, lexer: Lexer, scanner: Scanner, replacer: Replacer) -> tuple[bytes, dict[str, int]]:
    """A whole document without its sensitive values, and how many there were by entity. Raises MaskingError."""
    masker = FlowMasker(lexer, scanner, replacer)
    masked = masker.feed(data) + masker.close()
    return masked, masker.counts
