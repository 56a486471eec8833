"""What masking catches, what it costs: the tables of `docs/masking.md`.

    python -m bench.masking            # the figures as published
    python -m bench.masking --small    # the same on a tenth of the input

Precision and recall come from the labelled corpus of `tests.masking.corpus`; a value counts as found only when
every character of it was masked. Speed is per second of processor time, the best of several runs; `re` runs the
very same patterns, one `finditer` each, which is what a scanner without an engine would do.
"""

from __future__ import annotations

import argparse
import random
import re
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence

from services.ingress.masking import (
    ENTITIES,
    SETS,
    BytesStreamMasker,
    Replacer,
    Scanner,
    StreamMasker,
    mask_bytes,
    mask_text,
    scanner_for,
)
from services.ingress.masking.detectors import CATALOGUE
from tests.masking import corpus

POSITIVES = 250
NEGATIVES = 2_400
TARGET_MB_S = 150
TARGET_RATIO = 8
TARGET_TOKEN_MS = 0.2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--small", action="store_true", help="a tenth of the input, for a quick look")
    small = parser.parse_args().small
    print(quality(POSITIVES // (10 if small else 1), NEGATIVES // (10 if small else 1)))
    print(speed(1_000_000 if small else 16_000_000))
    print(streaming(2_000 if small else 40_000))
    print(memory(10_000_000 if small else 1_000_000_000))


# --- quality -----------------------------------------------------------------------------------------------


def quality(positives: int, negatives: int) -> str:
    rows = [("detector", "precision", "recall", "found", "wrong")]
    for entity in ENTITIES:
        found, wrong = _judge(entity, positives, negatives)
        precision = found / (found + wrong) if found else 0.0
        rows.append(
            (entity, f"{precision:.3f}", f"{found / positives:.3f}", f"{found}/{positives}", f"{wrong}/{negatives}")
        )
    return _table(rows)


def _judge(entity: str, positives: int, negatives: int) -> tuple[int, int]:
    scanner = scanner_for(frozenset({entity}))
    found = sum(_covered(scanner, sample) for sample in corpus.any_positives(entity, positives, seed=2026))
    wrong = sum(bool(scanner.scan(text)) for text in corpus.negatives(entity, negatives, seed=2026))
    return found, wrong


def _covered(scanner: Scanner, sample: corpus.Sample) -> bool:
    start = sample.text.index(sample.value)
    end = start + len(sample.value)
    return any(match.start <= start and end <= match.end for match in scanner.scan(sample.text))


# --- speed -------------------------------------------------------------------------------------------------


def clean_text(size: int, seed: int = 1) -> str:
    """Prose, code, JSON rows, hashes and identifiers without a single value, about `size` bytes."""
    rng = random.Random(seed)
    scanner = scanner_for(frozenset(SETS))
    lines: list[str] = []
    total = 0
    while total < size:
        line = next(corpus.negatives("NPM_TOKEN", 1, seed=rng.randrange(10**9)))
        if not scanner.scan(line):
            lines.append(line)
            total += len(line) + 1
    return "\n".join(lines)


def speed(size: int) -> str:
    scanner = scanner_for(frozenset(SETS))
    sample = clean_text(min(size, 1_000_000))
    text = sample * max(1, size // len(sample))
    rows = [("clean text, every detector", "MB/s", "times `re`")]
    baseline = _re_rate(sample[:200_000].encode())
    kinds: tuple[tuple[str, str, Callable[[str, bytes], object]], ...] = (
        ("mixed, mask_text", text, lambda chars, data: mask_text(chars, scanner, Replacer())),
        ("mixed, mask_bytes", text, lambda chars, data: mask_bytes(data, scanner, Replacer())),
        ("mixed, streamed in 64 KiB", text, lambda chars, data: _stream(scanner, data)),
        ("mixed, 4 KiB at a time", text, lambda chars, data: _pieces(scanner, chars)),
    )
    for name, chars, work in kinds:
        rate = _rate(chars, work)
        rows.append((name, f"{rate:.0f}", f"{rate / baseline:.0f}"))
    rows.append(("mixed, Python's `re`", f"{baseline:.2f}", "1"))
    return _table(rows) + f"\nTarget: {TARGET_MB_S} MB/s and {TARGET_RATIO} times `re`.\n"


def _rate(text: str, work: Callable[[str, bytes], object]) -> float:
    data = text.encode()
    return len(data) / _best(lambda: work(text, data), 9) / 1e6


def _re_rate(data: bytes) -> float:
    patterns = [_as_re(each.context, each.gap, each.pattern, each.after) for each in CATALOGUE]
    return len(data) / _best(lambda: [sum(1 for _ in p.finditer(data)) for p in patterns], 1) / 1e6


def _as_re(context: str, gap: int, pattern: str, after: str) -> re.Pattern[bytes]:
    between = rf"[^\n]{{0,{gap}}}?" if gap else ""
    return re.compile(f"{context}{between}(?:{pattern}){after}".encode())


def _stream(scanner: Scanner, data: bytes) -> None:
    masker = BytesStreamMasker(scanner, Replacer())
    for at in range(0, len(data), 65_536):
        masker.feed(data[at : at + 65_536])
    masker.close()


def _pieces(scanner: Scanner, text: str) -> None:
    replacer = Replacer()
    for at in range(0, len(text), 4_096):
        mask_text(text[at : at + 4_096], scanner, replacer)


def _best(work: Callable[[], object], runs: int) -> float:
    best = float("inf")
    for _ in range(runs):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


# --- streamed tokens ---------------------------------------------------------------------------------------


def llm_tokens(count: int, seed: int = 3) -> Iterator[str]:
    """Pieces the size of a model's tokens: mostly prose and code, one line in forty with a value."""
    rng = random.Random(seed)
    while count > 0:
        entity = rng.choice(ENTITIES)
        if rng.random() < 1 / 40:
            line = next(corpus.positives(entity, 1, seed=rng.randrange(10**9))).text
        else:
            line = next(corpus.negatives("NPM_TOKEN", 1, seed=rng.randrange(10**9)))
        for token in re.findall(r"\s?[^\W\d]{1,6}|\s?\d{1,3}|\s|[^\w\s]|\w", line + "\n"):
            count -= 1
            yield token


def streaming(count: int) -> str:
    rows: list[tuple[str, ...]] = [("added per streamed token, every detector", "p50 ms", "p99 ms", "max ms")]
    for name, sets in (("secrets", ("secrets",)), ("secrets, pii, financial", tuple(SETS))):
        spent = _token_times(scanner_for(frozenset(sets)), list(llm_tokens(count)))
        rows.append((name, *(f"{1e3 * spent[int(share * (len(spent) - 1))]:.3f}" for share in (0.5, 0.99, 1))))
    return _table(rows) + f"\nTarget: p99 at most {TARGET_TOKEN_MS} ms.\n"


def _token_times(scanner: Scanner, tokens: Sequence[str]) -> list[float]:
    masker = StreamMasker(scanner, Replacer())
    spent: list[float] = []
    for token in tokens:
        start = time.perf_counter()
        masker.feed(token)
        spent.append(time.perf_counter() - start)
    masker.close()
    return sorted(spent)


# --- memory ------------------------------------------------------------------------------------------------


def memory(size: int) -> str:
    """The most that is allocated while `size` bytes stream through in 64 KiB parts."""
    part = clean_text(65_536)[:65_536].encode()
    masker = BytesStreamMasker(scanner_for(frozenset(SETS)), Replacer())
    masker.feed(part)
    tracemalloc.start()
    for _ in range(size // len(part)):
        masker.feed(part)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    masker.close()
    return _table([("body streamed", "peak allocated"), (f"{size / 1e6:.0f} MB", f"{peak / 1e6:.2f} MB")])


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    head, *body = rows
    rule = tuple("---" if column == 0 else "---:" for column in range(len(head)))
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *body)) + "\n"


if __name__ == "__main__":
    main()
