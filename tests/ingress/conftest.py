"""An ingress in this process on a real NATS, a real upstream, and a policy that each test scripts."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from nats.aio.client import Client
from prometheus_client import CollectorRegistry

from schemas import subjects
from schemas.events import OperationAttempted, VerdictReached
from schemas.verdicts import Decision, Verdict
from services.ingress.__main__ import Ingress, start
from services.runtime import keys
from services.runtime.admin import Health
from services.runtime.data_dir import DataDir
from services.runtime.identity.local import LocalIssuer
from services.runtime.service import Context
from services.runtime.settings import Settings
from services.runtime.tasks import TaskGroup
from tests.conftest import Bus, until

Decide = Callable[[OperationAttempted], Verdict | None]
CREDENTIAL = "sk-the-upstream-credential-0123456789"
#: For `limits`, where a test wants to see that a silent part is given up; parts that answer have all their time.
BRIEFLY = {"verdict_timeout": "500ms"}


def allow(_: OperationAttempted) -> Verdict:
    return Verdict(decision=Decision.ALLOW, rules=("allow-all",), reason="", policy_version="v1")


@dataclass
class Upstream:
    """Keeps what it was asked, and answers as the test says."""

    url: str = ""
    seen: list[web.Request] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    answer: Callable[[web.Request, bytes], Any] | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        body = await request.read()
        self.bodies.append(body)
        if self.answer:
            result = self.answer(request, body)
            return await result if asyncio.iscoroutine(result) else result
        return web.json_response({"method": request.method, "path": request.raw_path, "body": body.decode("latin-1")})


@asynccontextmanager
async def serving(handler: Callable[[web.Request], Any]) -> AsyncIterator[str]:
    """A real aiohttp server on a free port."""
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{tail:.*}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


@dataclass
class Gateway:
    """What a test holds of a running ingress."""

    bus: Bus
    data: DataDir
    upstream: Upstream
    stack: AsyncExitStack
    decide: Decide = allow
    attempts: list[OperationAttempted] = field(default_factory=list)
    published: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    heard: set[str] = field(default_factory=set)
    ingress: Ingress | None = None
    context: Context | None = None
    policy: Client | None = None
    url: str = ""
    http: aiohttp.ClientSession | None = None

    def token(self, subject: str = "agent-7", groups: tuple[str, ...] = ("agents",), **claims: Any) -> str:
        return LocalIssuer.load_or_create(self.data.keys).mint(subject, list(groups), **claims)

    async def boot(self, **settings: Any) -> "Gateway":
        """Start an ingress; `settings` are merged over one connector `vendor` that leads to the upstream."""
        keys.create_approver_keys(self.data)
        LocalIssuer.load_or_create(self.data.keys)
        document = {
            "listen": {"http": "127.0.0.1:0"},
            "limits": {"verdict_timeout": "20s"},
            "connectors": {
                "vendor": {
                    "upstream": self.upstream.url,
                    "inject": {"header": "Authorization", "value": f"Bearer {CREDENTIAL}"},
                    "timeouts": {"connect": "20s", "first_byte": "20s", "idle": "20s"},
                }
            },
        }
        for key, value in settings.items():
            document[key] = {**document.get(key, {}), **value}
        self.data.endpoints.write_text(json.dumps({"nats": self.bus.server.url}))
        await self._listen_as_policy()
        await self._listen_as_auditor()
        self.context = Context(
            name="ingress",
            settings=Settings.model_validate(document),
            data=self.data,
            health=Health("ingress"),
            registry=CollectorRegistry(),
            tracer_provider=None,
            tasks=TaskGroup("ingress"),
            stopping=asyncio.Event(),
        )
        self.ingress = await start(self.context)
        self.stack.push_async_callback(self.stop)
        self.url = f"http://{self.context.listening['http']}"
        self.http = await self.stack.enter_async_context(aiohttp.ClientSession(auto_decompress=False))
        return self

    def call(self, method: str, path: str, token: str | None = "", **options: Any) -> Any:
        """A request to the gateway; with a fresh token unless one, or None, is given."""
        assert self.http
        fields = dict(options.pop("headers", {}))
        if token is not None:
            fields.setdefault("Authorization", f"Bearer {token or self.token()}")
        return self.http.request(method, self.url + path, headers=fields, allow_redirects=False, **options)

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [event for _, event in self.published if event.get("type") == kind]

    async def outcome(self, number: int = 1) -> dict[str, Any]:
        """The n-th OperationFinished."""
        await until(lambda: len(self.events("OperationFinished")) >= number)
        return self.events("OperationFinished")[number - 1]

    async def _listen_as_policy(self) -> None:
        self.policy = await self.bus.connect("policy")

        async def judge(message: Any) -> None:
            attempt = OperationAttempted.model_validate_json(message.data)
            self.attempts.append(attempt)
            if (verdict := self.decide(attempt)) is not None:
                await self.verdict(attempt, verdict)

        await self.policy.subscribe(subjects.ATTEMPTS, queue=subjects.POLICY_QUEUE, cb=judge)
        await self.policy.flush()

    async def verdict(self, attempt: OperationAttempted, verdict: Verdict, by: str = "policy") -> None:
        assert self.policy
        reached = VerdictReached(
            ingress=attempt.ingress,
            session_id=attempt.session_id,
            operation_id=attempt.operation_id,
            by=by,
            verdict=verdict,
        )
        await self.policy.publish(subjects.of(reached), reached.model_dump_json().encode())

    async def _listen_as_auditor(self) -> None:
        auditor = await self.bus.connect("admin")

        async def keep(message: Any) -> None:
            self.raw.append(message.data)
            try:
                event = json.loads(message.data)
            except ValueError:
                logging.getLogger(__name__).debug("not JSON: %s", message.subject)
                return
            # What was not acked in time is sent again, and stored once: here, too.
            if (event_id := event.get("event_id")) is None or event_id not in self.heard:
                self.heard.add(event_id)
                self.published.append((message.subject, event))

        await auditor.subscribe("cs.>", cb=keep)
        await auditor.flush()

    async def stop(self) -> None:
        """As SIGTERM does; at the end of the test unless it was done before."""
        ingress, self.ingress = self.ingress, None
        if ingress:
            assert self.context
            await ingress.stop()
            await self.context.tasks.cancel()


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    upstream = Upstream()
    async with serving(upstream.handle) as upstream.url:
        yield upstream


@pytest.fixture
async def gateway(
    bus: Bus, data: DataDir, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Gateway]:
    """Not booted yet: a test calls `boot` with its settings."""
    monkeypatch.setattr("services.ingress.vault.DEADLINE", 20.0)
    async with AsyncExitStack() as stack:
        yield Gateway(bus, data, upstream, stack)
