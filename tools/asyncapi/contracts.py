"""JSON Schemas of the contracts, with the words that stand in their source: docstrings, and `#:` above a field."""

import ast
import inspect
import re
import sys
from collections.abc import Iterable
from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

REFERENCE = "#/components/schemas/{model}"
_COMMENT = re.compile(r"^\s*#: ?(.*)$")


def schemas(models: Iterable[type[BaseModel]]) -> dict[str, Any]:
    """Name to schema, of these models and of all they consist of."""
    _, found = models_json_schema([(model, "serialization") for model in models], ref_template=REFERENCE)
    definitions: dict[str, Any] = found["$defs"]
    words = _words()
    for name, schema in definitions.items():
        _tidy(schema)
        for field, said in words.get(name, {}).items():
            if field in schema.get("properties", {}):
                schema["properties"][field].setdefault("description", said)
    return dict(sorted(definitions.items()))


def _tidy(schema: dict[str, Any]) -> None:
    """Titles that repeat the field's name are noise; a docstring's line breaks are only for its source."""
    for field in schema.get("properties", {}).values():
        field.pop("title", None)
    if "description" in schema:
        schema["description"] = _prose(schema["description"])


def _prose(text: str) -> str:
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in inspect.cleandoc(text).split("\n\n"))


@cache
def _words() -> dict[str, dict[str, str]]:
    """Class name to field name to comment, over all of `schemas`; a field inherited is told by its base."""
    return {
        model.__name__: {field: said for base in _ours(reversed(model.__mro__)) for field, said in _comments(base)}
        for name, module in sorted(sys.modules.items())
        if name.startswith("schemas.")
        for model in _ours(vars(module).values())
    }


def _ours(values: Iterable[Any]) -> list[type]:
    return [value for value in values if inspect.isclass(value) and value.__module__.startswith("schemas.")]


@cache
def _comments(model: type) -> tuple[tuple[str, str], ...]:
    """A class's fields that have a `#:` comment, with it."""
    lines = inspect.getsource(model).splitlines()
    (node,) = ast.parse("\n".join(lines)).body
    assert isinstance(node, ast.ClassDef)
    fields = [(item.target, item.lineno) for item in node.body if isinstance(item, ast.AnnAssign)]
    told = [(target.id, _above(lines, line - 1)) for target, line in fields if isinstance(target, ast.Name)]
    return tuple((name, said) for name, said in told if said)


def _above(lines: list[str], at: int) -> str:
    said: list[str] = []
    while at > 0 and (found := _COMMENT.match(lines[at - 1])):
        said.insert(0, found[1])
        at -= 1
    return " ".join(said)
