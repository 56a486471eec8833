"""A gateway with two model providers behind it, each with its own key that no SDK here ever sees."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from examples import sample_llm
from schemas.events import OperationAttempted
from schemas.verdicts import Decision, MaskObligation, Obligations, Verdict
from tests.ingress.conftest import Gateway, allow, gateway, upstream  # noqa: F401 - fixtures
from tests.sdk import sample_messages

RULE = "no-customer-data"
WORDS = "Customer data may not leave for a model provider; ask the data team"


def deny(_: OperationAttempted) -> Verdict:
    return Verdict(decision=Decision.DENY, rules=(RULE,), reason=WORDS, policy_version="v1")


def mask_request(_: OperationAttempted) -> Verdict:
    """What is said to a model."""
    return _masking(MaskObligation(request=("secrets", "pii")))


def mask_response(_: OperationAttempted) -> Verdict:
    """What a model says."""
    return _masking(MaskObligation(response=("secrets", "pii")))


def _masking(mask: MaskObligation) -> Verdict:
    return Verdict(decision=Decision.ALLOW, rules=("masked",), obligations=Obligations(mask=mask))


class SilentOnce:
    """A policy that is not there for the first attempt, which is soon given up."""

    def __init__(self, gateway: Gateway) -> None:  # noqa: F811 - not the fixture
        assert gateway.ingress
        self.asked = 0
        self._gate = gateway.ingress.parts.gate
        self._patience, self._gate.timeout = self._gate.timeout, 0.5

    def __call__(self, attempt: OperationAttempted) -> Verdict | None:
        self.asked += 1
        self._gate.timeout = self._patience
        return allow(attempt) if self.asked > 1 else None


@dataclass
class Providers:
    """What a test of an SDK holds."""

    gateway: Gateway
    requests: list[web.Request] = field(default_factory=list)

    @property
    def openai_url(self) -> str:
        return f"{self.gateway.url}/openai/v1"

    @property
    def anthropic_url(self) -> str:
        return f"{self.gateway.url}/anthropic"

    @property
    def token(self) -> str:
        return self.gateway.token()

    def actions(self) -> list[str]:
        return [attempt.operation.action for attempt in self.gateway.attempts]


@asynccontextmanager
async def running(app: web.Application, requests: list[web.Request]) -> AsyncIterator[str]:
    @web.middleware
    async def note(request: web.Request, handler):  # type: ignore[no-untyped-def]
        requests.append(request)
        return await handler(request)

    app.middlewares.append(note)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.fixture
async def providers(gateway: Gateway) -> AsyncIterator[Providers]:  # noqa: F811 - the fixture above
    """Connectors `openai` and `anthropic`."""
    providers = Providers(gateway)
    async with AsyncExitStack() as stack:
        openai = await stack.enter_async_context(running(sample_llm.application(), providers.requests))
        anthropic = await stack.enter_async_context(running(sample_messages.application(), providers.requests))
        bearer = {"header": "Authorization", "value": f"Bearer {sample_llm.API_KEY}"}
        key = {"header": "X-Api-Key", "value": sample_messages.API_KEY}
        connectors = {
            "openai": {"upstream": openai, "inject": bearer},
            "anthropic": {"upstream": anthropic, "inject": key},
        }
        await gateway.boot(connectors=connectors)
        yield providers
