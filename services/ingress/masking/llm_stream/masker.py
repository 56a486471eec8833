"""Masks a stream of server-sent events, texts across events, and everything else of an event within it.

What is held back of a text goes out in an event of the same shape, before the event that ends the text or at the end
of the stream. Breaking off without `close` lets go of nothing that was held.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from services.ingress.masking.errors import MaskingError
from services.ingress.masking.llm_stream import chat, gemini, generic, messages, ollama, responses, sse
from services.ingress.masking.llm_stream.channel import Channel, json_masker
from services.ingress.masking.llm_stream.limits import CHANNELS_LIMIT, SKELETON_SIZE, SKELETONS_LIMIT
from services.ingress.masking.llm_stream.shapes import Fragment, Json, Key, Path, Reading
from services.ingress.masking.llm_stream.splice import locate, parse, splice, write
from services.ingress.masking.llm_stream.sse import Event, Framing, Lines
from services.ingress.masking.replace import Replacer
from services.ingress.masking.scanner import Scanner, encode
from services.ingress.masking.structure.fields import FieldMasker
from services.ingress.masking.text import mask_text

_DONE = b"[DONE]"
_PROVIDERS: tuple[Callable[[Json], Reading | None], ...] = (
    chat.read,
    responses.read,
    messages.read,
    gemini.read,
    ollama.read,
    generic.read,
)


def read(event: Any) -> Reading | None:
    """What the event carries, when it is of a provider that we know."""
    if not isinstance(event, dict):
        return None
    return next((reading for provider in _PROVIDERS if (reading := provider(event))), None)


@dataclass
class _Open:
    """A text that has not ended, and the event that carries it on."""

    channel: Channel
    fragment: Fragment
    reading: Reading
    event: Event


class EventStreamMasker:
    """Masks `text/event-stream` in parts, or lines of JSON. After an error nothing more may be forwarded."""

    def __init__(
        self, scanner: Scanner, replacer: Replacer, fields: tuple[str, ...] = (), framing: Framing | Lines | None = None
    ) -> None:
        self._scanner = scanner
        self._replacer = replacer
        self._fields = fields
        self._framing = framing or Framing()
        self._open: dict[Key, _Open] = {}
        self._ended: set[Key] = set()
        self._counts: Counter[str] = Counter()
        self._clean: set[str] = set()
        self._failed: Exception | None = None

    @property
    def counts(self) -> dict[str, int]:
        total = Counter(self._counts)
        for each in self._open.values():
            total.update(each.channel.counts)
        return dict(total)

    def feed(self, data: bytes) -> bytes:
        """The masked events that `data` completes. Raises MaskingError."""
        if self._failed:
            raise self._failed
        try:
            return b"".join(part for event in self._framing.receive(data) for part in self._event(event))
        except Exception as error:
            self._failed = error
            self._open.clear()
            raise

    def close(self) -> bytes:
        """What is held, each text in an event of its own. An event that was cut off is dropped. Raises MaskingError."""
        rest = self._framing.rest
        if isinstance(self._framing, Lines):
            return self._close_lines(rest)
        last = self.feed(b"\n\n" if rest and self._is_whole(rest) else b"")
        return last + b"".join(self._flush([()]))

    def _close_lines(self, rest: bytes) -> bytes:
        """The last line needs no line end; one that was cut off is dropped."""
        if not rest.strip():
            return b"".join(self._flush([()])) + rest
        cut_off = rest.lstrip()[:1] in b"{[" and parse(rest)[1] is None
        last = b"" if cut_off else self.feed(b"\n").removesuffix(b"\n")
        held = b"".join(self._flush([()]))
        return b"\n".join(part for part in (last, held) if part)

    def _is_whole(self, rest: bytes) -> bool:
        """Whether the last event lacks nothing but its blank line."""
        data = sse.parse(rest).data
        if data is None or data.strip() == _DONE:
            return True
        value = parse(data)[1]
        return isinstance(value, dict | list) or (value is not None and rest.endswith((b"\n", b"\r")))

    def _event(self, event: Event) -> Iterator[bytes]:
        if event.data is None:
            yield self._comment(event)
        elif event.data.strip() == _DONE:
            yield from self._flush([()])
            yield self._unknown(event, is_json=False)  # it may have other lines
        else:
            if self._fields:
                event = self._without_fields(event)
            text, value = parse(event.data or b"")
            reading = read(value)
            if reading is None:
                yield self._unknown(event, is_json=value is not None)
            else:
                yield from self._known(event, text, value, reading)

    def _known(self, event: Event, text: str, value: Json, reading: Reading) -> Iterator[bytes]:
        here = {fragment.key for fragment in reading.fragments}
        yield from self._flush(reading.ends, but=here)
        changed = self._fragments(event, reading)
        for leaf in reading.wholes:
            if (masked := self._whole(leaf.ident, leaf.text)) != leaf.text:
                changed[leaf.path] = masked
        if changed or any(self._open[key].channel.held for key in here if key in self._open):
            changed |= dict(reading.repeats)
        if _starts_over(value):
            self._ended.clear()
        texts = [fragment.path for fragment in reading.fragments] + [leaf.path for leaf in reading.wholes]
        yield self._written(event, text, value, changed, texts)

    def _without_fields(self, event: Event) -> Event:
        """The event with its fields masked by path; one that is not JSON is refused."""
        masker = FieldMasker(self._fields, self._replacer)
        data = masker.feed(event.data or b"") + masker.close()
        if not masker.counts:
            return event
        self._counts.update(masker.counts)
        return replace(event, raw=sse.write(event, data), data=data)

    def _fragments(self, event: Event, reading: Reading) -> dict[Path, Any]:
        """Feed every fragment to its text; what has to be other than it came."""
        changed: dict[Path, Any] = {}
        last = {fragment.key: fragment for fragment in reading.fragments}
        for fragment in reading.fragments:
            held = self._held(fragment.key)
            masked = self._carry_on(fragment, event, reading)
            if fragment is last[fragment.key] and _ends(fragment.key, reading.ends):
                masked += self._end(fragment.key)
            if masked != fragment.text:
                changed[fragment.path] = masked
            elif held:
                changed |= dict(reading.repeats)
        return changed

    def _held(self, key: Key) -> int:
        return self._open[key].channel.held if key in self._open else 0

    def _carry_on(self, fragment: Fragment, event: Event, reading: Reading) -> str:
        if fragment.key in self._ended:
            if fragment.text:
                raise MaskingError("a text of the stream goes on after its end")
            return ""
        known = self._open.get(fragment.key)
        if known is None:
            if len(self._open) + len(self._ended) >= CHANNELS_LIMIT:
                raise MaskingError("the stream carries too many texts")
            known = _Open(Channel(fragment.key, self._scanner, self._replacer), fragment, reading, event)
            self._open[fragment.key] = known
        known.fragment, known.reading, known.event = fragment, reading, event
        return known.channel.feed(fragment.text)

    def _end(self, key: Key) -> str:
        ended = self._open.pop(key, None)
        if ended is None:
            return ""
        self._ended.add(key)
        rest = ended.channel.close()
        self._counts.update(ended.channel.counts)
        return rest

    def _flush(self, ends: list[Key], but: set[Key] | frozenset[Key] = frozenset()) -> Iterator[bytes]:
        """Events for what is held of the texts that end."""
        if not ends:
            return
        for key in [key for key in self._open if key not in but and _ends(key, ends)]:
            known = self._open[key]
            rest = self._end(key)
            if rest and known.reading.carry:
                value = known.reading.carry(known.fragment, rest)
                yield self._carrying(known, value)

    def _carrying(self, known: _Open, value: Json) -> bytes:
        name = str(value.get("type", known.event.name)) if known.event.name else ""
        others = [b"event: " + name.encode()] if name else []
        event = Event(b"", name, None, others, known.event.newline, known.event.is_line)
        again = read(value)
        texts = [fragment.path for fragment in again.fragments] if again else []
        return self._written(event, write(value), value, {}, texts)

    def _whole(self, ident: Key, text: str) -> str:
        channel = Channel(ident, self._scanner, self._replacer)
        masked = channel.feed(text) + channel.close()
        self._counts.update(channel.counts)
        return masked

    def _written(self, event: Event, text: str, value: Json, changed: dict[Path, Any], texts: list[Path]) -> bytes:
        """The event with what changed, and with everything but its texts searched."""
        others = self._lines(event.others)
        if not self._is_clean(value, texts):
            text, changed = self._scrubbed(text, changed, texts)
        elif not changed and others == event.others and event.raw:
            return event.raw
        data = splice(text, {path: write(new) for path, new in changed.items()}) if changed else text
        return sse.write(event, data.encode("utf-8", "surrogateescape"), others)

    def _scrubbed(self, text: str, changed: dict[Path, Any], texts: list[Path]) -> tuple[str, dict[Path, Any]]:
        """The event masked without its texts, and the texts to put back into it."""
        kept = {path: text[start:end] for path, (start, end) in locate(text, texts).items()}
        bare = splice(splice(text, {path: write(new) for path, new in changed.items()}), dict.fromkeys(texts, '""'))
        masked = self._json(bare.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")
        kept |= {path: write(new) for path, new in changed.items() if path in kept}
        return splice(masked, kept), {}

    def _is_clean(self, value: Json, texts: list[Path]) -> bool:
        """Whether nothing is found in the event once its texts are taken out; most events differ in them alone."""
        skeleton = write(_without(value, texts))
        if skeleton in self._clean:
            return True
        if "\\" in skeleton or self._scanner.spans(encode(skeleton), 0):
            return False
        if len(skeleton) <= SKELETON_SIZE:
            if len(self._clean) >= SKELETONS_LIMIT:
                self._clean.clear()
            self._clean.add(skeleton)
        return True

    def _json(self, data: bytes) -> bytes:
        masker = json_masker(self._scanner, self._replacer)
        masked = masker.feed(data) + masker.close()
        self._counts.update(masker.counts)
        return masked

    def _unknown(self, event: Event, *, is_json: bool) -> bytes:
        """An event of no provider that we know: masked whole, each by itself."""
        data = event.data or b""
        masked = self._json(data) if is_json else self._line(data)
        others = self._lines(event.others)
        return event.raw if masked == data and others == event.others else sse.write(event, masked, others)

    def _comment(self, event: Event) -> bytes:
        others = self._lines(event.others)
        return event.raw if others == event.others else event.newline.join([*others, b"", b""])

    def _lines(self, lines: list[bytes]) -> list[bytes]:
        """The lines that are not data, as one text: a key in PEM has many."""
        text = b"\n".join(lines)
        return self._line(text).split(b"\n") if text and self._scanner.spans(text, 0) else lines

    def _line(self, line: bytes) -> bytes:
        masked, counts = mask_text(line.decode("utf-8", "surrogateescape"), self._scanner, self._replacer)
        self._counts.update(counts)
        return masked.encode("utf-8", "surrogateescape") if counts else line


def _ends(key: Key, ends: list[Key]) -> bool:
    return any(key[: len(end)] == end for end in ends)


def _starts_over(value: Json) -> bool:
    """A new message: its blocks are numbered from 0 again."""
    return value.get("type") == "message_start"


def _without(node: Any, paths: list[Path]) -> Any:
    """A copy of the value with empty texts at these paths."""
    if not paths:
        return node
    if () in paths:
        return ""
    below: dict[Any, list[Path]] = {}
    for path in paths:
        below.setdefault(path[0], []).append(path[1:])
    if isinstance(node, list):
        return [_without(each, below.get(at, [])) for at, each in enumerate(node)]
    return {name: _without(each, below.get(name, [])) for name, each in node.items()}
