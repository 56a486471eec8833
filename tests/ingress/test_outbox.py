"""What could not be stored yet counts as unfinished business, until it is (G6)."""

from dataclasses import replace

from schemas import subjects
from schemas.base import new_id
from schemas.events import ApprovalWithdrawn
from services.ingress.emit import Emitter, new_ingress_id
from services.runtime.tasks import TaskGroup
from tests.conftest import Bus


def event(emitter: Emitter) -> ApprovalWithdrawn:
    return ApprovalWithdrawn(
        ingress=emitter.ingress,
        ingress_seq=emitter.next_sequence(),
        session_id=new_id(),
        approval_id=new_id(),
        operation_id=new_id(),
        reason="a test",
    )


async def test_what_a_full_stream_refused_is_not_done_until_it_is_stored(bus: Bus) -> None:
    jetstream = (await bus.connect("admin")).jetstream()
    stream = await jetstream.stream_info(subjects.AUDIT_STREAM)
    await jetstream.update_stream(replace(stream.config, max_msgs=1))
    emitter = Emitter(await bus.connect("ingress"), new_ingress_id(), 10)
    await emitter.start()
    tasks = TaskGroup("test")
    tasks.start(emitter.run(), "outbox")
    emitter.later(event(emitter))
    assert await emitter.flush(20)
    emitter.later(event(emitter))
    assert not await emitter.flush(1)
    await jetstream.update_stream(stream.config)
    assert await emitter.flush(20)
    assert (await jetstream.stream_info(subjects.AUDIT_STREAM)).state.messages == 2
    await tasks.cancel()
