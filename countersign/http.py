"""Requests to an instance's HTTP fronts, with the standard library: a command starts at once and needs no loop."""

import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from countersign.errors import CommandError

#: A reply takes at most this long; approvals answer at once, queries within the reader's own limits.
TIMEOUT = 60.0
#: An error's body is shown in one line: more of it than this is noise.
ERROR_BYTES = 64 * 1024


@dataclass(frozen=True)
class Reply:
    """Status, and the open body for the caller to read."""

    status: int
    body: Any

    def read(self, limit: int = -1) -> bytes:
        """The body, or its first `limit` bytes. Raises CommandError when the connection breaks."""
        try:
            content: bytes = self.body.read(limit) if limit >= 0 else self.body.read()
        except (OSError, http.client.HTTPException) as error:
            raise CommandError(f"the reply broke off: {error}") from None
        return content


class _NoRedirects(HTTPRedirectHandler):
    """A redirect would carry the token to wherever it points."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def send(
    url: str, headers: Mapping[str, str], *, body: bytes | None = None, tls: ssl.SSLContext | None = None
) -> Reply:
    """POST when there is a body, else GET. Raises CommandError when nobody answers; any status is a Reply."""
    request = Request(url, data=body, headers=dict(headers))  # noqa: S310 - http or https: countersign/where.py
    opener = build_opener(_NoRedirects, HTTPSHandler(context=tls))
    try:
        reply = opener.open(request, timeout=TIMEOUT)
    except HTTPError as error:
        return Reply(error.code, error)
    except (URLError, OSError, http.client.HTTPException) as error:
        raise CommandError(f"{url}: {getattr(error, 'reason', error)}") from None
    return Reply(reply.status, reply)


def json_body(reply: Reply) -> dict[str, Any]:
    """The reply's JSON object. Raises CommandError with the server's own words unless the status is 2xx."""
    content = reply.read()
    try:
        body = json.loads(content)
    except ValueError:
        body = None
    if 200 <= reply.status < 300 and isinstance(body, dict):
        return body
    raise CommandError(problem(reply.status, body))


def problem(status: int, body: Any) -> str:
    """What a problem+json (RFC 9457) says, as one sentence with its status."""
    said = body if isinstance(body, dict) else {}
    title, detail = said.get("title"), said.get("detail")
    words = ": ".join(str(part) for part in (title, detail) if part)
    return f"{status} {words or http.client.responses.get(status, '')}".strip()
