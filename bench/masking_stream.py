"""What masking adds to a streamed token, how fast documents stream through it, and how much it holds.

Times are of the processor, so that what else runs on the machine does not count.

python -m bench.masking_stream [--megabytes 1024]
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

from services.ingress.masking import Replacer, Scanner, scanner_for
from services.ingress.masking.llm_stream.masker import EventStreamMasker
from services.ingress.masking.structure.document import Rules, masker_for

CHUNK = 64 * 1024
_DONE = b"data: [DONE]\n\n"
TOKENS = 20_000


def _split(text: str) -> list[str]:
    return text.split(" ")


_WORDS = _split("The invoice of the third quarter was sent on Monday , and nobody has answered it so far . ")
_VALUES = _split("Write to bob . smith @ example . com or pay with 4111 1111 1111 1111 , the key is AK IA IOSF ODNN7 .")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--megabytes", type=int, default=1024, help="size of the streamed body of the memory test")
    chosen = arguments.parse_args()
    scanner = scanner_for(frozenset(["secrets", "pii", "financial"]))
    print(f"{'added per streamed token':44}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}")
    for name, make in TOKEN_STREAMS.items():
        _tokens(name, scanner, list(make()))
    print(f"\n{'JSON streamed in 64 KiB chunks':44}{'MB/s':>9}")
    for name, record in RECORDS.items():
        _speed(name, scanner, record)
    _memory(scanner, chosen.megabytes)


# --- tokens ------------------------------------------------------------------------------------------------


def _chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    shell = {"id": "chatcmpl-9", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "gpt-5"}
    return f"data: {json.dumps({**shell, 'choices': [choice]})}\n\n".encode()


def _words(words: list[str]) -> Iterator[bytes]:
    for number in range(TOKENS):
        yield _chunk({"content": f"{words[number % len(words)]} "})


def _arguments() -> Iterator[bytes]:
    text = json.dumps({"to": "bob@example.com", "body": 'He said "hello"\nand left.'}).replace("@", "\\u0040")
    pieces = [text[at : at + 4] for at in range(0, len(text), 4)]
    for _ in range(TOKENS // len(pieces)):
        for piece in pieces:
            yield _chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
        yield _chunk({}, "tool_calls")
        yield _DONE


def _anthropic() -> Iterator[bytes]:
    for number in range(TOKENS):
        delta = {"type": "text_delta", "text": f"{_WORDS[number % len(_WORDS)]} "}
        value = {"type": "content_block_delta", "index": 0, "delta": delta}
        yield f"event: content_block_delta\ndata: {json.dumps(value)}\n\n".encode()


TOKEN_STREAMS: dict[str, Callable[[], Iterator[bytes]]] = {
    "chat, prose": lambda: _words(_WORDS),
    "chat, values all along": lambda: _words(_VALUES),
    "chat, tool arguments with escapes": _arguments,
    "messages, prose": _anthropic,
}


def _tokens(name: str, scanner: Scanner, events: list[bytes]) -> None:
    masker = EventStreamMasker(scanner, Replacer())
    took: list[float] = []
    for event in events:
        start = time.thread_time()
        masker.feed(event)
        took.append((time.thread_time() - start) * 1000)
        if event is _DONE:
            masker = EventStreamMasker(scanner, Replacer())
    cuts = statistics.quantiles(took, n=100)
    print(f"{name:44}{cuts[49]:9.3f}{cuts[98]:9.3f}{max(took):9.3f}")


# --- documents ---------------------------------------------------------------------------------------------

_RECORD = {
    "id": 17,
    "name": "Some name",
    "text": "the quick brown fox jumps over the lazy dog",
    "price": 1.5,
    "ok": True,
}
RECORDS: dict[str, dict[str, Any]] = {
    "nothing to find": _RECORD,
    "an escape every 45 bytes": {**_RECORD, "text": 'the "quick" brown fox\njumps over it'},
    "a value every 100 bytes": {**_RECORD, "text": "mail bob@example.com about the fox"},
    "a value every 10 kB": {"many": [_RECORD] * 95, "one": {**_RECORD, "text": "mail bob@example.com"}},
}


def _body(record: dict[str, Any], size: int) -> Iterator[bytes]:
    """A JSON list of about `size` bytes, in chunks that cut records anywhere."""
    line = json.dumps(record).encode() + b",\n"
    block = line * (CHUNK // len(line) + 1)
    sent, pending = 1, b"["
    while sent < size:
        pending += block
        while len(pending) >= CHUNK:
            yield pending[:CHUNK]
            pending = pending[CHUNK:]
            sent += CHUNK
    yield pending + b"null]"


def _speed(name: str, scanner: Scanner, record: dict[str, Any]) -> None:
    body = list(_body(record, 8_000_000))
    masker = masker_for("application/json", Rules(scanner, Replacer()))
    start = time.process_time()
    for chunk in body:
        masker.feed(chunk)
    masker.close()
    rate = sum(map(len, body)) / 1e6 / (time.process_time() - start)
    print(f"{name:44}{rate:9.1f}")


def _memory(scanner: Scanner, megabytes: int) -> None:
    """The most memory of the process before and after a body of this size."""
    masker = masker_for("application/json", Rules(scanner, Replacer()))
    record = {**_RECORD, "many": [_RECORD] * 40, "text": "mail bob@example.com"}
    before, start = _peak(), time.process_time()
    passed = 0
    for chunk in _body(record, megabytes * 1_000_000):
        out = masker.feed(chunk)
        passed += len(out)
    passed += len(masker.close())
    rate = megabytes / (time.process_time() - start)
    print(f"\na JSON body of {megabytes} MB: {passed / 1e6:.0f} MB passed on at {rate:.1f} MB/s, {masker.counts}")
    print(f"peak memory of the process: {before:.0f} MiB before, {_peak():.0f} MiB after")


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
