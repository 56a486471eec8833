"""What an event means for the texts that are streamed: the model that each provider's module fills in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

#: From the root of an event to one of its values.
Path = tuple[str | int, ...]
#: Names a text within a stream; a prefix of it names all texts of a choice, an item or a block.
Key = tuple[str | int, ...]
Json = dict[str, Any]

#: Members that hold text for people, and those that hold JSON as text (a tool call's arguments).
TEXTS = frozenset(
    {
        "content",
        "text",
        "refusal",
        "reasoning",
        "reasoning_content",
        "thinking",
        "transcript",
        "summary",
        "output_text",
        "code",
        "value",
    }
)
DOCUMENTS = frozenset({"arguments", "partial_json", "input"})
#: Strings of a delta that are no texts: names, states, and what is encoded or sealed.
NO_TEXTS = frozenset(
    (
        *("role", "id", "type", "name", "object", "model", "status", "format", "url", "service_tier"),
        *("file_id", "call_id", "item_id", "tool_call_id", "stop_reason", "stop_sequence", "finish_reason"),
        *("data", "signature", "encrypted_content", "obfuscation"),
    )
)
#: Members that spell a text out token by token: OpenAI's and compatible servers', and Gemini's.
TOKEN_BY_TOKEN = frozenset({"logprobs", "logprobsResult"})
#: How deep below an event its texts are looked for.
_DEPTH = 12


class Fragment(NamedTuple):
    """A part of a streamed text: which text, and where in the event it stands."""

    key: Key
    path: Path
    text: str


class Leaf(NamedTuple):
    """A text found in an event; `ident` is its path with list members named by their `index`."""

    path: Path
    ident: Key
    text: str


@dataclass
class Reading:
    """What one event carries."""

    fragments: list[Fragment] = field(default_factory=list)
    #: Texts that end with this event, by key or prefix.
    ends: list[Key] = field(default_factory=list)
    #: Texts that stand whole in the event, often repeating what was streamed.
    wholes: list[Leaf] = field(default_factory=list)
    #: Values that repeat a fragment token by token, with what to put instead while it is not passed on as it is.
    repeats: list[tuple[Path, Any]] = field(default_factory=list)
    #: Makes the event that carries on one of the texts, from this event.
    carry: Callable[[Fragment, str], Json] | None = None


def is_document(name: str | int) -> bool:
    """Whether the text of this member is JSON."""
    return name in DOCUMENTS


def leaves(node: Any, path: Path = (), ident: Key = (), depth: int = _DEPTH) -> Iterator[Leaf]:
    """The texts below `node`, by the names of their members."""
    if depth == 0:
        return
    if isinstance(node, dict):
        for name, value in node.items():
            if isinstance(value, str):
                if name in TEXTS or name in DOCUMENTS:
                    yield Leaf((*path, name), (*ident, name), value)
            elif isinstance(value, dict | list) and name not in TOKEN_BY_TOKEN:
                yield from leaves(value, (*path, name), (*ident, name), depth - 1)
    elif isinstance(node, list):
        for position, value in enumerate(node):
            number = value.get("index", position) if isinstance(value, dict) else position
            named = number if isinstance(number, int) else position
            yield from leaves(value, (*path, position), (*ident, named), depth - 1)


def delta_leaves(delta: Any, path: Path, ident: Key) -> Iterator[Leaf]:
    """The texts of a delta: those known by name, and every string it has that is not known to be something else."""
    yield from leaves(delta, path, ident)
    for name, value in delta.items() if isinstance(delta, dict) else ():
        if isinstance(value, str) and name not in TEXTS and name not in DOCUMENTS and name not in NO_TEXTS:
            yield Leaf((*path, name), (*ident, name), value)


def spelt_out(node: Any, path: Path = (), depth: int = _DEPTH) -> Iterator[tuple[Path, Any]]:
    """Log probabilities below `node`, which say a text again token by token, with what to put in their place."""
    if depth == 0:
        return
    if isinstance(node, dict):
        for name, value in node.items():
            if name in TOKEN_BY_TOKEN:
                if value:
                    yield (*path, name), [] if isinstance(value, list) else None
            elif isinstance(value, dict | list):
                yield from spelt_out(value, (*path, name), depth - 1)
    elif isinstance(node, list):
        for position, value in enumerate(node):
            yield from spelt_out(value, (*path, position), depth - 1)


def only(node: Any, path: Path, text: str) -> Any:
    """`node` with nothing but the text at `path`, and what places it in its list."""
    if not path:
        return text
    if isinstance(node, list):
        return [only(node[int(path[0])], path[1:], text)]
    kept = {name: node[name] for name in ("index",) if name in node} or {
        name: node[name] for name in ("type",) if name in node
    }
    return {**kept, path[0]: only(node[path[0]], path[1:], text)}


def number(value: Any, default: int = 0) -> int:
    """An index as a provider writes it."""
    return value if isinstance(value, int) else default
