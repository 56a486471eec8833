"""A PostgreSQL session after its login: two directions side by side until one of them ends.

    agent ──► asking ──► extended ──► judging ──► (people) ──► server        one message after the other
    agent ◄── telling ◄── answers ◄── results ◄────────────── server        as they come

| module | idea |
|---|---|
| `state` | what both directions know; the table of messages and their answers |
| `asking`, `extended` | the agent's messages: simple query, COPY; Parse, Bind, Describe, Execute, Close |
| `sending` | how a text is read, and what is noted when it goes out |
| `judging`, `people`, `blast` | statement to verdict; waiting for people; how many rows it would touch |
| `judged`, `results`, `recording` | an operation that runs: its rows masked, limited, counted, recorded |
| `answers`, `telling`, `after` | the server's messages; errors and notices; what they mean for the session |
| `names` | prepared statements, portals, cursors |
| `catalogs`, `side` | what is known of the database, and the connections beside the session's to ask it |

When a session ends, whatever is still open is recorded: what had been sent as failed, for nobody knows how it ended
(G6); a question to people is withdrawn; what the server still does is cancelled.
"""

import asyncio
from collections.abc import Coroutine

from services.ingress.errors import AgentError, GatewayError
from services.ingress.parts import Parts
from services.ingress.protocols.postgres.after import Afterwards
from services.ingress.protocols.postgres.answers import Answers
from services.ingress.protocols.postgres.asking import Asking
from services.ingress.protocols.postgres.codec.violation import ProtocolViolation
from services.ingress.protocols.postgres.extended import Extended
from services.ingress.protocols.postgres.front import Front
from services.ingress.protocols.postgres.judging import Judging
from services.ingress.protocols.postgres.people import People
from services.ingress.protocols.postgres.replication import judge_replication
from services.ingress.protocols.postgres.state import State
from services.ingress.protocols.postgres.telling import Telling
from services.ingress.upstream.postgres.connection import PostgresConnection
from services.runtime.tasks import TaskGroup

_SHUTTING_DOWN = AgentError(503, "shutting_down", "terminating connection: the gateway is shutting down")


async def serve(parts: Parts, front: Front, upstream: PostgresConnection) -> None:
    """Serve one session until it ends. Raises GatewayError and ProtocolViolation for what the agent must be told."""
    state = State(parts, front, upstream, status=upstream.status)
    tasks = TaskGroup("postgres session")
    people = People(state, tasks)
    judging = Judging(state, people)
    asking = Asking(state, judging, Extended(state, judging))
    answers = Answers(state, Telling(state), Afterwards(state, tasks))
    front.on_cancel = lambda: _cancel(state, people, tasks)
    why = "the session was cut off"
    try:
        ended = await _first(tasks, asking.run(), answers.run(), _gone(front), _drained(state))
        why = _words(ended)
        if isinstance(ended, GatewayError | ProtocolViolation):
            raise ended
    finally:
        front.on_cancel = None
        await _close(state, tasks, why)


async def _first(tasks: TaskGroup, *works: Coroutine[object, object, None]) -> Exception | None:
    """Run them side by side until one ends: its error, or None; the others are cancelled."""
    running = [tasks.start(_outcome(work), "direction") for work in works]
    done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    outcomes = [task.result() for task in running if task in done]
    await tasks.cancel()
    # An error says more than the end that it may have caused.
    return next((outcome for outcome in outcomes if outcome is not None), None)


async def _outcome(work: Coroutine[object, object, None]) -> Exception | None:
    try:
        await work
    except (GatewayError, ProtocolViolation, ConnectionResetError) as error:
        return error
    return None


async def _gone(front: Front) -> None:
    await front.channel.gone.wait()


async def _drained(state: State) -> None:
    """The ingress goes down, and nothing is under way here."""
    await state.front.draining.wait()
    await state.rests()
    raise _SHUTTING_DOWN


def _cancel(state: State, people: People, tasks: TaskGroup) -> None:
    """The agent's CancelRequest: for the question to people, else for what the server does."""
    if not people.cancel() and state.expected and state.cancelling is None:
        state.cancelling = tasks.start(state.upstream.cancel(), "cancel")


async def _close(state: State, tasks: TaskGroup, why: str) -> None:
    """Record what is open, and stop what the server still does for it."""
    working = any(expected.judged for expected in state.expected)
    for expected in state.expected:
        for judged in expected.judged:
            judged.skip(why)
    for portal in state.names.take_portals():
        if portal.judged is not None:
            portal.judged.close()
            portal.judged.tell()
    await tasks.cancel()
    if working:
        await state.upstream.cancel()


def _words(ended: Exception | None) -> str:
    match ended:
        case GatewayError(detail=detail) | ProtocolViolation(detail=detail):
            return detail
        case _:
            return "the agent disconnected"


__all__ = ["judge_replication", "serve"]
