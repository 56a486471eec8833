"""An HTTP request as an Operation: `http.<method>`, or the model provider's call that it is (classify/llm.py)."""

from collections.abc import Iterator, Sequence

from schemas.base import Json
from schemas.operations import Operation
from services.ingress.classify import llm
from services.ingress.classify.digest import digest
from services.ingress.content import Content
from services.ingress.protocols.http.target import Target


def action_of(method: str, upgrade: str) -> str:
    """`http.websocket` for an upgrade (RFC 6455, section 4.1), else `http.<method>`; `upgrade` is that field, or ''."""
    return "http.websocket" if upgrade.strip().lower() == "websocket" else f"http.{method.lower()}"


def operation(
    method: str,
    target: Target,
    content: Content,
    *,
    upgrade: str,
    size: int,
    statement: str,
    path: str,
    query: dict[str, str],
    content_type: str,
    fields: Sequence[tuple[str, str]],
    key: bytes,
    look: llm.Look = str,
) -> Operation:
    """Build it from what was read; `statement`, `path` and `query` come masked, `size` in bytes as announced.

    `look` masks names that are taken from the body; `content_type` is the whole field, and `fields` the other header
    fields that may change what the request means.
    """
    action = action_of(method, upgrade)
    call = llm.classify(method, target.path, content, look)
    attributes: Json = {"media_type": content.media.name} if content.raw else {}
    if content.opaque:
        attributes["opaque"] = True
    elif not content.complete:  # masked as it comes, where that is all a rule has to do with it
        attributes["streamed"] = True
    if call:
        attributes |= call.attributes
    unread = call is not None and call.unread and not content.media.is_parts
    return Operation(
        action=call.action if call else action,
        resources=(path, call.model) if call and call.model else (path,),
        statement=statement,
        method=method,
        path=path,
        query=query,
        attributes=attributes,
        size=max(len(content.raw), size),
        complete=content.complete and not content.opaque and not unread,
        digest=digest(key, _canonical(action, target, content, content_type, fields)),
    )


def _canonical(
    action: str, target: Target, content: Content, content_type: str, fields: Sequence[tuple[str, str]]
) -> Iterator[str | bytes]:
    """What an approval covers: nothing that changes the request's meaning at the upstream is left out."""
    yield from (action, target.connector, target.path, target.query, content_type, content.coding, content.raw)
    for name, value in fields:
        yield name
        yield value
