"""Read one request of the ClickHouse HTTP interface. Counterpart: any ClickHouse client.

What may arrive where is ClickHouse's documentation, "HTTP interface": the query in the query string, in the body,
or split over both; parameters as `param_<name>`; settings as anything else; credentials in one of four places.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web
from multidict import MultiMapping

from services.recorder.reader_engine import ReaderQuery
from services.recorder.sql_guard import Refused

_NOT_IMPLEMENTED: Final = 48
_AUTHENTICATION_FAILED: Final = 516

# Of the transport, not of the engine: read here, or without meaning for a result that is sent whole.
_TRANSPORT: Final = frozenset(
    """
    query database default_format query_id quota_key user password role stacktrace
    session_id session_timeout session_check close_session
    wait_end_of_query buffer_size cancel_http_readonly_queries_on_client_close add_http_cors_header
    enable_http_compression http_zlib_compression_level compress decompress client_protocol_version
    send_progress_in_http_headers http_headers_progress_interval_ms http_write_exception_in_output_format
    """.split()  # noqa: SIM905  (reads better as text)
)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a reader showed: a bearer token, or a user name with a password. Never logged."""

    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)

    def __bool__(self) -> bool:
        return bool(self.token or self.password)


def read_credentials(request: web.Request) -> Credentials:
    """Find the credentials: Authorization, X-ClickHouse-User and -Key, or `user` and `password`.

    Raises:
        Refused: with code 516, if they stand in two places or cannot be read; which one counts is no guess of ours.
    """
    places = (_authorization(request), _headers(request), _query_string(request))
    found = [credentials for credentials in places if credentials is not None]
    if len(found) > 1:
        raise Refused("Invalid authentication: credentials in more than one place", _AUTHENTICATION_FAILED)
    return found[0] if found else Credentials()


async def read_query(request: web.Request) -> ReaderQuery:
    """Put the query together. Raises Refused for what an embedded engine cannot do, web.HTTPException for size."""
    arguments: dict[str, str] = dict(request.query)
    if _flag(arguments, "compress") or _flag(arguments, "decompress"):
        message = "compress=1 is ClickHouse's own framing; ask for gzip with enable_http_compression=1"
        raise Refused(message, _NOT_IMPLEMENTED)
    text = await _body(request, arguments)
    sql = "\n".join(part for part in (arguments.get("query", ""), text) if part)
    if not sql.isprintable() and _has_surrogates(sql):
        raise Refused("the query is not UTF-8")
    return ReaderQuery(
        sql=sql,
        default_format=_default_format(request, arguments),
        database=arguments.get("database") or str(request.headers.get("X-ClickHouse-Database", "")),
        parameters={name[6:]: value for name, value in arguments.items() if name.startswith("param_")},
        settings=_settings(arguments),
        protocol_revision=_revision(arguments),
    )


def _has_surrogates(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _settings(arguments: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value for name, value in arguments.items() if name not in _TRANSPORT and not name.startswith("param_")
    }


def _default_format(request: web.Request, arguments: Mapping[str, str]) -> str:
    header = request.headers.get("X-ClickHouse-Format")
    return header or arguments.get("default_format") or "TabSeparated"


async def _body(request: web.Request, arguments: dict[str, str]) -> str:
    """The body's text; of a form, its fields join the query string's (large parameters are sent so)."""
    if request.content_type == "multipart/form-data":
        form = await request.post()
        if any(not isinstance(value, str) for value in form.values()):
            raise Refused("external tables are not open to readers", _NOT_IMPLEMENTED)
        text = str(form.get("query", ""))
        arguments.update({name: str(value) for name, value in form.items() if name.startswith("param_")})
        return text
    try:
        return (await request.read()).decode()
    except UnicodeDecodeError:
        raise Refused("the query is not UTF-8") from None


def _revision(arguments: Mapping[str, str]) -> int:
    text = arguments.get("client_protocol_version", "0")
    return int(text) if text.isdecimal() and len(text) < 10 else 0


def _flag(arguments: Mapping[str, str], name: str) -> bool:
    return arguments.get(name, "0") not in ("0", "false", "")


def _authorization(request: web.Request) -> Credentials | None:
    header = request.headers.get("Authorization")
    if header is None:
        return None
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "bearer":
        return Credentials(token=value.strip())
    if scheme.lower() == "basic":
        try:
            user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise Refused("Invalid authentication: Basic cannot be decoded", _AUTHENTICATION_FAILED) from None
        return Credentials(user, password)
    raise Refused("Invalid authentication: neither Basic nor Bearer", _AUTHENTICATION_FAILED)


def _headers(request: web.Request) -> Credentials | None:
    return _pair(request.headers, "X-ClickHouse-User", "X-ClickHouse-Key")


def _query_string(request: web.Request) -> Credentials | None:
    return _pair(request.query, "user", "password")


def _pair(source: MultiMapping[str], user: str, password: str) -> Credentials | None:
    if user not in source and password not in source:
        return None
    return Credentials(source.get(user, ""), source.get(password, ""))
