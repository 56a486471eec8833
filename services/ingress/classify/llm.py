"""Model providers' HTTP APIs: which call it is, and the facts policy may judge by (model, messages, tools, stream).

Known by path and shape of the body, not by host: any OpenAI-compatible server has the same paths.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from schemas.base import Json
from services.ingress.content import Content

#: Last segments of the path to the action (OpenAI API reference; Anthropic API reference, Messages; Ollama API).
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
    ("api", "chat"): "llm.chat",
    ("api", "generate"): "llm.completions",
    ("api", "embed"): "llm.embeddings",
}
#: What a path of Gemini's asks of the model it names: `/v1beta/models/gemini-2.5-pro:generateContent`.
_GEMINI = {
    "generatecontent": "llm.chat",
    "streamgeneratecontent": "llm.chat",
    "embedcontent": "llm.embeddings",
    "batchembedcontents": "llm.embeddings",
    "counttokens": "llm.tokens",
}
Look = Callable[[str], str]
"""Makes of a name what may be recorded."""

#: Paths whose call is remembered: at most 8 MB of them.
MAX_KNOWN_PATHS = 1024
#: Longest name of a model, tool or role that is kept, in characters.
MAX_NAME = 200
#: Most tool names kept as a fact.
MAX_TOOLS = 128


@dataclass(frozen=True)
class LlmCall:
    """A call to a model; with nothing but its action where its body could not be read."""

    action: str
    model: str = ""
    attributes: Json = field(default_factory=dict)
    #: Whether its facts are missing, though a provider would find them in the body.
    unread: bool = False


def classify(method: str, path: str, content: Content, look: Look = str) -> LlmCall | None:
    """The call, or None when this is no model provider's API. Only where the path is one's is the body parsed.

    Names among the facts are what `look` makes of them: an agent may put anything there.
    """
    call = _call_of(path) if method == "POST" else None
    if call is None:
        return None
    body = content.json
    if isinstance(body, dict):
        named = call.model or body.get("model")
        if not isinstance(named, str):
            return None
        model = _name(named, look)
        facts = _facts(body, look)
        return LlmCall(call.action, model, {"model": model, **facts, "stream": facts["stream"] or call.streams})
    # A rule about models must not be escaped by a body that is too long or odd for us to read, and not for the model.
    return LlmCall(call.action, unread=True) if content.raw and body is None and call.certain else None


class _Call(NamedTuple):
    """What a path says: the action, and whether it is so without looking at the body."""

    action: str
    certain: bool
    #: Gemini's paths name the model, and say whether the answer streams.
    model: str = ""
    streams: bool = False


@lru_cache(MAX_KNOWN_PATHS)
def _call_of(path: str) -> _Call | None:
    model, _, method = re.sub("%3a", ":", path.rpartition("/")[2], flags=re.IGNORECASE).rpartition(":")
    if model and (action := _GEMINI.get(method.lower())):
        return _Call(action, True, model, method.lower().startswith("stream"))
    segments = tuple(segment for segment in path.lower().split("/") if segment)
    for length in (2, 1):
        if action := _ACTIONS.get(segments[-length:]):
            before = segments[:-length]
            certain = length == 2 and segments[-2] != "api"
            return _Call(action, certain or not before or "v1" in before[-1:] or "openai" in before)
    return None


def _name(text: Any, look: Look) -> str:
    """A lone surrogate, which JSON can spell and the record cannot, becomes a question mark."""
    return look(str(text).encode("utf-8", "replace").decode())[:MAX_NAME]


def _facts(body: dict[str, Any], look: Look) -> Json:
    messages = body.get("messages", body.get("input", body.get("contents", [])))
    facts: Json = {"stream": body.get("stream") is True, "tools": _tools(body, look)}
    if isinstance(messages, list):
        facts["messages"] = len(messages)
        roles = {str(m["role"]) for m in messages if isinstance(m, dict) and "role" in m}
        facts["roles"] = sorted(_name(role, look) for role in roles)[:20]
    for limit in ("max_tokens", "max_completion_tokens", "max_output_tokens"):
        if isinstance(body.get(limit), int):
            facts["max_tokens"] = body[limit]
    return facts


def _tools(body: dict[str, Any], look: Look) -> list[str]:
    tools = body.get("tools")
    if not isinstance(tools, list):
        return []
    return [_name(_tool_name(tool), look) for tool in tools[:MAX_TOOLS] if isinstance(tool, dict)]


def _tool_name(tool: dict[str, Any]) -> str:
    function = tool.get("function")
    named = function if isinstance(function, dict) else tool
    return str(named.get("name") or tool.get("type") or "")
