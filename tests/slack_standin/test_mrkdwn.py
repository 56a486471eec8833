"""What a reader sees in code blocks, and what is live in a message."""

from slack_sdk.web.async_client import AsyncWebClient

from examples.slack_standin import SlackStandin
from examples.slack_standin.mrkdwn import code_blocks, references
from tests.slack_standin.conftest import CHANNEL, actions, button, section


def test_a_code_block_shows_what_was_escaped():
    assert code_blocks("before\n```\nSELECT 1 &lt; 2\n``` after ```x```") == ["SELECT 1 < 2", "x"]


def test_a_fence_in_user_text_ends_the_block_early():
    assert code_blocks("```SELECT '```' *bold*```") == ["SELECT '"]


def test_references_are_live_even_in_code():
    assert references("```<!channel>``` <@U1> <https://a.example?x=1&amp;y=2|b> &lt;!here&gt;") == [
        "!channel",
        "@U1",
        "https://a.example?x=1&y=2|b",
    ]


async def test_a_message_tells_what_was_smuggled_in(web: AsyncWebClient, standin: SlackStandin):
    blocks = [section("```SELECT 1```"), section("by <!here>"), actions(button())]
    await web.chat_postMessage(channel=CHANNEL, text="<!channel> fallback", blocks=blocks)
    await web.chat_postMessage(channel=CHANNEL, text="<!channel>")
    first, second = standin.messages(CHANNEL)
    assert (first.code_blocks, first.references) == (["SELECT 1"], ["!here"])
    assert second.references == ["!channel"]
