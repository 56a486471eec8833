"""Long work beside the event loop: others are served meanwhile, and none of it goes on behind its caller's back."""

import asyncio
import threading

import pytest

from services.ingress.aside import LARGE, WORKERS, Aside
from services.ingress.content import Content
from services.ingress.errors import Denied, denied
from services.ingress.recorded_content import Recorded
from services.runtime.tasks import TaskGroup
from tests.conftest import until
from tests.ingress.conftest import Gateway


async def test_while_large_content_is_looked_at_others_are_served(gateway: Gateway) -> None:
    await gateway.boot()
    assert gateway.ingress
    inspector, begun, go_on = gateway.ingress.parts.inspector, threading.Event(), threading.Event()
    inspect = inspector.inspect

    def slow(content: Content) -> Recorded:
        if len(content.raw) > LARGE:
            begun.set()
            assert go_on.wait(60)
        return inspect(content)

    inspector.inspect = slow  # type: ignore[method-assign]
    tasks = TaskGroup("agents")

    async def large() -> int:
        async with gateway.call("POST", "/vendor/large", data=b"x" * (LARGE + 1)) as reply:
            return int(reply.status)

    waiting = tasks.start(large(), "large")
    try:
        await until(begun.is_set)
        async with gateway.call("POST", "/vendor/small", data=b"x") as reply:
            assert reply.status == 200
        assert [request.path for request in gateway.upstream.seen] == ["/small"]
    finally:
        go_on.set()
    assert await waiting == 200


async def test_work_that_has_begun_is_waited_for_and_what_waits_is_dropped() -> None:
    aside, tasks = Aside(), TaskGroup("callers")
    go_on = threading.Event()
    begun: list[int] = []
    done: list[int] = []

    def work(number: int) -> None:
        begun.append(number)
        assert go_on.wait(60)
        done.append(number)

    callers = [tasks.start(aside.run(LARGE + 1, lambda n=n: work(n)), str(n)) for n in range(WORKERS + 1)]  # type: ignore[misc]
    await until(lambda: len(begun) == WORKERS)
    for caller in callers:
        caller.cancel()
    await until(lambda: callers[-1].done())
    assert not callers[0].done()
    go_on.set()
    await asyncio.wait(callers)
    assert sorted(done) == list(range(WORKERS))
    assert all(caller.cancelled() for caller in callers)
    aside.close()


@pytest.mark.parametrize("size", [LARGE, LARGE + 1])
async def test_what_the_work_raises_is_raised(size: int) -> None:
    def failing() -> None:
        raise denied("cannot be masked", ())

    aside = Aside()
    with pytest.raises(Denied):
        await aside.run(size, failing)
    assert await aside.run(size, threading.get_ident) is not None
    assert (await aside.run(size, threading.get_ident) == threading.get_ident()) == (size <= LARGE)
    aside.close()
