"""Requests in a storm: many in a minute, several copies, people who click, and a Slack that breaks; then the accounts.

`second` is how long a second of Slack's pace lasts, so that a minute of Slack fits into a test; everything else keeps
its time. `make slack-storm` runs it in true time.
"""

import asyncio
import itertools
import random
from collections import Counter
from dataclasses import dataclass, field

from examples.slack_standin import Limits, Message, NotOnScreen, SlackStandin
from schemas.events import ApprovalRequested
from services.approver.slack.blocks import APPROVE, DENY
from services.runtime.tasks import TaskGroup
from tests.approver.builders import DBA, question
from tests.approver.conftest import World
from tests.approver.test_slack import CHANNEL, by_socket
from tests.conftest import until

#: Messages that ask about how many shapes of requests.
TABLES = [f"{name}_{kind}" for name in ("orders", "items", "refunds", "carts", "users") for kind in ("eu", "us", "in")]


@dataclass
class Storm:
    """How much of everything."""

    requests: int
    #: Seconds over which they come, and how long those that nobody decides on last.
    over: float
    expires: float
    second: float
    seed: int = 7
    deadline: float = 200
    asked: list[ApprovalRequested] = field(default_factory=list)

    @property
    def limits(self) -> Limits:
        """Slack's, with its second as long as ours."""
        return Limits(second=self.second)

    async def run(self, world: World, slack: SlackStandin, copies: int = 2) -> Counter[str]:
        """Let it happen; how the approvals ended. Fails when one is neither decided nor expired."""
        config = by_socket(slack)
        assert config.approvals.slack
        paced = config.approvals.slack.model_copy(update={"pace": self.second})
        approvals = config.approvals.model_copy(update={"slack": paced})
        for _ in range(copies):
            await world.approver(config.model_copy(update={"approvals": approvals}))
        await slack.wait_for_sockets(copies)
        tasks = TaskGroup("storm")
        work = [tasks.start(self._breaks(slack), "breaks")]
        work += [tasks.start(self._clicks(slack, user, at), user) for at, user in enumerate(("alice", "bob"))]
        await self._asks(world)
        await until(lambda: self._told(world), self.deadline)
        records = [await world.record(request.approval_id) for request in self.asked]
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        slack.faults.clear()
        await until(lambda: self._shown(slack), self.deadline)
        return Counter(str(record.state) if record else "lost" for record in records)

    def _told(self, world: World) -> bool:
        """Whether each caller has its verdict."""
        told = {verdict.operation_id for verdict in world.verdicts}
        return len(self.asked) == self.requests and all(request.operation_id in told for request in self.asked)

    async def _asks(self, world: World) -> None:
        chance = random.Random(self.seed)
        for number in range(self.requests):
            rule = DBA if number % 10 else DBA.model_copy(update={"quorum": 2})
            statement = f"DELETE FROM {chance.choice(TABLES)} WHERE id = {number}"
            # Some wait longer: they are decided even where everything is so slow that the others expire unseen.
            expires = 4 * self.expires if number % 50 == 7 else self.expires
            self.asked.append(await world.ask(question(rule, statement=statement, expires=expires, wait=0)))
            await asyncio.sleep(self.over / self.requests)

    async def _clicks(self, slack: SlackStandin, user: str, at: int) -> None:
        """Somebody looks at a message, and presses a button that they see; sometimes on an old screen."""
        chance = random.Random(self.seed + at)
        while True:
            await asyncio.sleep(self.second / 2)
            waiting = [message for message in slack.messages(CHANNEL) if not message.thread_ts and _buttons(message)]
            if waiting:
                await self._press(slack, user, chance, chance.choice(waiting))

    async def _press(self, slack: SlackStandin, user: str, chance: random.Random, message: Message) -> None:
        revision = chance.choice([-1, -1, -1, 0])
        try:
            if chance.random() < 0.8:
                await slack.click(user, message.ts, APPROVE, revision=revision)
            else:
                await slack.click(user, message.ts, DENY)
                view = await slack.wait_for_view(user, 2)
                if view.body.get("submit"):
                    await slack.submit_view(user, view.id, {"reason": "no"})
                if view.open:  # it says that nothing was done, or that Slack had trouble
                    await slack.people.close_view(user, view.id)
        except (NotOnScreen, TimeoutError):
            return  # settled in the meantime, or the click was lost with a socket: people press again

    async def _breaks(self, slack: SlackStandin) -> None:
        """Lost answers, envelopes that come twice, sockets that are cut or told to go, 429s out of nowhere, 500s."""
        for what in itertools.cycle(range(6)):
            await asyncio.sleep(self.over / 7)
            match what:
                case 0:
                    slack.faults.lose_answers(2, method="chat.postMessage")
                case 1:
                    slack.faults.lose_answers(2, method="chat.update")
                case 2:
                    slack.faults.rate_limit_next(2, retry_after=1)
                case 3:
                    slack.drop_sockets()
                case 4:
                    slack.faults.fail_next(2)
                case 5:
                    slack.disconnect_sockets()
            if slack.socket.sent and slack.socket.connections:
                slack.redeliver()

    def _shown(self, slack: SlackStandin) -> bool:
        """Whether Slack shows how each was settled."""
        return not any(_buttons(message) for message in slack.messages(CHANNEL))


def _buttons(message: Message) -> bool:
    return any(block["type"] == "actions" for block in message.blocks)


def shown_once(slack: SlackStandin, asked: list[ApprovalRequested]) -> Counter[int]:
    """How many requests stood how often in the messages of the channel, by their statement's own number."""
    texts = [str(message.blocks) for message in slack.messages(CHANNEL) if not message.thread_ts]
    times: Counter[int] = Counter()
    for request in asked:
        _, _, number = request.operation.statement.rpartition(" ")
        table = request.operation.statement.split()[2]
        times[sum(f" {table} " in text and _stands(number, text) for text in texts)] += 1
    return times


def _stands(number: str, text: str) -> bool:
    return f"`{number}`" in text or f"id = {number}\\n" in text
