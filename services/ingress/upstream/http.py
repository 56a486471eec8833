"""HTTP upstreams: one pool of connections per connector.

A credential is revealed at start, kept here, and put in its place on each request; what the agent sent there was
removed before (protocols/http/headers.py).
"""

import asyncio
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote

import aiohttp
from aiohttp import ClientResponse, ClientSession
from multidict import CIMultiDict
from yarl import URL

from schemas.events import Outcome
from schemas.operations import Connector
from services.ingress.channel import keep_alive
from services.ingress.errors import GatewayError, UpstreamError
from services.ingress.scrubbing import Scrubber, scrub, scrub_bytes, spellings
from services.ingress.upstream.pool import PoolBusy, open_session, paced
from services.runtime.settings import SettingsError, reveal
from services.runtime.settings.connectors import HttpConnector, Inject, UpstreamTls

#: Fields of a reply that hold an address, with a query.
_WITH_ADDRESS = ("Location", "Content-Location")

Body = bytes | AsyncIterator[bytes] | None


@dataclass(frozen=True)
class Credential:
    """What is injected, and where. Its repr holds no value."""

    fields: Mapping[str, str]
    query: Mapping[str, str]
    #: What the fields were made of, where they do not show it.
    parts: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Credential(fields={list(self.fields)}, query={list(self.query)})"

    @classmethod
    def read(cls, inject: Inject | None, place: str) -> "Credential":
        """Reveal a connector's credential. Raises SettingsError."""
        if inject is None:
            return cls({}, {})
        if inject.user is not None and inject.password is not None:
            user, password = reveal(inject.user, f"{place}.user"), reveal(inject.password, f"{place}.password")
            basic = b64encode(f"{user}:{password}".encode()).decode()
            return cls({"Authorization": f"Basic {basic}"}, {}, (password,))
        assert inject.value is not None
        value = _header_value(reveal(inject.value, f"{place}.value"), place)
        return cls({inject.header: value}, {}) if inject.header else cls({}, {inject.query or "": value})

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not come back, in each spelling."""
        return spellings((*self.fields.values(), *self.query.values(), *self.parts))


class Upstream:
    """One HTTP connector's upstream."""

    def __init__(self, name: str, settings: HttpConnector) -> None:
        """Raises SettingsError when a credential or certificate cannot be read."""
        self.settings = settings
        self.connector = Connector(name=name, protocol="http", tags=settings.tags)
        self._credential = Credential.read(settings.inject, f"connectors.{name}.inject")
        self._secrets = self._credential.secrets
        self._secret_bytes = tuple(secret.encode() for secret in self._secrets)
        #: Header fields that are ours to set, in lower case.
        self.injected_fields = frozenset(name.lower() for name in self._credential.fields)
        self._tls = _tls_context(settings.tls, f"connectors.{name}.tls")
        self._session: ClientSession | None = None

    def with_credential(self, query: str) -> str:
        """The query with our parameter in it, and the agent's of that name gone; otherwise as it was sent."""
        if not self._credential.query:
            return query
        ours = (f"{quote(name)}={quote(value, safe='')}" for name, value in self._credential.query.items())
        return "&".join([*self._kept(query), *ours])

    def scrub_fields(self, fields: CIMultiDict[str]) -> CIMultiDict[str]:
        """A reply's fields without our credential, should the upstream repeat it."""
        everything = "\n".join(fields.values())
        if any(secret in everything for secret in self._secrets):
            fields = CIMultiDict((name, scrub(value, self._secrets)) for name, value in fields.items())
        for name in _WITH_ADDRESS:
            if name in fields:
                fields[name] = self._without_credential(fields[name])
        return fields

    def clean(self, data: bytes) -> bytes:
        """A whole message of the upstream without our credential."""
        return scrub_bytes(data, self._secret_bytes)

    def _without_credential(self, address: str) -> str:
        """A redirect that keeps the query would hand the agent our parameter, and the agent would send it back."""
        head, mark, rest = address.partition("?")
        if not mark or not self._credential.query:
            return address
        query, sharp, fragment = rest.partition("#")
        kept = "&".join(self._kept(query))
        return head + (f"?{kept}" if kept else "") + sharp + fragment

    def _kept(self, query: str) -> list[str]:
        """The pairs that are not ours to set."""
        return [pair for pair in query.split("&") if pair and _name_of(pair) not in self._credential.query]

    async def request(self, method: str, path: str, query: str, fields: CIMultiDict[str], body: Body) -> ClientResponse:
        """Send a request, once; the reply, once its head is there, is its caller's to close. Raises UpstreamError.

        A body that is an iterator is sent as it comes, with `fields["Content-Length"]` or else chunked; a GatewayError
        that it raises is raised here.
        """
        fields.update(self._credential.fields)
        query = self.with_credential(query)
        url = URL(f"{self.settings.upstream}{path}" + (f"?{query}" if query else ""), encoded=True)
        try:
            if body is None or isinstance(body, bytes):
                async with asyncio.timeout(self.settings.timeouts.first_byte):
                    return await self._send(method, url, fields, body)
            async with asyncio.timeout(self.settings.timeouts.first_byte) as limit:
                with paced(body, limit, self.settings.timeouts) as pieces:
                    return await self._send(method, url, fields, pieces)
        except (aiohttp.ClientError, TimeoutError, ssl.SSLError, OSError, ValueError, PoolBusy) as error:
            raise explain(error) from error

    async def _send(self, method: str, url: URL, fields: CIMultiDict[str], body: Body) -> ClientResponse:
        return await self._open().request(
            method,
            url,
            headers=fields,
            data=body,
            allow_redirects=False,
            ssl=self._tls,
            server_hostname=self.settings.tls.server_name,
        )

    def arrived(self, reply: ClientResponse) -> bytes | None:
        """The whole body without our credential if it is here already, as most small ones are; else `chunks` has it."""
        content = reply.content
        return self.clean(content.read_nowait()) if content.is_eof() and content.exception() is None else None

    async def chunks(self, reply: ClientResponse) -> AsyncIterator[bytes]:
        """The reply's body as it arrives, not decoded, without our credential.

        Raises UpstreamError when it breaks off or idles.
        """
        idle = self.settings.timeouts.idle
        content, scrubber = reply.content, Scrubber(self._secrets)
        while not content.at_eof():
            try:
                if content.is_eof():  # it has all arrived: no waiting, no timer
                    data = await content.readany()
                else:
                    async with asyncio.timeout(idle):
                        data = await content.readany()
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise explain(error) from error
            if clean := scrubber.feed(data):
                yield clean
        if rest := scrubber.close():
            yield rest

    @asynccontextmanager
    async def websocket(
        self, path: str, query: str, fields: CIMultiDict[str], protocols: tuple[str, ...], max_message: int
    ) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """Open a WebSocket to the upstream. Raises UpstreamError."""
        fields.update(self._credential.fields)
        query = self.with_credential(query)
        url = URL(f"{self.settings.upstream}{path}" + (f"?{query}" if query else ""), encoded=True)
        try:
            async with asyncio.timeout(self.settings.timeouts.first_byte):
                socket = await self._open().ws_connect(
                    url,
                    headers=fields,
                    protocols=protocols,
                    autoping=False,
                    autoclose=False,
                    max_msg_size=max_message,
                    ssl=self._tls,
                    server_hostname=self.settings.tls.server_name,
                )
        except (aiohttp.ClientError, TimeoutError, ssl.SSLError, OSError, ValueError, PoolBusy) as error:
            raise explain(error) from error
        if (connected := socket.get_extra_info("socket")) is not None:
            keep_alive(connected)  # the other side may be silent for long, or be gone
        try:
            yield socket
        finally:
            await socket.close()

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    def _open(self) -> ClientSession:
        if self._session is None:
            self._session = open_session(self.settings)
        return self._session


def explain(error: BaseException) -> GatewayError:
    """What went wrong with an upstream, in words without its address or content."""
    if isinstance(error.__cause__, GatewayError):  # the agent's body, which aiohttp was sending
        return error.__cause__
    match error:
        case PoolBusy():
            return UpstreamError(
                503,
                "upstream_busy",
                "all connections to the upstream are in use",
                headers={"Retry-After": "1"},
                retryable=True,
            )
        case ssl.SSLCertVerificationError():
            return _bad(502, "upstream_tls", "the upstream's TLS certificate could not be verified")
        case aiohttp.ClientSSLError() | ssl.SSLError():
            return _bad(502, "upstream_tls", "no TLS connection to the upstream could be agreed on")
        case aiohttp.ConnectionTimeoutError():
            return _bad(504, "upstream_timeout", "the upstream did not accept a connection in time")
        case TimeoutError():
            return _bad(504, "upstream_timeout", "the upstream did not answer in time")
        case aiohttp.ClientConnectorDNSError():
            return _bad(502, "upstream_unknown", "the upstream's host name could not be resolved")
        case aiohttp.WSServerHandshakeError():
            return _bad(502, "upstream_no_upgrade", f"the upstream refused the upgrade ({error.status})")
        case aiohttp.ClientConnectorError():
            return _bad(502, "upstream_refused", "the upstream refused the connection")
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError() | OSError():
            return _bad(502, "upstream_reset", "the upstream closed the connection before it had answered")
        case aiohttp.ClientPayloadError():
            return _bad(502, "upstream_broken", "the upstream's reply broke off")
        case _:
            return _bad(502, "upstream_garbage", "the upstream did not answer in HTTP")


def _bad(status: int, code: str, detail: str) -> UpstreamError:
    return UpstreamError(status, code, detail, Outcome.FAILED)


def _name_of(pair: str) -> str:
    parsed = parse_qsl(pair, keep_blank_values=True)
    return parsed[0][0] if parsed else ""


def _header_value(value: str, place: str) -> str:
    if any(not " " <= character <= "~" for character in value):
        raise SettingsError(f"countersign.yaml: {place}: the credential holds a character that no HTTP field may hold")
    return value


def _tls_context(tls: UpstreamTls, place: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(tls.ca) if tls.ca else None)
        if tls.cert:
            context.load_cert_chain(tls.cert, tls.key)
    except (OSError, ssl.SSLError) as error:
        reason = getattr(error, "strerror", None) or "not PEM"
        raise SettingsError(f"countersign.yaml: {place}: cannot be used: {reason}") from None
    return context
