"""An embedded instance from start to end: keys, NATS, policy, services, and the way back down.

Up: lock the directory, start NATS, provision it, apply the policy, start the services side by side, wait until all
are ready, write `endpoints.json`. Down: ingress first, which drains what it has in flight through the others; then
policy and approver; then the recorder, which writes what is left; NATS last.
"""

import asyncio
import sys
from asyncio.subprocess import Process
from collections.abc import Callable, Mapping
from pathlib import Path
from shutil import disk_usage

import aiohttp
import orjson
import structlog

from countersign import endpoints, environment
from countersign.endpoints import Endpoints
from countersign.errors import CommandError, Misuse
from countersign.guardian import Guardian
from countersign.services import Service, command, failing, until_ready
from countersign.supervisor import Child, ChildFailed, Supervisor
from countersign.watch import Apply, Seen, keep_applied, seen
from services.runtime.data_dir import DataDir, replace
from services.runtime.identity.local import LocalIssuer
from services.runtime.keys import create_approver_keys, digest_key
from services.runtime.nats.client import BusAddress, connect
from services.runtime.nats.permissions import Role
from services.runtime.nats.provision import provision
from services.runtime.nats.server import EmbeddedNats, NatsServerFailed, passwords
from services.runtime.settings import Settings, SettingsError
from services.runtime.tasks import TaskGroup, heed_cancellation

log = structlog.get_logger(__name__)

SERVICES: tuple[Role, ...] = ("ingress", "policy", "approver", "recorder")
#: Started from the first to the last, stopped from the last to the first.
STOP_STAGES: tuple[tuple[str, ...], ...] = (("nats",), ("recorder",), ("policy", "approver"), ("ingress",))
STAGES = {name: stage for stage, names in enumerate(STOP_STAGES) for name in names}
#: The address each service answers `/-/health/ready` on, by its `listen` name.
FRONTS: Mapping[str, str] = {name: name for name in SERVICES} | {"ingress": "http"}
#: All services ready, after NATS is up. An embedded store's first migration is the longest part of it.
READY_TIMEOUT = 120.0
#: What a service may take to stop beyond its own drain time.
STOP_SLACK = 10.0


class Instance:
    """One run of `countersign up`."""

    def __init__(self, settings: Settings, config: Path, data: DataDir, apply: Callable[[BusAddress], Apply]) -> None:
        """`apply` makes, for a bus, what applies a policy file to it."""
        self._settings, self._config, self._data, self._apply = settings, config, data, apply
        self._services: dict[str, Service] = {}
        self._failure: BaseException | None = None
        self._supervisor: Supervisor | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._nats = EmbeddedNats(data, sync_always=settings.nats.sync == "always", spawned=self._adopt("nats"))
        self.policy_file = config.parent / settings.policy

    @property
    def endpoints(self) -> Endpoints:
        """Where everything listens."""
        listening = {name: at for service in self._services.values() for name, at in service.listening.items()}
        return endpoints.of(listening, self._settings, self._nats.url)

    async def run(self, lock: int, on_ready: Callable[[Endpoints], None]) -> None:
        """Until `stop`. Raises CommandError when a child is given up.

        `lock` is the descriptor of the data directory's lock; `on_ready` is told once that everything answers.
        """
        self._task = asyncio.current_task()
        guardian = Guardian((lock,))
        self._supervisor = Supervisor(guardian, self._give_up)
        tasks = TaskGroup("instance", on_error=self._give_up)
        try:
            applied = await self._start()
            heed_cancellation()
            replace(self._data.endpoints, orjson.dumps(self.endpoints))
            on_ready(self.endpoints)
            tasks.start(keep_applied(self.policy_file, self._apply(self._admin()), applied), "policy file")
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if self._failure is not None:
                raise self._failure from None
        finally:
            self._stopping = True
            self._data.endpoints.unlink(missing_ok=True)
            await tasks.cancel()
            await self._stop_children()
            guardian.close()

    def stop(self) -> None:
        """Shut down in order; when asked again, SIGKILL whatever still runs."""
        if self._stopping and self._supervisor:
            self._supervisor.kill()
        elif self._task:
            self._stopping = True
            self._task.cancel()

    async def _start(self) -> Seen:
        """Bring everything up; returns the policy file as it was applied."""
        self._make_keys()
        await self._start_nats()
        admin = self._admin()
        client = await connect(admin)
        try:
            await provision(client, self._settings.nats, free=disk_usage(self._data.nats).free)
        except SettingsError as error:
            raise Misuse(str(error)) from None
        finally:
            await client.close()
        heed_cancellation()
        applied = seen(self.policy_file)
        await self._apply(admin)(self.policy_file)
        heed_cancellation()
        await self._start_services()
        return applied

    def _make_keys(self) -> None:
        """Before any service starts, so that none has to, and all find the same."""
        self._data.endpoints.unlink(missing_ok=True)  # what a killed instance left behind
        create_approver_keys(self._data)
        digest_key(self._data)
        passwords(self._data)
        self._data.secret_file(self._data.audit_password.name)
        try:
            LocalIssuer.load_or_create(self._data.keys)
        except ValueError as error:
            raise Misuse(str(error)) from None

    async def _start_nats(self) -> None:
        nats = Child("nats", self._launch_nats, lambda: last_line(self._data.nats / "nats.log"))
        self._supervise(nats)
        await nats.started.wait()

    async def _launch_nats(self) -> Process:
        try:
            await self._nats.start()
        except NatsServerFailed as error:
            raise ChildFailed(None, str(error)) from None
        assert self._nats.process
        return self._nats.process

    async def _start_services(self) -> None:
        for name in SERVICES:
            service = Service(name, self._command(name), self._environment(name), self._adopt(name))
            self._services[name] = service
            self._supervise(Child(name, service.launch, service.last_line))
        async with aiohttp.ClientSession() as session:
            try:
                async with asyncio.timeout(READY_TIMEOUT):
                    await asyncio.gather(*(until_ready(session, self._front(name)) for name in SERVICES))
            except TimeoutError:
                raise CommandError(await self._unready(session)) from None

    async def _unready(self, session: aiohttp.ClientSession) -> str:
        found = {name: await failing(session, self._front(name)()) for name in SERVICES}
        reasons = "; ".join(f"{name}: {reason}" for name, reason in found.items() if reason)
        return f"not ready after {READY_TIMEOUT:.0f} s: {reasons}"

    def _front(self, name: Role) -> Callable[[], str | None]:
        """Asked anew each time: nothing before the announcement, and a restart may change it."""
        return lambda: self.endpoints.get(FRONTS[name])

    def _command(self, name: Role) -> tuple[str, ...]:
        return command(name, str(self._config), str(self._data.root))

    def _environment(self, name: Role) -> dict[str, str]:
        """What this service may see, and no more."""
        bus = {"COUNTERSIGN_NATS": self._nats.url, "COUNTERSIGN_NATS_PASSWORD": passwords(self._data)[name]}
        pretty = {"COUNTERSIGN_LOG": "pretty"} if self._settings.telemetry.log == "auto" and sys.stderr.isatty() else {}
        return environment.basics(name) | environment.secrets(name, self._settings) | bus | pretty

    def _admin(self) -> BusAddress:
        return BusAddress("admin", (self._nats.url,), "admin", passwords(self._data)["admin"])

    def _supervise(self, child: Child) -> None:
        assert self._supervisor
        self._supervisor.start(child)

    def _adopt(self, name: str) -> Callable[[Process], None]:
        def adopt(process: Process) -> None:
            assert self._supervisor
            self._supervisor.adopt(process, name, STAGES[name])

        return adopt

    def _give_up(self, error: BaseException) -> None:
        if not self._stopping and self._task:
            self._failure = error
            self._stopping = True
            self._task.cancel()

    async def _stop_children(self) -> None:
        assert self._supervisor
        for names in reversed(STOP_STAGES):
            await self._supervisor.stop(names, self._settings.limits.drain + STOP_SLACK)
        await self._supervisor.close()


def last_line(file: Path) -> str:
    """The last line of a log file, or nothing."""
    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return lines[-1] if lines else ""
