"""`make slack-storm`: the storm of test_slack_storm.py with seconds that last a second; three to four minutes."""

from examples.slack_standin import SlackStandin
from tests.approver.conftest import World
from tests.approver.load import Storm, shown_once


async def test_500_requests_in_a_minute(world: World) -> None:
    storm = Storm(requests=500, over=60, expires=120, second=1, deadline=400)
    async with SlackStandin(limits=storm.limits) as slack:
        ended = await storm.run(world, slack)
        assert sum(ended[state] for state in ("approved", "denied", "expired")) == 500
        assert slack.twice() == []
        times = shown_once(slack, storm.asked)
        assert set(times) <= {0, 1}
        assert times[0] <= ended["expired"]
        print(dict(ended), f"shown: {times[1]}", slack.calls, "refused for their rate:", slack.web_api.refused)
