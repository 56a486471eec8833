"""YAML with positions: plain data, and where in the text each value stands.

Counterpart: settings/load.py and services/policy/rules.py turn `Path`s of wrong values into `file:line:column`.
"""

from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

import yaml

#: Keys and indexes from the document's root to a value.
Path = tuple[str | int, ...]

#: Deeper than any settings or policy file; deep enough to tell a mistake from Python's own limit.
MAX_DEPTH = 64
#: Values in one document, aliases counted each time: nine lines of aliases can stand for a billion.
MAX_VALUES = 100_000


@dataclass(frozen=True)
class Position:
    """Line and column, both from 1."""

    line: int
    column: int


class SourceError(Exception):
    """Text that cannot be used, in one line: `file:line:column: message`."""

    def __init__(self, file: str, position: Position | None, message: str) -> None:
        self.file, self.position, self.message = file, position, _one_line(message)
        where = f"{file}:{position.line}:{position.column}" if position else file
        super().__init__(f"{where}: {self.message}")


def _one_line(message: str) -> str:
    """Keys from the file may hold line breaks and what moves a terminal's cursor: shown as escapes."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in message)


@dataclass
class Source:
    """A YAML document: its data and the positions of its keys and values."""

    file: str
    data: Any
    positions: dict[Path, Position] = field(default_factory=dict)
    keys: dict[Path, Position] = field(default_factory=dict)

    def at(self, path: Path) -> Position | None:
        """Position of the value at `path`, else of its nearest parent."""
        for end in range(len(path), -1, -1):
            if found := self.positions.get(path[:end]):
                return found
        return None

    def at_key(self, path: Path) -> Position | None:
        """Position of the key that ends `path`, else of the nearest value."""
        return self.keys.get(path) or self.at(path)

    def error(self, path: Path, message: str, *, key: bool = False) -> SourceError:
        """An error that points at `path`."""
        return SourceError(self.file, self.at_key(path) if key else self.at(path), message)


def read(file: FilePath) -> Source:
    """Read and parse a file. Raises SourceError when it is missing or not YAML."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SourceError(str(file), None, "there is no such file; name another with --config, or create it") from None
    except (OSError, ValueError) as error:  # not UTF-8, or a path with a NUL in it
        raise SourceError(str(file), None, f"cannot be read: {error}") from None
    return parse(text, str(file))


def parse(text: str, file: str = "<text>") -> Source:
    """Parse one YAML document with safe types only. Raises SourceError with the parser's position."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        source = Source(file, None)
        if node is not None:
            _walk(source, node, ())
        source.data = yaml.safe_load(text)
    except RecursionError:
        raise SourceError(file, None, f"nested deeper than {MAX_DEPTH} levels") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        position = Position(mark.line + 1, mark.column + 1) if mark else None
        raise SourceError(file, position, f"not YAML: {error.problem or error}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise SourceError(file, None, f"not YAML: {' '.join(str(error).split())}") from None
    return source


def _walk(source: Source, node: yaml.Node, path: Path) -> None:
    """Note where everything stands. Comes before the data is built: it refuses what would not end."""
    if len(path) > MAX_DEPTH:
        raise SourceError(source.file, _position(node), f"nested deeper than {MAX_DEPTH} levels")
    if len(source.positions) >= MAX_VALUES:
        raise SourceError(source.file, _position(node), f"more than {MAX_VALUES} values")
    source.positions[path] = _position(node)
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            if name in seen:
                raise SourceError(source.file, _position(key), f"the key {name!r} stands here twice")
            seen.add(name)
            source.keys[(*path, name)] = _position(key)
            _walk(source, value, (*path, name))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _walk(source, value, (*path, index))


def _position(node: yaml.Node) -> Position:
    return Position(node.start_mark.line + 1, node.start_mark.column + 1)
