"""A gateway before a real PostgreSQL: real NATS, policy, ingress and approver in this process, the recorder as its own.

`await gateway.boot(policy=…)`, then `async with gateway.connect()` for psycopg, `gateway.dsn()` for what reads libpq's.
"""

import asyncio
import importlib
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import psycopg
import yaml
from nats.aio.client import Client
from prometheus_client import CollectorRegistry

from countersign import environment
from schemas.events import OperationAttempted
from services.ingress.__main__ import Ingress
from services.policy.apply import apply
from services.runtime import keys
from services.runtime.admin import Health
from services.runtime.data_dir import DataDir
from services.runtime.identity.local import LocalIssuer
from services.runtime.service import Context
from services.runtime.settings import Settings
from services.runtime.tasks import TaskGroup
from tests.conftest import Bus, until
from tests.postgres.server import Server

#: The connector's name, which is the database's name for agents.
CONNECTOR = "orders"
#: The role that the gateway logs in as, unless a test says otherwise.
ROLE = "svc_scram"
ALLOW_ALL = "rules:\n  - {name: allow-all, when: 'true', allow: true}\n"


@dataclass
class Gateway:
    """What a test holds of a running gateway."""

    bus: Bus
    data: DataDir
    server: Server
    database: str
    stack: AsyncExitStack
    #: Every event that was published, as (subject, event), and their bytes.
    published: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    auditor: Client | None = None
    contexts: dict[str, Context] = field(default_factory=dict)
    running: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    failures: list[BaseException] = field(default_factory=list)

    # ---- life -----------------------------------------------------------------------------------------------------

    async def boot(
        self,
        policy: str = ALLOW_ALL,
        *,
        services: tuple[str, ...] = ("policy", "ingress"),
        upstream: dict[str, Any] | None = None,
        connector: dict[str, Any] | None = None,
        **settings: Any,
    ) -> "Gateway":
        """Start it; `upstream` and `connector` are merged into the connector, `settings` into the whole file."""
        keys.create_approver_keys(self.data)
        LocalIssuer.load_or_create(self.data.keys)
        self.settings = self._document(upstream or {}, connector or {}, settings)
        self.data.endpoints.write_text(json.dumps({"nats": self.bus.server.url}))
        await self._listen_as_auditor()
        await apply(await self.bus.connect("admin"), policy, applied_by="tests")
        for service in services:
            if service == "recorder":
                await self._record()
            else:
                await self.start(service)
        return self

    async def start(self, service: str) -> Context:
        """Start one of the services in this process."""
        context = Context(
            name=service,
            settings=Settings.model_validate(self.settings),
            data=self.data,
            health=Health(service),
            registry=CollectorRegistry(),
            tracer_provider=None,
            tasks=TaskGroup(service, on_error=self.failures.append),
            stopping=asyncio.Event(),
        )
        running = await importlib.import_module(f"services.{service}.__main__").start(context)
        self.contexts[service], self.running[service] = context, running
        self.stack.push_async_callback(self.stop, service)
        await until(lambda: not context.health.failures())
        return context

    async def stop(self, service: str) -> None:
        """As SIGTERM does; at the end of the test it happens by itself."""
        if (running := self.running.pop(service, None)) is not None:
            await running.stop()
            await self.contexts[service].tasks.cancel()

    @property
    def ingress(self) -> Ingress:
        found: Ingress = self.running["ingress"]
        return found

    # ---- agents ---------------------------------------------------------------------------------------------------

    @property
    def address(self) -> tuple[str, int]:
        """Where agents connect."""
        listening = self.contexts["ingress"].listening["postgres"]
        return listening.host, listening.port

    def token(self, subject: str = "agent-7", groups: tuple[str, ...] = ("agents",), **claims: Any) -> str:
        return LocalIssuer.load_or_create(self.data.keys).mint(subject, list(groups), **claims)

    def options(self, **options: Any) -> dict[str, Any]:
        """libpq's keywords for a connection through the gateway."""
        host, port = self.address
        given = {"host": host, "port": port, "dbname": CONNECTOR, "user": "agent", "password": self.token()}
        return {**given, "sslmode": "disable", "connect_timeout": 30} | options

    def dsn(self, **options: Any) -> str:
        """The same as one string."""
        return psycopg.conninfo.make_conninfo(**self.options(**options))

    @asynccontextmanager
    async def connect(self, **options: Any) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """An autocommitting psycopg connection through the gateway."""
        connection = await psycopg.AsyncConnection.connect(**({"autocommit": True} | self.options(**options)))
        try:
            yield connection
        finally:
            await connection.close()
        await self.heard()

    async def direct(self) -> psycopg.AsyncConnection[Any]:
        """A connection past the gateway to the same database, as superuser; closed at the end of the test."""
        connection = await psycopg.AsyncConnection.connect(
            host=str(self.server.home), port=self.server.port, user="postgres", dbname=self.database, autocommit=True
        )
        self.stack.push_async_callback(connection.close)
        return connection

    # ---- people ---------------------------------------------------------------------------------------------------

    async def approval(self, number: int = 1) -> str:
        """The id of the n-th question that was put to people."""
        await until(lambda: len(self.events("ApprovalRequested")) >= number)
        return str(self.events("ApprovalRequested")[number - 1]["approval_id"])

    async def decide(self, verb: str, approval_id: str, *groups: str, subject: str = "ada", **body: Any) -> None:
        """`approve` or `deny`, as a person of these groups (dba)."""
        token = self.token(subject, groups or ("dba",), kind="human", email=f"{subject}@example.com")
        url = f"http://{self.contexts['ingress'].listening['http']}/-/approvals/{approval_id}/{verb}"
        headers, body = {"Authorization": f"Bearer {token}"}, {"reason": "seen"} | body

        async def decided() -> bool:
            """The question was heard on the bus; the approver may read it from the stream a moment later."""
            async with aiohttp.ClientSession() as http, http.post(url, headers=headers, json=body) as reply:
                assert reply.status in (200, 404, 503), await reply.text()
                return reply.status == 200

        await until(decided)

    # ---- the record -----------------------------------------------------------------------------------------------

    async def heard(self) -> None:
        """Everything that NATS has had up to now is in `published`: the answer to our PING comes behind it."""
        if self.auditor and self.auditor.is_connected:
            await self.auditor.flush(60)
            await asyncio.sleep(0)

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [event for _, event in self.published if event.get("type") == kind]

    @property
    def attempts(self) -> list[OperationAttempted]:
        return [OperationAttempted.model_validate(event) for event in self.events("OperationAttempted")]

    async def outcomes(self, number: int = 1) -> list[dict[str, Any]]:
        """All OperationFinished, once there are so many."""
        await until(lambda: len(self.events("OperationFinished")) >= number)
        return self.events("OperationFinished")

    async def until_event(
        self, kind: str, matches: Callable[[dict[str, Any]], bool] = lambda _: True
    ) -> dict[str, Any]:
        """The first event of a kind that matches, when it comes."""
        await until(lambda: any(map(matches, self.events(kind))))
        return next(filter(matches, self.events(kind)))

    async def _listen_as_auditor(self) -> None:
        self.auditor = await self.bus.connect("admin")
        heard: set[str] = set()

        async def keep(message: Any) -> None:
            self.raw.append(message.data)
            if message.data[:1] == b"{":
                event = json.loads(message.data)
                # What was not acked in time is sent again, and stored once: here, too.
                if (event_id := event.get("event_id")) is None or event_id not in heard:
                    heard.add(event_id)
                    self.published.append((message.subject, event))

        await self.auditor.subscribe("cs.>", cb=keep)
        await self.auditor.flush()

    async def _record(self) -> None:
        """chDB allows one directory per process, so the recorder gets its own."""
        config = self.data.root / "countersign.yaml"
        config.write_text(yaml.safe_dump(self.settings))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.recorder", "--config", str(config), "--data", str(self.data.root),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            env=environment.basics("recorder") | {"PATH": os.environ["PATH"]},
        )  # fmt: skip

        async def end() -> None:
            if process.returncode is None:
                process.terminate()
            await process.wait()

        self.stack.push_async_callback(end)
        assert process.stdout
        assert await process.stdout.readline(), "the recorder did not start"

    def _document(
        self, upstream: dict[str, Any], connector: dict[str, Any], settings: dict[str, Any]
    ) -> dict[str, Any]:
        credential = {"user": ROLE, "password": self.server.password(ROLE)}
        place = {"host": self.server.host, "port": self.server.port, "database": self.database, "sslmode": "disable"}
        found = {
            "protocol": "postgres",
            "upstream": place | upstream,
            "credential": credential,
            "tags": {"env": "test"},
        }
        document: dict[str, Any] = {
            "listen": dict.fromkeys(
                ("http", "postgres", "clickhouse", "policy", "approver", "recorder"), "127.0.0.1:0"
            ),
            "limits": {"verdict_timeout": "20s", "drain": "2s"},
            "connectors": {CONNECTOR: found | connector},
        }
        for key, value in settings.items():
            document[key] = {**document.get(key, {}), **value}
        return document
