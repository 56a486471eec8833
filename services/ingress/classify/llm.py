"""Model providers' HTTP APIs: which call it is, and the facts policy may judge by (model, messages, tools, stream).

Known by path and shape of the body, not by host: any OpenAI-compatible server has the same paths.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from schemas.base import Json
from services.ingress.content import Content

#: Last segments of the path to the action (OpenAI API reference; Anthropic API reference, Messages).
_ACTIONS = {
    ("chat", "completions"): "llm.chat",
    ("messages",): "llm.chat",
    ("messages", "count_tokens"): "llm.tokens",
    ("responses",): "llm.responses",
    ("completions",): "llm.completions",
    ("embeddings",): "llm.embeddings",
    ("images", "generations"): "llm.images",
    ("audio", "transcriptions"): "llm.audio",
    ("audio", "speech"): "llm.audio",
    ("moderations",): "llm.moderations",
}
#: Paths whose call is remembered: at most 8 MB of them.
MAX_KNOWN_PATHS = 1024
#: Most tool names kept as a fact.
MAX_TOOLS = 128
#: How deep below a message its texts are looked for.
MAX_DEPTH = 16


@dataclass(frozen=True)
class LlmCall:
    """A call to a model."""

    action: str
    model: str = ""
    attributes: Json = field(default_factory=dict)


def classify(method: str, path: str, content: Content) -> LlmCall | None:
    """The call, or None when this is no model provider's API. Only where the path is one's is the body parsed."""
    action = _action_of(path) if method == "POST" else None
    if action is None:
        return None
    body = content.json
    if not isinstance(body, dict) or not isinstance(body.get("model"), str):
        return None
    model = body["model"][:200]
    return LlmCall(action, model, {"model": model, **_facts(body)})


@lru_cache(MAX_KNOWN_PATHS)
def _action_of(path: str) -> str | None:
    segments = tuple(segment for segment in path.lower().split("/") if segment)
    return _ACTIONS.get(segments[-2:]) or _ACTIONS.get(segments[-1:])


def _facts(body: dict[str, Any]) -> Json:
    messages = body.get("messages", body.get("input", []))
    facts: Json = {"stream": body.get("stream") is True, "tools": _tools(body)}
    if isinstance(messages, list):
        facts["messages"] = len(messages)
        facts["roles"] = sorted({str(m["role"])[:40] for m in messages if isinstance(m, dict) and "role" in m})[:20]
    for limit in ("max_tokens", "max_completion_tokens", "max_output_tokens"):
        if isinstance(body.get(limit), int):
            facts["max_tokens"] = body[limit]
    return facts


def _tools(body: dict[str, Any]) -> list[str]:
    tools = body.get("tools")
    if not isinstance(tools, list):
        return []
    return [_tool_name(tool) for tool in tools[:MAX_TOOLS] if isinstance(tool, dict)]


def _tool_name(tool: dict[str, Any]) -> str:
    function = tool.get("function")
    named = function if isinstance(function, dict) else tool
    return str(named.get("name") or tool.get("type") or "")[:200]


def texts_by_role(body: Any) -> Iterator[tuple[str, str]]:
    """Every text of a request to a model with the role that says it, `system` and `tool` included."""
    if not isinstance(body, dict):
        return
    for name in ("system", "instructions"):
        if name in body:
            yield from (("system", text) for text in _texts(body[name]))
    for name in ("messages", "input"):
        messages = body.get(name)
        if isinstance(messages, str):
            yield "user", messages
        for message in messages if isinstance(messages, list) else ():
            yield from ((_role(message), text) for text in _texts(message))


def _role(message: Any) -> str:
    """The Responses API has items without a role: calls are the model's, their outputs the tools'."""
    if not isinstance(message, dict):
        return "user"
    if isinstance(message.get("role"), str):
        return str(message["role"])[:40]
    return "tool" if str(message.get("type", "")).endswith("_output") else "assistant"


def _texts(node: Any, depth: int = MAX_DEPTH) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif depth and isinstance(node, dict | list):
        for value in node.values() if isinstance(node, dict) else node:
            yield from _texts(value, depth - 1)
