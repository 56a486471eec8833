"""A policy file's YAML with what reading it needs: positions for errors, and a list of everything that is wrong.

Counterpart: services/runtime/settings/yaml_source.py parses; `effects.py` and `rules.py` ask for typed values here.
"""

import difflib
from collections.abc import Callable, Collection, Iterable
from typing import Any, TypeVar

import yaml

from services.policy.analysis import Problem
from services.policy.position import locate
from services.runtime.settings.values import seconds
from services.runtime.settings.yaml_source import Path, Position, Source, SourceError, parse

T = TypeVar("T")

#: Characters of a policy: it has to fit into one entry of the `policy` bucket with room to spare.
MAX_POLICY = 1024 * 1024
#: Levels of YAML nesting; a policy needs five.
MAX_DEPTH = 20


class PolicyRefused(Exception):
    """A policy that cannot be used; `problems` holds a `file:line:column: message` for each thing that is wrong."""

    def __init__(self, errors: Iterable[SourceError]) -> None:
        self.errors = sorted(errors, key=_place)
        self.problems = [str(error) for error in self.errors]
        super().__init__("\n".join(self.problems))


def _place(error: SourceError) -> tuple[int, int]:
    return (error.position.line, error.position.column) if error.position else (0, 0)


class Document:
    """One parsed file, and the errors found in it so far."""

    def __init__(self, text: str, file: str) -> None:
        """Raises PolicyRefused when it is not YAML, or YAML that has no place in a policy."""
        self.text = text
        self.errors: list[SourceError] = []
        try:
            _refuse_oddities(text, file)
            self.source: Source = parse(text, file)
        except SourceError as error:
            raise PolicyRefused([error]) from None

    def wrong(self, path: Path, message: str, *, key: bool = False) -> None:
        """Note what is wrong at `path`."""
        self.errors.append(self.source.error(path, message, key=key))

    def wrong_inside(self, path: Path, value: str, problem: Problem) -> None:
        """Note what is wrong at a character of the scalar at `path`."""
        start = self.source.at(path) or Position(1, 1)
        position = locate(self.text, start, value, problem.offset)
        self.errors.append(SourceError(self.source.file, position, problem.message))

    def mapping(self, path: Path, value: Any, known: Collection[str], what: str) -> dict[str, Any]:
        """A mapping with only known keys; whatever else stands there is noted and left out."""
        if not isinstance(value, dict):
            self.wrong(path, f"{what} holds keys such as `{next(iter(known))}: …`")
            return {}
        for key in value:
            if key not in known:
                self.wrong((*path, str(key)), f"unknown key `{key}`{suggest(str(key), known)}", key=True)
        return {key: inside for key, inside in value.items() if key in known}

    def texts(self, path: Path, value: Any, what: str, check: Callable[[str], str | None]) -> tuple[str, ...]:
        """A list of texts, each passing `check`, which says what is wrong with one."""
        if not isinstance(value, list):
            self.wrong(
                path, f"write a list of {what}, such as [{value}]" if isinstance(value, str) else f"write {what}"
            )
            return ()
        found = []
        for index, each in enumerate(value):
            problem = check(each) if isinstance(each, str) and each else f"write {what} as text"
            if problem:
                self.wrong((*path, index), problem)
            else:
                found.append(each)
        return tuple(dict.fromkeys(found))

    def choice(self, path: Path, value: Any, choices: Collection[str], default: Any) -> Any:
        """One of a few words."""
        if isinstance(value, str) and value in choices:
            return value
        self.wrong(path, f"write one of {', '.join(choices)}")
        return default

    def number(self, path: Path, value: Any, least: int, most: int) -> int | None:
        """A whole number within bounds."""
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return value
        self.wrong(path, f"write a whole number from {least} to {most}")
        return None

    def duration(self, path: Path, value: Any, most: float) -> float | None:
        """A duration in seconds, above zero and at most `most`."""
        try:
            found = seconds(value)
        except ValueError as error:
            self.wrong(path, str(error))
            return None
        if 0 < found <= most:
            return found
        self.wrong(path, f"write a duration above zero and at most {most / 86400:g}d")
        return None


def suggest(name: str, known: Collection[str]) -> str:
    """`; did you mean …?`, or what there is."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean `{close[0]}`?" if close else f"; known here: {', '.join(known)}"


def _refuse_oddities(text: str, file: str) -> None:
    """Refuse what makes a small file large (aliases) or its reader recurse without end."""
    if len(text) > MAX_POLICY:
        raise SourceError(file, None, f"a policy has at most {MAX_POLICY} characters; split it by connector")
    depth = 0
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            mark = event.start_mark
            position = Position(mark.line + 1, mark.column + 1) if mark else None
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent):
                raise SourceError(file, position, "YAML aliases are not used in a policy; write the value out")
            if depth > MAX_DEPTH:
                raise SourceError(file, position, "nested too deeply for a policy")
    except yaml.YAMLError:
        return  # yaml_source words it
