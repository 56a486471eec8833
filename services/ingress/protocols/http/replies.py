"""The gateway's own answers: `application/problem+json` (RFC 9457) that LLM SDKs can show as well.

`error {message, type, code}` is what the OpenAI and Anthropic SDKs put into their exceptions; `X-Should-Retry: false`
keeps both from trying a denied call again.
"""

from http import HTTPStatus
from typing import Any

import orjson
from aiohttp import web

from services.ingress.errors import GatewayError

#: Problem types are names, not pages (RFC 9457, section 3.1.1 allows any URI).
TYPE_PREFIX = "urn:countersign:problem:"
OPERATION_FIELD = "Countersign-Operation"
#: People take longer than machines: a caller need not look more often than this (seconds).
ASK_AGAIN = "5"


def problem_body(error: GatewayError, operation_id: str) -> bytes:
    """The JSON of a refusal."""
    body: dict[str, Any] = {
        "type": TYPE_PREFIX + error.code,
        "title": HTTPStatus(error.status).phrase,
        "status": error.status,
        "detail": error.detail,
        "error": {"message": _message(error), "type": "countersign", "code": error.code},
    }
    if operation_id:
        body["operation_id"] = operation_id
    if error.rule:
        body["rule"] = error.rule
    return orjson.dumps(body)


def problem(error: GatewayError, operation_id: str, *, close: bool = False) -> web.Response:
    """A refusal as an HTTP response; with `close`, or an error that closes, it says that nothing follows it.

    A client that is not told (RFC 9112, section 9.6) puts the connection back into its pool and loses a request on it.
    """
    fields = {"Content-Type": "application/problem+json", "Server": "countersign", **error.headers}
    if operation_id:
        fields[OPERATION_FIELD] = operation_id
    if not error.retryable:
        fields["X-Should-Retry"] = "false"
    closing = close or error.close
    if closing:
        fields["Connection"] = "close"
    response = web.Response(status=error.status, body=problem_body(error, operation_id), headers=fields)
    if closing:
        response.force_close()
    return response


def raw_problem(error: GatewayError) -> bytes:
    """A refusal as bytes, for a connection on which no request could be read."""
    body = problem_body(error, "")
    head = (
        f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\n"
        f"Content-Type: application/problem+json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


def accepted(approval_id: str, operation_id: str, reason: str, applied: dict[str, str]) -> web.Response:
    """202 for `Prefer: respond-async` (RFC 7240, section 4.1): who is asked, where to look, how to use the answer."""
    body = {
        "approval_id": approval_id,
        "operation_id": operation_id,
        "state": "requested",
        "reason": reason,
        "detail": f"waiting for approval; then send the same request with Countersign-Approval: {approval_id}",
    }
    fields = {"Content-Type": "application/json", OPERATION_FIELD: operation_id, **where(approval_id), **applied}
    return web.Response(status=202, body=orjson.dumps(body), headers=fields)


def where(approval_id: str) -> dict[str, str]:
    """Fields that say where an open question can be looked at, and when to look again."""
    return {"Location": f"/-/approvals/{approval_id}", "Retry-After": ASK_AGAIN}


def _message(error: GatewayError) -> str:
    return f"{error.detail} (rule: {error.rule})" if error.rule else error.detail
