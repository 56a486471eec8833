"""Change some values of a JSON text and no other byte of it: numbers, spaces and the order of keys stay."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

import orjson

from services.ingress.masking.errors import MaskingError
from services.ingress.masking.llm_stream.shapes import Path

_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder(strict=False)
Tree = dict[str | int, Any]


def parse(data: bytes) -> tuple[str, Any]:
    """The text, and its value; the value is None when it is not JSON. Raises MaskingError for a key that comes twice.

    Readers differ on which of two equal keys counts, so that one could hide behind the other.
    """
    text = data.decode("utf-8", "surrogateescape")
    try:
        value = orjson.loads(data)
        written = orjson.dumps(value)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return text, _parse_leniently(text)
    # Fewer quotes than came: a member was lost. (`\\\\u0022` may count too many, and the slower way then tells.)
    if data.count(b'"') + data.count(b"\\u0022") != written.count(b'"'):
        return text, _parse_leniently(text)
    return text, value


def _parse_leniently(text: str) -> Any:
    """As Python's clients do: NaN, lone surrogates and control characters are let through."""
    try:
        return json.loads(text, strict=False, object_pairs_hook=_without_twins)
    except (ValueError, RecursionError):
        return None


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MaskingError("an event has a key twice")
    return found


def write(value: Any) -> str:
    """A value as JSON text."""
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:  # a lone surrogate
        return json.dumps(value)


def locate(text: str, paths: Mapping[Path, Any] | list[Path]) -> dict[Path, tuple[int, int]]:
    """Where the values at these paths stand in the JSON text. Raises MaskingError when one is not there."""
    tree: Tree = {}
    for path in paths:
        node = tree
        for step in path[:-1]:
            node = node.setdefault(step, {})
        node[path[-1]] = None
    found: dict[Path, tuple[int, int]] = {}
    try:
        _walk(text, _space(text, 0), tree, (), found)
    except (ValueError, IndexError, RecursionError):
        raise MaskingError("an event could not be rewritten") from None
    if len(found) != len(paths):
        raise MaskingError("an event could not be rewritten")
    return found


def splice(text: str, values: Mapping[Path, str]) -> str:
    """`text` with other JSON in the place of the values at these paths."""
    spots = locate(text, values)
    parts: list[str] = []
    done = 0
    for path in sorted(spots, key=lambda each: spots[each]):
        start, end = spots[path]
        parts += (text[done:start], values[path])
        done = end
    return "".join([*parts, text[done:]])


def _walk(text: str, at: int, tree: Tree | None, path: Path, found: dict[Path, tuple[int, int]]) -> int:
    """Where the value that starts at `at` ends."""
    if tree is None or text[at] not in "{[":
        end = _skip(text, at)
        if tree is None:
            found[path] = (at, end)
        return end
    closing = "}" if text[at] == "{" else "]"
    position = -1
    at = _space(text, at + 1)
    while text[at] != closing:
        position += 1
        step: str | int = position
        if closing == "}":
            step, at = scanstring(text, at + 1, False)
            at = _space(text, _space(text, at) + 1)
        at = _walk(text, at, tree[step], (*path, step), found) if step in tree else _skip(text, at)
        at = _space(text, at)
        if text[at] == ",":
            at = _space(text, at + 1)
    return at + 1


def _skip(text: str, at: int) -> int:
    return _DECODER.raw_decode(text, at)[1]


def _space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at
