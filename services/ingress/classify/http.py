"""An HTTP request as an Operation: `http.<method>`, or the model provider's call that it is (classify/llm.py)."""

from aiohttp import web

from schemas.base import Json
from schemas.operations import Operation
from services.ingress.classify import llm
from services.ingress.classify.digest import digest
from services.ingress.content import Content
from services.ingress.protocols.http.target import Target


def action_of(request: web.BaseRequest) -> str:
    """`http.websocket` for an upgrade (RFC 6455, section 4.1), else `http.<method>`."""
    upgrade = request.headers.get("Upgrade", "").strip().lower()
    return "http.websocket" if upgrade == "websocket" else f"http.{request.method.lower()}"


def operation(
    request: web.BaseRequest,
    target: Target,
    content: Content,
    *,
    statement: str,
    path: str,
    query: dict[str, str],
    key: bytes,
) -> Operation:
    """Build it from what was read; `statement`, `path` and `query` come masked."""
    action = action_of(request)
    call = llm.classify(request.method, target.path, content.json)
    attributes: Json = {"media_type": content.media.name} if content.raw else {}
    if content.opaque:
        attributes["opaque"] = True
    if call:
        attributes |= call.attributes
    return Operation(
        action=call.action if call else action,
        resources=(path, call.model) if call else (path,),
        statement=statement,
        method=request.method,
        path=path,
        query=query,
        attributes=attributes,
        size=max(len(content.raw), request.content_length or 0),
        complete=content.complete and not content.opaque,
        digest=digest(key, _canonical(action, target, content)),
    )


def _canonical(action: str, target: Target, content: Content) -> tuple[str | bytes, ...]:
    """What an approval covers: nothing that changes the request's meaning at the upstream is left out."""
    return (action, target.connector, target.path, target.query, content.media.name, content.coding, content.raw)
