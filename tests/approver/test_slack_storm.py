"""500 requests in a minute of Slack's, two copies, a Slack that breaks: none lost, none posted twice, all settled."""

from examples.slack_standin import SlackStandin
from tests.approver.conftest import World
from tests.approver.load import Storm, shown_once
from tests.approver.test_slack import CHANNEL


async def test_a_storm_is_worked_off_without_losing_or_repeating_anything(world: World) -> None:
    storm = Storm(requests=500, over=3, expires=7, second=0.05)
    async with SlackStandin(limits=storm.limits) as slack:
        ended = await storm.run(world, slack)
        assert sum(ended[state] for state in ("approved", "denied", "expired")) == 500
        assert ended["approved"] > 0
        assert slack.twice() == []
        assert len(slack.messages(CHANNEL)) < 120  # calm: not one message for each
        times = shown_once(slack, storm.asked)
        assert set(times) <= {0, 1}
        assert times[0] <= ended["expired"]  # only what expired before its turn came was never shown
