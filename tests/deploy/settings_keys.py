"""Every key that may stand in countersign.yaml, with its default as a person would write it."""

from collections.abc import Iterator
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from services.runtime.settings import Address, Secret, Settings
from services.runtime.settings.connectors import PostgresConnector
from services.runtime.settings.values import seconds, size


def every_key() -> set[tuple[str, str]]:
    """Those of the file, and what each protocol's connectors have of their own."""
    return {*keys(), *keys(PostgresConnector, "connectors.*.")}


def keys(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[tuple[str, str]]:
    """`("listen.http", "127.0.0.1:8080")`, `("connectors.*.upstream", "required")`, …"""
    for name, field in model.model_fields.items():
        path = f"{prefix}{field.alias or name}"
        inner, suffix = _section(field.annotation)
        if inner is None:
            yield path, _shown(field.get_default(call_default_factory=True), field.metadata)
            continue
        if field.is_required() or _optional(field.annotation):
            yield path, "required" if field.is_required() else _shown(field.default, [])
        elif suffix:
            yield path, _shown(field.get_default(call_default_factory=True), [])
        yield from keys(inner, f"{path}{suffix}.")


def _section(annotation: Any) -> tuple[type[BaseModel] | None, str]:
    """The section a field holds, and how a list or mapping of them is written."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation is not Address:
        return annotation, ""
    arguments = get_args(annotation)
    suffix = {tuple: "[]", dict: ".*"}.get(get_origin(annotation), "")
    for argument in arguments:
        inner, more = _section(argument)
        if inner is not None:
            return inner, suffix + more
    return None, ""


def _optional(annotation: Any) -> bool:
    return type(None) in get_args(annotation)


def _shown(default: Any, metadata: list[Any]) -> str:
    validators = {getattr(item, "func", None) for item in metadata}
    if default is PydanticUndefined:
        return "required"
    if default is None or default in ("", (), {}):
        return "none"
    if seconds in validators:
        return _duration(default)
    if size in validators:
        return _size(default)
    if isinstance(default, float):
        return f"{default:g}"
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, Secret):
        return default.template
    if isinstance(default, tuple):
        return f"[{', '.join(default)}]"
    return str(default)


def _duration(value: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        if (value >= 2 * length and value % length == 0) or (unit == "s" and value % 1 == 0):
            return f"{value / length:g}{unit}"
    return f"{value * 1000:g}ms"


def _size(value: int) -> str:
    for unit, length in (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024)):
        if value % length == 0:
            return f"{value // length}{unit}"
    return str(value)
