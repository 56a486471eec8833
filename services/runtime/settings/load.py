"""From `countersign.yaml` to `Settings`, or to one line that names file, place and remedy.

Secrets are not read here: each service reveals its own, at start, through `reveal` (G3: only ingress ever reads a
connector's credential).
"""

import difflib
from pathlib import Path as FilePath
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from services.runtime.settings.model import Settings
from services.runtime.settings.values import Secret, SecretMissing
from services.runtime.settings.yaml_source import Path, Source, SourceError, read


class SettingsError(Exception):
    """The settings cannot be used; its text is one line for a person."""


def load(file: FilePath) -> Settings:
    """Read and check the settings file. Raises SettingsError."""
    try:
        return from_source(read(file))
    except SourceError as error:
        raise SettingsError(str(error)) from None


def from_source(source: Source) -> Settings:
    """Check parsed settings. Raises SourceError for the first thing that is wrong."""
    if not isinstance(source.data, dict):
        raise source.error((), "expected keys such as `connectors:`; see docs/operators.md")
    try:
        return Settings.model_validate(source.data)
    except ValidationError as error:
        raise _explain(source, error.errors(include_url=False)[0]) from None


def reveal(secret: Secret, place: str) -> str:
    """The secret's text. Raises SettingsError that names `place`, never a value."""
    try:
        return secret.reveal()
    except SecretMissing as error:
        raise SettingsError(f"countersign.yaml: {place}: {error}") from None


def _explain(source: Source, details: ErrorDetails) -> SourceError:
    path = _document_path(source.data, details["loc"])
    dotted = ".".join(str(part) for part in path) or "the file"
    match details["type"]:
        case "extra_forbidden":
            return source.error(path, f"{dotted}: unknown key{_suggestion(path)}", key=True)
        case "missing":
            return source.error(path[:-1], f"{dotted}: this key is required; add it")
        case _:
            message = details["msg"].removeprefix("Value error, ")
            return source.error(path, f"{dotted}: {message}")


def _document_path(data: Any, location: Path) -> Path:
    """Pydantic's location without the parts that are not in the document (union tags, `[key]`)."""
    path: list[str | int] = []
    for index, part in enumerate(location):
        inside = isinstance(data, dict) and part in data
        inside = inside or (isinstance(data, list) and isinstance(part, int) and part < len(data))
        if inside:
            data = data[part]
        elif index < len(location) - 1 or part == "[key]":
            continue
        path.append(part)
    return tuple(path)


def _suggestion(path: Path) -> str:
    known = _known_keys(Settings, path[:-1])
    close = difflib.get_close_matches(str(path[-1]), known, n=1)
    if close:
        return f"; did you mean `{close[0]}`?"
    return f"; known here: {', '.join(sorted(known))}" if known else ""


def _known_keys(model: Any, path: Path) -> list[str]:
    """Field names of the model that stands at `path`."""
    for part in path:
        model = _member(model, part)
    found = _models_in(model)
    return [name for each in found for name in each.model_fields]


def _member(annotation: Any, part: str | int) -> Any:
    for model in _models_in(annotation):
        if part in model.model_fields:
            return model.model_fields[str(part)].annotation
    return annotation


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models_in(inner)]
