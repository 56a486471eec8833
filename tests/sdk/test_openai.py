"""The `openai` SDK as it is: only its base URL and its key differ, and the key is a token."""

from collections.abc import AsyncIterator

import openai
import pytest

from examples import sample_llm
from tests.sdk.conftest import RULE, WORDS, Providers, SilentOnce, deny

HELLO = [{"role": "user", "content": "hello there"}]
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture
async def client(providers: Providers) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=providers.openai_url, api_key=providers.token, max_retries=2) as client:
        yield client


async def test_an_answer(client: openai.AsyncOpenAI, providers: Providers) -> None:
    answer = await client.chat.completions.create(model="gpt-4o-mini", messages=HELLO)
    assert answer.choices[0].message.content == "You said: hello there"
    assert providers.actions() == ["llm.chat"]
    (request,) = providers.requests
    assert request.headers["Authorization"] == f"Bearer {sample_llm.API_KEY}"


async def test_an_answer_as_it_streams(client: openai.AsyncOpenAI, providers: Providers) -> None:
    stream = await client.chat.completions.create(model="gpt-4o-mini", messages=HELLO, stream=True)
    words = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert "".join(words).strip() == "You said: hello there"
    assert len(words) > 4
    assert providers.gateway.attempts[0].operation.attributes["stream"] is True


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_a_tool_call(client: openai.AsyncOpenAI, providers: Providers, streamed: bool) -> None:
    asked = {"model": "gpt-4o-mini", "messages": HELLO, "tools": [TOOL]}
    if streamed:
        async with client.chat.completions.stream(**asked) as stream:
            answer = await stream.get_final_completion()
    else:
        answer = await client.chat.completions.create(**asked)
    (call,) = answer.choices[0].message.tool_calls or []
    assert (call.function.name, call.function.arguments) == ("weather", "{}")
    assert providers.gateway.attempts[0].operation.attributes["tools"] == ["weather"]


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_a_denial_is_the_sdk_s_own_exception_with_the_rule_s_words_once(
    client: openai.AsyncOpenAI, providers: Providers, streamed: bool
) -> None:
    providers.gateway.decide = deny
    with pytest.raises(openai.PermissionDeniedError) as denied:
        await client.chat.completions.create(model="gpt-4o-mini", messages=HELLO, stream=streamed)
    assert WORDS in str(denied.value)
    assert denied.value.code == "denied"
    assert denied.value.response.json()["rule"] == RULE
    assert denied.value.response.headers["Countersign-Operation"] == providers.gateway.attempts[0].operation_id
    assert len(providers.gateway.attempts) == 1
    assert providers.requests == []


async def test_no_verdict_is_tried_again_by_the_sdk(client: openai.AsyncOpenAI, providers: Providers) -> None:
    providers.gateway.decide = SilentOnce(providers.gateway)
    answer = await client.chat.completions.create(model="gpt-4o-mini", messages=HELLO)
    assert answer.choices[0].message.content == "You said: hello there"
    assert len(providers.gateway.attempts) == 2
    assert len(providers.requests) == 1  # the first one never got there


async def test_a_bad_token_is_an_authentication_error_once(providers: Providers) -> None:
    async with openai.AsyncOpenAI(base_url=providers.openai_url, api_key="sk-not-a-token") as client:
        with pytest.raises(openai.AuthenticationError):
            await client.chat.completions.create(model="gpt-4o-mini", messages=HELLO)
    outcome = await providers.gateway.outcome()
    assert (outcome["outcome"], outcome["status"]) == ("denied", "401")
    assert len(providers.gateway.events("OperationFinished")) == 1
    assert providers.requests == []
