"""An AutoGen assistant with a tool: its model calls pass the gateway, and it holds no provider key."""

import openai
import pytest
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.messages import ModelClientStreamingChunkEvent, TextMessage, ToolCallSummaryMessage
from autogen_ext.models.openai import OpenAIChatCompletionClient

from examples import sample_llm
from schemas.events import OperationAttempted
from schemas.verdicts import Decision, MaskObligation, Obligations, Verdict
from tests.sdk.conftest import WORDS, Providers, SilentOnce, deny


async def weather() -> str:
    """The weather in Bern."""
    return "sunny in Bern"


def model(providers: Providers) -> OpenAIChatCompletionClient:
    return OpenAIChatCompletionClient(model="gpt-4o-mini", base_url=providers.openai_url, api_key=providers.token)


async def test_an_assistant_uses_its_tool(providers: Providers) -> None:
    client = model(providers)
    result = await AssistantAgent("helper", client, tools=[weather], max_tool_iterations=3).run(task="How is Bern?")
    await client.close()
    last = result.messages[-1]
    assert isinstance(last, TextMessage | ToolCallSummaryMessage)
    assert "sunny in Bern" in last.content
    assert providers.actions() == ["llm.chat", "llm.chat"]
    assert providers.gateway.attempts[0].operation.attributes["tools"] == ["weather"]
    assert {request.headers["Authorization"] for request in providers.requests} == {f"Bearer {sample_llm.API_KEY}"}


async def test_an_assistant_s_words_as_they_stream(providers: Providers) -> None:
    client = model(providers)
    agent = AssistantAgent("helper", client, model_client_stream=True)
    chunks = [
        event.content
        async for event in agent.run_stream(task="hello there")
        if isinstance(event, ModelClientStreamingChunkEvent)
    ]
    await client.close()
    assert "".join(chunks).strip() == "You said: hello there"
    assert len(chunks) > 3


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_assistant_works_on_masked_words(providers: Providers, streamed: bool) -> None:
    """Its tool returns an address; the provider never sees it, and the answer still comes."""
    address = "ada.lovelace@analytical.example"

    async def contact() -> str:
        """Who to write to."""
        return f"write to {address} today"

    providers.gateway.decide = masked
    client = model(providers)
    agent = AssistantAgent("helper", client, tools=[contact], max_tool_iterations=3, model_client_stream=streamed)
    result = await agent.run(task=f"Ask {address}")
    await client.close()
    last = result.messages[-1]
    assert isinstance(last, TextMessage | ToolCallSummaryMessage)
    assert "write to [EMAIL] today" in last.content
    assert providers.gateway.attempts[1].operation.attributes["findings_by_role"]["tool"] == {"EMAIL": 1}
    await providers.gateway.outcome(2)
    assert address.encode() not in b"".join(providers.gateway.raw)


def masked(_: OperationAttempted) -> Verdict:
    """Both directions."""
    mask = MaskObligation(request=("secrets", "pii"), response=("secrets", "pii"))
    return Verdict(decision=Decision.ALLOW, rules=("masked",), obligations=Obligations(mask=mask))


async def test_a_denial_reaches_whoever_runs_the_agent_in_the_rule_s_words_once(providers: Providers) -> None:
    providers.gateway.decide = deny
    client = model(providers)
    with pytest.raises(openai.PermissionDeniedError, match=WORDS):
        await AssistantAgent("helper", client, tools=[weather]).run(task="How is Bern?")
    await client.close()
    assert len(providers.gateway.attempts) == 1
    assert providers.requests == []


async def test_no_verdict_is_tried_again(providers: Providers) -> None:
    providers.gateway.decide = SilentOnce(providers.gateway)
    client = model(providers)
    result = await AssistantAgent("helper", client).run(task="hello there")
    await client.close()
    last = result.messages[-1]
    assert isinstance(last, TextMessage)
    assert last.content == "You said: hello there"
    assert len(providers.gateway.attempts) == 2
