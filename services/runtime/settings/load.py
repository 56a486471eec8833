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
        raise _explain(source, error.errors(include_url=False)) from None


def reveal(secret: Secret, place: str) -> str:
    """The secret's text. Raises SettingsError that names `place`, never a value."""
    try:
        return secret.reveal()
    except SecretMissing as error:
        raise SettingsError(f"countersign.yaml: {place}: {error}") from None


def _explain(source: Source, errors: list[ErrorDetails]) -> SourceError:
    """The first thing that is wrong; where several kinds of value may stand, what each would take."""
    # A misspelt key is both unknown and missing: only the first tells the remedy.
    details = next((each for each in errors if each["type"] == "extra_forbidden"), errors[0])
    path = _document_path(source.data, details["loc"], details["type"])
    dotted = ".".join(str(part) for part in path) or "the file"
    match details["type"]:
        case "extra_forbidden":
            return source.error(path, f"{dotted}: unknown key{_suggestion(path)}", key=True)
        case "missing":
            return source.error(path[:-1], f"{dotted}: this key is required; add it")
        case _:
            here = [each for each in errors if _document_path(source.data, each["loc"], each["type"]) == path]
            remedies = dict.fromkeys(_remedy(each) for each in here)
            return source.error(path, f"{dotted}: {', or '.join(remedies)}")


#: Pydantic's error types in the words of somebody who writes YAML.
_REMEDIES = {
    "model_type": "write a mapping, such as `{key: value}`",
    "dict_type": "write a mapping, such as `{key: value}`",
    "tuple_type": "write a list, such as `[one, two]`",
    "string_type": "write text; numbers, dates and true or false need quotation marks",
    "path_type": "write the path of a file",
    "string_pattern_mismatch": "use up to 63 lower-case letters, digits, `-` and `_`, a letter or digit first",
}


def _remedy(details: ErrorDetails) -> str:
    if details["type"] == "literal_error":
        return f"write {details['ctx']['expected']}"
    return _REMEDIES.get(details["type"]) or details["msg"].removeprefix("Value error, ")


def _document_path(data: Any, location: Path, kind: str) -> Path:
    """Pydantic's location without the parts that are not in the document (union members, `[key]`).

    The key that is missing is not in the document either; it is kept.
    """
    path: list[str | int] = []
    for index, part in enumerate(location):
        inside = isinstance(data, dict) and part in data
        inside = inside or (isinstance(data, list) and isinstance(part, int) and part < len(data))
        if inside:
            data = data[part]
        elif kind in ("missing", "extra_forbidden") and index == len(location) - 1:
            pass
        else:
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
    return [field.alias or name for each in found for name, field in each.model_fields.items()]


def _member(annotation: Any, part: str | int) -> Any:
    for model in _models_in(annotation):
        if part in model.model_fields:
            return model.model_fields[str(part)].annotation
    return annotation


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models_in(inner)]
