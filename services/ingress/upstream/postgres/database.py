"""One PostgreSQL connector's upstream: the database, and the role the gateway logs in as."""

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import suppress

import structlog

from schemas.events import Outcome
from schemas.operations import Connector
from services.ingress.channel import Channel
from services.ingress.errors import UpstreamError
from services.ingress.protocols.postgres.codec import backend
from services.ingress.protocols.postgres.codec.framing import Decoder
from services.ingress.protocols.postgres.codec.startup import CancelRequest
from services.ingress.protocols.postgres.codec.violation import ProtocolViolation
from services.ingress.scrubbing import scrub, spellings
from services.ingress.upstream.postgres.connection import PostgresConnection
from services.ingress.upstream.postgres.dial import Dialler, TlsRefused, Way, tls_context
from services.ingress.upstream.postgres.login import Credential, LoginFailed, Refused, Terms, Welcome, login
from services.runtime.settings import reveal
from services.runtime.settings.connectors import PostgresConnector

log = structlog.get_logger(__name__)

#: The server's own words for these are passed on: a client may come back later. (SQLSTATE to code, detail)
_PASSING = {
    "53300": ("upstream_busy", "the database has too many connections"),
    "57P03": ("upstream_starting", "the database is starting up or shutting down"),
}


class PostgresUpstream:
    """Makes connections; each belongs to one session, since a session's settings and transactions are its own."""

    def __init__(self, name: str, settings: PostgresConnector) -> None:
        """Raises SettingsError when a credential or certificate cannot be read."""
        self.name = name
        self.settings = settings
        self.connector = Connector(name=name, protocol="postgres", tags=settings.tags)
        password = settings.credential.password
        place = f"connectors.{name}"
        self._credential = Credential(
            reveal(settings.credential.user, f"{place}.credential.user"),
            None if password is None else reveal(password, f"{place}.credential.password"),
        )
        self._secrets = spellings(() if self._credential.password is None else (self._credential.password,))
        self._dialler = Dialler(settings.upstream, tls_context(settings.upstream, f"{place}.upstream"))

    def __repr__(self) -> str:
        return f"PostgresUpstream({self.name!r})"

    async def connect(self, parameters: Mapping[str, str] | None = None) -> PostgresConnection:
        """A connection as the connector's role, with these startup parameters. Raises UpstreamError."""
        ways = self._dialler.ways
        for way in ways[:-1]:
            with suppress(TlsRefused, ssl.SSLError, Refused):
                return await self._attempt(way, parameters or {}, told=False)
        return await self._attempt(ways[-1], parameters or {}, told=True)

    async def _attempt(self, way: Way, parameters: Mapping[str, str], *, told: bool) -> PostgresConnection:
        """One try. Unless `told`, what makes libpq try another way is raised as it is."""
        limit = self.settings.timeouts.connect
        try:
            async with asyncio.timeout(limit):
                channel = await self._dialler.open(way, limit)
                try:
                    return await self._login(channel, parameters)
                except BaseException:
                    channel.abort()
                    raise
        except (TlsRefused, ssl.SSLError, Refused) as error:
            if told:
                raise self._explain(error) from None
            raise
        except (OSError, EOFError, LoginFailed, ProtocolViolation) as error:
            raise self._explain(error) from None

    async def _login(self, channel: Channel, parameters: Mapping[str, str]) -> PostgresConnection:
        place, tls = self.settings.upstream, channel.tls
        terms = Terms.over(
            trusted=self._dialler.trusts(channel),
            password=self._credential.password is not None,
            required=place.require_auth,
            certificate=tls.getpeercert(binary_form=True) if tls else None,
            binding=place.channel_binding,
        )
        asked = {**parameters, "database": place.database}
        decoder = backend.decoder()
        welcome = await self._converse(channel, decoder, asked, terms)
        return PostgresConnection(
            channel,
            decoder,
            welcome.parameters,
            welcome.status,
            self._secrets,
            lambda: self._cancel(welcome.key, encrypted=channel.encrypted),
        )

    async def _converse(
        self, channel: Channel, decoder: Decoder, parameters: Mapping[str, str], terms: Terms
    ) -> Welcome:
        conversation = login(parameters, self._credential, terms)
        channel.write(next(conversation))
        while True:
            while (item := decoder.next()) is None:
                if not (data := await channel.read()):
                    raise EOFError
                decoder.feed(data)
            try:
                if item.kind == backend.AUTHENTICATION:
                    # SCRAM's key derivation takes milliseconds, or seconds if the server says so: not on the loop.
                    channel.write(await asyncio.to_thread(conversation.send, item))
                else:
                    channel.write(conversation.send(item))
            except StopIteration as done:
                welcome: Welcome = done.value
                return welcome

    async def _cancel(self, key: backend.BackendKeyData | None, *, encrypted: bool) -> None:
        if key is None:
            return
        limit = self.settings.timeouts.connect
        try:
            async with asyncio.timeout(limit):
                channel = await self._dialler.open(Way.TLS if encrypted else Way.CLEAR, limit)
                channel.write(CancelRequest(key.process_id, key.secret).encode())
                # The server closes once the signal is on its way; closing first could lose the request.
                await channel.read()
                await channel.close()
        except (OSError, TlsRefused) as error:
            log.warning("a cancel request could not be passed on", connector=self.name, reason=type(error).__name__)

    def _explain(self, error: BaseException) -> UpstreamError:
        """What the agent is told, in words without address, role or credential; operators find more in the log."""
        match error:
            case Refused(report=report):
                state = report["C"].decode("ascii", "replace")
                said = scrub(report["M"].decode("utf-8", "replace"), self._secrets)
                log.error("the database refused the gateway's login", connector=self.name, sqlstate=state, said=said)
                code, detail = _PASSING.get(state, ("upstream_login", "the database refused the gateway's login"))
                return _bad(code, detail)
            case LoginFailed():
                log.error("no login at the database", connector=self.name, reason=str(error))
                return _bad("upstream_login", str(error))
            case TlsRefused():
                return _bad("upstream_tls", str(error))
            case ssl.SSLCertVerificationError():
                return _bad("upstream_tls", "the database's TLS certificate could not be verified")
            case ssl.SSLError():
                return _bad("upstream_tls", "no TLS connection to the database could be agreed on")
            case TimeoutError():
                return _bad("upstream_timeout", "the database did not answer in time", 504)
            case EOFError() | ConnectionResetError():
                return _bad("upstream_reset", "the database closed the connection before the login was done")
            case ProtocolViolation():
                return _bad(
                    "upstream_garbage", "what is at the database's address does not speak PostgreSQL's protocol"
                )
            case _:
                return _bad("upstream_refused", "the database cannot be reached")


def _bad(code: str, detail: str, status: int = 502) -> UpstreamError:
    return UpstreamError(status, code, detail, Outcome.FAILED)
