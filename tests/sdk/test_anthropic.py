"""The `anthropic` SDK as it is: only its base URL and its key differ, and the key is a token."""

from collections.abc import AsyncIterator

import anthropic
import pytest

from tests.sdk import sample_messages
from tests.sdk.conftest import RULE, WORDS, Providers, SilentOnce, deny, mask_request, mask_response

ASKED = {"model": "sample-model", "max_tokens": 100, "messages": [{"role": "user", "content": "hello there"}]}
TOOL = {"name": "weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}


@pytest.fixture
async def client(providers: Providers) -> AsyncIterator[anthropic.AsyncAnthropic]:
    options = {"base_url": providers.anthropic_url, "api_key": providers.token, "max_retries": 2}
    async with anthropic.AsyncAnthropic(**options) as client:
        yield client


async def test_an_answer(client: anthropic.AsyncAnthropic, providers: Providers) -> None:
    answer = await client.messages.create(**ASKED)
    assert answer.content[0].text == "You said: hello there"
    assert providers.actions() == ["llm.chat"]
    (request,) = providers.requests
    assert request.headers["X-Api-Key"] == sample_messages.API_KEY
    assert request.headers["anthropic-version"]


async def test_an_answer_as_it_streams(client: anthropic.AsyncAnthropic, providers: Providers) -> None:
    async with client.messages.stream(**ASKED) as stream:
        words = [text async for text in stream.text_stream]
        final = await stream.get_final_message()
    assert "".join(words).strip() == "You said: hello there"
    assert len(words) == 4
    assert final.stop_reason == "end_turn"


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_a_tool_and_its_result(client: anthropic.AsyncAnthropic, providers: Providers, streamed: bool) -> None:
    if streamed:
        async with client.messages.stream(**ASKED, tools=[TOOL]) as stream:
            answer = await stream.get_final_message()
    else:
        answer = await client.messages.create(**ASKED, tools=[TOOL])
    (use,) = answer.content
    assert (use.type, use.name, use.input) == ("tool_use", "weather", {"city": "Bern"})
    result = {"type": "tool_result", "tool_use_id": use.id, "content": "sunny"}
    turns = [
        *ASKED["messages"],
        {"role": "assistant", "content": [use.to_dict()]},
        {"role": "user", "content": [result]},
    ]
    answer = await client.messages.create(**{**ASKED, "messages": turns}, tools=[TOOL])
    assert answer.content[0].text == "Done. sunny"
    assert providers.gateway.attempts[1].operation.attributes["tools"] == ["weather"]


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_a_denial_is_the_sdk_s_own_exception_with_the_rule_s_words_once(
    client: anthropic.AsyncAnthropic, providers: Providers, streamed: bool
) -> None:
    providers.gateway.decide = deny
    with pytest.raises(anthropic.PermissionDeniedError) as denied:
        await client.messages.create(**ASKED, stream=streamed)
    assert WORDS in str(denied.value)
    assert denied.value.response.json()["rule"] == RULE
    assert len(providers.gateway.attempts) == 1
    assert providers.requests == []


async def test_no_verdict_is_tried_again_by_the_sdk(client: anthropic.AsyncAnthropic, providers: Providers) -> None:
    providers.gateway.decide = SilentOnce(providers.gateway)
    answer = await client.messages.create(**ASKED)
    assert answer.content[0].text == "You said: hello there"
    assert len(providers.gateway.attempts) == 2
    assert len(providers.requests) == 1


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_what_is_said_is_masked_both_ways(
    client: anthropic.AsyncAnthropic, providers: Providers, streamed: bool
) -> None:
    """The provider never sees the address in the prompt, nor the agent the one in the tool's result."""
    address = "ada.lovelace@analytical.example"
    providers.gateway.decide = mask_response
    use = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": f"write to {address} today"}
    turns = [*ASKED["messages"], {"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
    if streamed:
        async with client.messages.stream(**{**ASKED, "messages": turns}) as stream:
            answer = await stream.get_final_message()
    else:
        answer = await client.messages.create(**{**ASKED, "messages": turns})
    assert answer.content[0].text.strip() == "Done. write to [EMAIL] today"
    providers.gateway.decide = mask_request
    answer = await client.messages.create(**{**ASKED, "messages": [{"role": "user", "content": f"ask {address}"}]})
    assert answer.content[0].text == "You said: ask [EMAIL]"
    await providers.gateway.outcome(2)
    assert address.encode() not in b"".join(providers.gateway.raw)


async def test_a_token_may_come_as_bearer_too(providers: Providers) -> None:
    async with anthropic.AsyncAnthropic(base_url=providers.anthropic_url, auth_token=providers.token) as client:
        answer = await client.messages.create(**ASKED)
    assert answer.content[0].text == "You said: hello there"
    assert "Authorization" not in providers.requests[0].headers  # the agent's token goes no further
