"""A small language for "this JSON must look so", with complaints worded and located as Slack words them.

A check is called with a value and its JSON pointer and yields complaints; none means the value is fine.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Check = Callable[[Any, str], Iterator[str]]


def complaint(what: str, pointer: str) -> str:
    return f"[ERROR] {what} [json-pointer:{pointer}]"


def anything(value: Any, pointer: str) -> Iterator[str]:
    """Accepted unseen: parts of Block Kit that the stand-in has no opinion on."""
    yield from ()


def boolean(value: Any, pointer: str) -> Iterator[str]:
    if not isinstance(value, bool):
        yield complaint("must be a boolean", pointer)


def string(maximum: int, *, minimum: int = 0) -> Check:
    """A string of `minimum` to `maximum` characters."""

    def check(value: Any, pointer: str) -> Iterator[str]:
        if not isinstance(value, str):
            yield complaint("must be a string", pointer)
        elif len(value) > maximum:
            yield complaint(f"must be less than {maximum + 1} characters", pointer)
        elif len(value) < minimum:
            yield complaint(f"must be more than {minimum - 1} characters", pointer)

    return check


def integer(minimum: int, maximum: int) -> Check:
    def check(value: Any, pointer: str) -> Iterator[str]:
        if not isinstance(value, int) or isinstance(value, bool):
            yield complaint("must be an integer", pointer)
        elif not minimum <= value <= maximum:
            yield complaint(f"must be between {minimum} and {maximum}", pointer)

    return check


def choice(*allowed: str) -> Check:
    def check(value: Any, pointer: str) -> Iterator[str]:
        if value not in allowed:
            yield complaint(f"must be one of {', '.join(allowed)}", pointer)

    return check


def array(item: Check, maximum: int, *, minimum: int = 0) -> Check:
    def check(value: Any, pointer: str) -> Iterator[str]:
        if not isinstance(value, list):
            yield complaint("must be an array", pointer)
            return
        if len(value) > maximum:
            yield complaint(f"no more than {maximum} items allowed", pointer)
        if len(value) < minimum:
            yield complaint(f"no less than {minimum} items allowed", pointer)
        for index, element in enumerate(value):
            yield from item(element, f"{pointer}/{index}")

    return check


def record(required: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    """An object with exactly these members: an unknown one is an error, as Slack has it."""
    known = {**required, **(optional or {})}

    def check(value: Any, pointer: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield complaint("must be an object", pointer)
            return
        for name in required:
            if name not in value:
                yield complaint(f"missing required field: {name}", pointer)
        for name, member in value.items():
            if name in known:
                yield from known[name](member, f"{pointer}/{name}")
            else:
                yield complaint(f"invalid additional property: {name}", pointer)

    return check


def by_type(kinds: Mapping[str, Check]) -> Check:
    """An object whose `type` member says which check applies."""

    def check(value: Any, pointer: str) -> Iterator[str]:
        kind = value.get("type") if isinstance(value, dict) else None
        if kind is None:
            yield complaint("missing required field: type", pointer)
        elif not isinstance(kind, str) or kind not in kinds:
            yield complaint(f"unsupported type: {kind}", f"{pointer}/type")
        else:
            yield from kinds[kind](value, pointer)

    return check


def either(*checks: Check) -> Check:
    """Any one of `checks` satisfied; otherwise the complaints of the one that came closest."""

    def check(value: Any, pointer: str) -> Iterator[str]:
        yield from min((list(candidate(value, pointer)) for candidate in checks), key=len)

    return check
