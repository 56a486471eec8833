"""A statement that needs people, held on the open connection: the agent is told, and may take it back.

    people approve           the statement runs, exactly as it was asked
    deny, or nobody decides  42501 with their words
    CancelRequest            57014, the question is withdrawn
    the agent disconnects    the question is withdrawn; so it is when the database closes the connection
    what came before it in   the question is withdrawn
    its pipeline fails

Meanwhile the server hears a Flush and nothing else: no statement runs, so no `statement_timeout` does; a transaction
stays open with its locks. The Flush stops the server's idle timers: they start again with the next ReadyForQuery only
(PostgresMain in its postgres.c).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from schemas.events import OperationAttempted, Outcome
from schemas.verdicts import ApprovalTerms, Verdict
from services.ingress.classify.sql.operation import Bind
from services.ingress.classify.sql.statements import Statement
from services.ingress.errors import AgentError, Denied, GatewayError
from services.ingress.protocols.postgres import blast
from services.ingress.protocols.postgres.codec import backend, frontend
from services.ingress.protocols.postgres.names import nothing
from services.ingress.protocols.postgres.state import State
from services.runtime.tasks import TaskGroup

_FAILED = "an earlier message of the pipeline failed"


@dataclass
class People:
    """Waits for people on behalf of one session."""

    state: State
    tasks: TaskGroup
    _waiting: asyncio.Timeout | None = field(default=None, init=False)
    #: Why the question is taken back, for people and for the agent.
    _ended: tuple[str, GatewayError] | None = field(default=None, init=False)

    def cancel(self) -> bool:
        """The agent takes the question back; False when nothing is held."""
        error = AgentError(400, "cancelled", "canceling statement due to user request", Outcome.WITHDRAWN)
        return self._end("the caller cancelled the statement", error)

    def _pipeline_failed(self) -> None:
        self._end(_FAILED, AgentError(400, "pipeline_failed", _FAILED, Outcome.WITHDRAWN))

    def _end(self, why: str, error: GatewayError) -> bool:
        if self._waiting is None:
            return False
        self._ended = why, error
        if not self._waiting.expired():
            self._waiting.reschedule(asyncio.get_running_loop().time())
        return True

    async def decide(
        self, attempt: OperationAttempted, held: Verdict, statement: Statement, binds: Sequence[Bind]
    ) -> Verdict:
        """The allowing verdict. Raises Denied, NotDecided; AgentError when the agent cancels, or its pipeline fails."""
        state, self._ended = self.state, None
        await self._run_what_came_before(attempt, held)
        measuring = self.tasks.start(blast.tell(state, attempt, held, statement, binds), "preview")
        try:
            async with asyncio.timeout(None) as self._waiting:
                state.on_failure = self._pipeline_failed
                if state.skipping:
                    self._pipeline_failed()
                state.tell(_notice(held))
                return await state.parts.holding.wait(attempt, held, why_left=self._why_left)
        except TimeoutError:
            if self._ended is None:
                raise
            raise self._ended[1] from None
        except Denied as error:
            if error.code == "approval_pending":  # nobody can come back for the answer in this protocol
                state.parts.holding.withdraw(attempt, held, "the caller waited no longer")
                error.detail = "nobody decided in time; the question is withdrawn"
            raise
        finally:
            self._waiting, state.on_failure = None, nothing
            measuring.cancel()

    async def _run_what_came_before(self, attempt: OperationAttempted, held: Verdict) -> None:
        """What was allowed before it in the same pipeline runs meanwhile, and is answered."""
        try:
            self.state.send(frontend.Flush().encode())
            await self.state.flush()
        except BaseException:
            self.state.parts.holding.withdraw(attempt, held, "the session ended")
            raise

    def _why_left(self) -> str:
        return self._ended[0] if self._ended else self.state.lost or "the caller disconnected"


def _notice(held: Verdict) -> bytes:
    return backend.report(
        backend.NOTICE,
        S="NOTICE",
        C="00000",
        M=f"this statement waits for approval by {_asked(held.terms)} (approval {held.approval_id})",
        D=f"Rules: {', '.join(held.rules)}." if held.rules else "",
        H="Cancel the statement (Ctrl-C) to withdraw the question. A transaction stays open meanwhile.",
    )


def _asked(terms: ApprovalTerms | None) -> str:
    if terms is None:
        return "people"
    return " and ".join(
        f"{each.quorum} of {', '.join(each.by)}" if each.quorum > 1 else ", ".join(each.by)
        for each in terms.requirements
    )
