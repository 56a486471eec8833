"""Both ways of listening answer alike, and the declared contract is complete."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from faststream.nats import NatsBroker
from faststream.specification import AsyncAPI
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry, generate_latest

from schemas.verdicts import Decision
from services.policy.apply import apply
from services.policy.listen import declare, listen, listen_traced
from services.policy.metrics import Metrics
from services.policy.on_attempt import Judge
from services.policy.store import Store
from services.runtime.nats.broker import make_broker
from services.runtime.tasks import TaskGroup
from tests.conftest import Bus, until
from tests.policy.attempts import attempt
from tests.policy.processes import Gate

POLICY = """rules:
  - {name: chat, when: action == "llm.chat", allow: true}
  - {name: writes, when: action == "http.post", approve: {by: [dba]}}
"""


class Parts:
    """A judge on a real bus, and what an ingress hears of it."""

    def __init__(self, judge: Judge, gate: Gate, registry: CollectorRegistry, stack: AsyncExitStack) -> None:
        self.judge, self.gate, self.registry, self.stack = judge, gate, registry, stack


@pytest.fixture
async def parts(bus: Bus) -> AsyncIterator[Parts]:
    await apply(await bus.connect("admin"), POLICY, "test")
    client, registry, tasks = await bus.connect("policy"), CollectorRegistry(), TaskGroup("test")
    store = Store(client, Metrics(registry))
    judge = Judge(store, client, store.metrics, ack_within=20.0)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(tasks.cancel)
        await store.start(tasks)
        gate = await Gate(await bus.connect("ingress")).listen()
        yield Parts(judge, gate, registry, stack)


async def answers(gate: Gate) -> None:
    """Allowed, held and denied; and junk stops nothing."""
    await gate.client.publish("cs.attempt.http.openai", b"junk")
    for action, decision in (("llm.chat", Decision.ALLOW), ("http.post", Decision.HOLD), ("x", Decision.DENY)):
        made = attempt(action=action)
        assert (await gate.verdict(made)).decision is decision
        assert len(gate.verdicts[made.operation_id]) == 1


async def test_the_plain_subscription_answers(bus: Bus, parts: Parts) -> None:
    parts.stack.push_async_callback(await listen(await bus.connect("policy"), parts.judge))
    await answers(parts.gate)


async def test_the_traced_one_answers_with_spans_and_bus_metrics(bus: Bus, parts: Parts) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    broker = make_broker(bus.address("policy"), parts.registry, provider)
    parts.stack.push_async_callback(await listen_traced(broker, parts.judge))
    await answers(parts.gate)
    await until(lambda: len(exporter.get_finished_spans()) >= 4)
    text = generate_latest(parts.registry).decode()
    assert "countersign_bus_received_messages_total" in text
    assert 'countersign_policy_verdicts_total{decision="hold",rule="writes"} 1.0' in text
    assert "countersign_policy_malformed_attempts_total 1.0" in text


async def test_no_verdict_while_the_question_cannot_be_stored(bus: Bus, parts: Parts) -> None:
    parts.stack.push_async_callback(await listen(await bus.connect("policy"), parts.judge))
    admin = (await bus.connect("admin")).jetstream()
    info = await admin.stream_info("AUDIT")
    assert info.config.subjects
    await admin.update_stream(
        info.config.evolve(subjects=[each for each in info.config.subjects if not each.startswith("cs.approval")])
    )
    held, allowed = attempt(action="http.post"), attempt()
    await parts.gate.attempt(held)
    assert (await parts.gate.verdict(allowed)).decision is Decision.ALLOW
    unasked = b"countersign_policy_unasked_total 1.0"
    await until(lambda: unasked in generate_latest(parts.registry))
    assert held.operation_id not in parts.gate.verdicts


def test_the_contract_names_what_is_heard_and_said() -> None:
    broker = NatsBroker()
    declare(broker)
    text = AsyncAPI(broker).to_specification().to_yaml()
    for name in ("OperationAttempted:Policy", "VerdictReached:Policy", "ApprovalRequested"):
        assert name in text
