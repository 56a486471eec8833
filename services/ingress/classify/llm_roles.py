"""Who says what in a request to a model: its parts by role, for findings that policy judges by.

    OpenAI Chat, Anthropic     system, messages[].role
    OpenAI Responses           instructions, input; items without a role are the model's calls and the tools' outputs
    Completions, Embeddings    prompt, input
    Gemini                     systemInstruction, contents[].role
    Ollama                     system, prompt, messages[].role

Parts are whole JSON values, so that keys, numbers and a tool call's arguments are looked at as they are in the body.
"""

from collections.abc import Iterator
from typing import Any

#: Members that instruct the model.
_SYSTEM = ("system", "instructions", "systemInstruction", "system_instruction")
#: Members that hold what was said, as a text or as a list of messages.
_SAID = ("messages", "input", "prompt", "contents")
#: Longest role kept as a name.
_ROLE_LIMIT = 40


def parts_by_role(body: Any) -> Iterator[tuple[str, Any]]:
    """Every part with the role that says it. What is said by nobody (tools, metadata) is not among them."""
    if not isinstance(body, dict):
        return
    for name in _SYSTEM:
        if name in body:
            yield "system", {name: body[name]}
    for name in _SAID:
        said = body.get(name)
        if isinstance(said, list):
            yield from ((_role(message), message) for message in said)
        elif said is not None:
            yield _role(said), {name: said}


def _role(message: Any) -> str:
    if not isinstance(message, dict):
        return "user"
    if isinstance(message.get("role"), str):
        return str(message["role"])[:_ROLE_LIMIT]
    kind = str(message.get("type", ""))
    if kind:
        return "tool" if kind.endswith("_output") else "assistant"
    return "user"
