"""`python -m services.ingress`: put the parts together, listen, and drain on SIGTERM."""

import asyncio
from dataclasses import dataclass
from functools import partial

import structlog
from aiohttp import web
from nats.aio.client import Client
from nats.js.kv import KeyValue

from schemas import subjects
from schemas.base import utc_now
from services.ingress import liveness
from services.ingress.admission import Admission
from services.ingress.countersigned import Countersigned
from services.ingress.emit import Emitter, new_ingress_id
from services.ingress.gate import Gate
from services.ingress.holding import Holding
from services.ingress.inspection import Inspector
from services.ingress.lasting import Lasting
from services.ingress.limiter import Limiter
from services.ingress.masking.entities import CustomPattern
from services.ingress.masking.errors import MaskingError
from services.ingress.metrics import Metrics
from services.ingress.parts import Parts
from services.ingress.protocols.http import exchange
from services.ingress.protocols.http.connection import Server
from services.ingress.protocols.http.pages import Pages
from services.ingress.protocols.postgres import session
from services.ingress.protocols.postgres.listener import Listener
from services.ingress.refusals import Refusals
from services.ingress.story import Session
from services.ingress.tls import ListenerTls, listener_tls
from services.ingress.upstream.http import Upstream
from services.ingress.upstream.postgres.database import PostgresUpstream
from services.ingress.upstream.postgres.dial import ALPN
from services.ingress.vault import open_vault
from services.runtime import keys
from services.runtime.identity.local import LocalKeys
from services.runtime.identity.verifier import TokenVerifier
from services.runtime.nats.client import address, close, connect
from services.runtime.service import Context, run
from services.runtime.settings import Address, Settings, SettingsError
from services.runtime.settings.connectors import HttpConnector, PostgresConnector

log = structlog.get_logger(__name__)

#: Connections that wait to be accepted.
BACKLOG = 1024


@dataclass
class Ingress:
    """A running ingress."""

    context: Context
    client: Client
    parts: Parts
    verifier: TokenVerifier
    server: Server
    listener: asyncio.Server
    #: Only where a connector needs it.
    postgres: Listener | None
    living: KeyValue

    async def stop(self) -> None:
        """No new connections; what is under way may end; then everything published is acked."""
        drain = self.context.settings.limits.drain
        self.listener.close()
        self.parts.holding.leaving.set()
        self.server.pre_shutdown()
        await asyncio.gather(self.server.end(drain), *([self.postgres.stop(drain)] if self.postgres else ()))
        if not await self.parts.emitter.flush(5):
            log.error("events were left unacked", events=self.parts.emitter.backlog)
        await liveness.withdraw(self.living, self.parts.emitter.ingress)
        for upstream in self.parts.upstreams.values():
            await upstream.close()
        self.parts.aside.close()
        await self.verifier.close()
        await close(self.client)


async def start(context: Context) -> Ingress:
    """Build the parts and listen. Raises SettingsError, OSError."""
    settings = context.settings
    upstreams = {
        name: Upstream(name, connector)
        for name, connector in settings.connectors.items()
        if isinstance(connector, HttpConnector)
    }
    databases = {
        name: PostgresUpstream(name, connector)
        for name, connector in settings.connectors.items()
        if isinstance(connector, PostgresConnector)
    }
    tls = _tls(context, with_postgres=bool(databases))
    verifier = _verifier(context)
    client = await connect(address("ingress", settings.nats, context.data))
    parts = await _parts(context, client, verifier, upstreams)
    await parts.emitter.start()
    await parts.gate.start()
    await parts.lasting.start()
    _background(context, parts, verifier)
    server, listener = await _listen(context, parts, tls)
    postgres = await _listen_postgres(context, parts, databases, tls) if databases else None
    context.health.checks |= {
        "bus": lambda: client.is_connected or "not connected",
        "outbox": lambda: parts.emitter.backlog < settings.limits.outbox or "full",
    }
    living = await client.jetstream().key_value(subjects.INGRESSES_BUCKET)
    context.tasks.start(liveness.announce(living, parts.emitter.ingress), "liveness")
    return Ingress(context, client, parts, verifier, server, listener, postgres, living)


def _verifier(context: Context) -> TokenVerifier:
    identity = context.settings.identity
    local = LocalKeys(context.data.keys) if identity.accepts_local else None
    try:
        return TokenVerifier(identity.issuers, local)
    except (ValueError, OSError) as error:
        raise SettingsError(f"countersign.yaml: {error}") from None


async def _parts(context: Context, client: Client, verifier: TokenVerifier, upstreams: dict[str, Upstream]) -> Parts:
    settings, jetstream = context.settings, client.jetstream()
    metrics = Metrics(context.registry)
    emitter = Emitter(client, new_ingress_id(), settings.limits.outbox, traced=context.tracer_provider is not None)
    gate = Gate(client, emitter, settings.limits.verdict_timeout)
    countersigned = Countersigned(
        approvals=await jetstream.key_value(subjects.APPROVALS_BUCKET),
        grants=await jetstream.key_value(subjects.GRANTS_BUCKET),
        policy=await jetstream.key_value(subjects.POLICY_BUCKET),
        trusted=keys.trusted_keys(settings.approvals, context.data),
        clock=utc_now,
    )
    digest_key = keys.digest_key(context.data)
    limits = settings.limits
    limiter = Limiter(limits.operations, limits.held, limits.held_per_identity)
    return Parts(
        settings=settings,
        registry=context.registry,
        emitter=emitter,
        admission=Admission(verifier),
        gate=gate,
        holding=Holding(gate, emitter, countersigned, limiter),
        countersigned=countersigned,
        lasting=Lasting(client, countersigned.grants, utc_now),
        inspector=_inspector(settings, digest_key),
        vault=await open_vault(jetstream, context.data.secret_file("vault.key").read_bytes()),
        upstreams=upstreams,
        refusals=Refusals(settings.limits.refusals_per_second, metrics),
        metrics=metrics,
        limiter=limiter,
        digest_key=digest_key,
    )


def _inspector(settings: Settings, key: bytes) -> Inspector:
    try:
        patterns = tuple(CustomPattern(name, pattern) for name, pattern in settings.masking.patterns.items())
        inspector = Inspector(key, patterns, settings.masking.deny_words)
        inspector.warm()
    except MaskingError as error:
        raise SettingsError(f"countersign.yaml: masking: {error}") from None
    return inspector


def _background(context: Context, parts: Parts, verifier: TokenVerifier) -> None:
    parts.metrics.in_flight.set_function(lambda: parts.limiter.in_flight)
    parts.metrics.held.set_function(lambda: parts.limiter.waiting)
    parts.metrics.outbox.set_function(lambda: parts.emitter.backlog)
    for issuer in context.settings.identity.issuers:
        parts.metrics.issuer_problem.labels(issuer.issuer).set_function(partial(_has_problem, verifier, issuer.issuer))
    context.tasks.start(parts.emitter.run(), "outbox")
    context.tasks.start(parts.lasting.run(), "grants in use")
    context.tasks.start(verifier.keep_fresh(), "issuers")


def _has_problem(verifier: TokenVerifier, issuer: str) -> float:
    return float(issuer in verifier.problems)


def _tls(context: Context, *, with_postgres: bool) -> ListenerTls | None:
    listen = context.settings.listen
    hosts = (listen.http.host, listen.postgres.host) if with_postgres else (listen.http.host,)
    tls = listener_tls(listen.tls, context.data, *hosts)
    if tls:
        context.tasks.start(tls.watch(), "tls")
    return tls


async def _listen(context: Context, parts: Parts, tls: ListenerTls | None) -> tuple[Server, asyncio.Server]:
    listen = context.settings.listen
    pages = Pages(parts, context.health)

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.raw_path.startswith("/-/"):
            return await pages.serve(request)
        return await exchange.serve(parts, request)

    def open_session(peer: str, encrypted: bool) -> Session:
        return Session(parts.emitter, parts.metrics, "http", peer, encrypted)

    server = Server(handle, context.settings.limits, parts.metrics, parts.refusals, open_session)
    listener = await asyncio.get_running_loop().create_server(
        server,
        listen.http.host,
        listen.http.port,
        ssl=tls.context if tls else None,
        ssl_handshake_timeout=context.settings.limits.request_head if tls else None,
        backlog=BACKLOG,
    )
    host, port = listener.sockets[0].getsockname()[:2]
    context.listening["http"] = Address(host=host, port=port)
    return server, listener


async def _listen_postgres(
    context: Context, parts: Parts, databases: dict[str, PostgresUpstream], tls: ListenerTls | None
) -> Listener:
    spoken = tls.speaking(ALPN) if tls else None
    if spoken:
        context.tasks.start(spoken.watch(), "tls of postgres")
    listener = Listener(parts, databases, session.serve, session.judge_replication, spoken.context if spoken else None)
    context.listening["postgres"] = await listener.start(context.settings.listen.postgres)
    return listener


if __name__ == "__main__":
    run("ingress", start)
