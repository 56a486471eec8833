"""The agent: an AutoGen assistant with three tools. It knows the gateway's address and its own token, and no key.

This is all that changes in an agent that goes through Countersign: `base_url`, and a token where a key would be.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
from autogen_agentchat.agents import AssistantAgent
from autogen_core.tools import BaseTool
from autogen_ext.models.openai import OpenAIChatCompletionClient

Tell = Callable[[str, str], None]
TASK = "Customer C-17 wants the money for order 1001 back, and their data removed."


def model(gateway: str, token: str) -> OpenAIChatCompletionClient:
    """The model client, pointed at the gateway's connector `openai`."""
    return OpenAIChatCompletionClient(
        model="gpt-4o-mini",
        base_url=f"{gateway}/openai/v1",
        api_key=token,
    )


def assistant(gateway: str, token: str, tell: Tell) -> tuple[AssistantAgent, OpenAIChatCompletionClient]:
    """The agent with its tools, each of which calls the shop through the gateway's connector `shop`."""
    http = httpx.AsyncClient(base_url=f"{gateway}/shop", headers={"Authorization": f"Bearer {token}"}, timeout=120)

    async def look_up_order() -> str:
        """Look up order 1001."""
        return _shown(await http.get("/v1/orders/1001"))

    async def delete_customer() -> str:
        """Delete customer C-17."""
        return _shown(await http.delete("/v1/customers/C-17"))

    async def refund_order() -> str:
        """Pay order 1001 back."""
        tell("agent", "POST /v1/refunds: order 1001, 42.00, and waits for the answer")
        reason = {"Countersign-Reason": "The customer sent the parcel back unopened"}
        return _shown(await http.post("/v1/refunds", json={"order": "1001", "amount": 42.0}, headers=reason))

    def _shown(reply: httpx.Response) -> str:
        body = reply.json()
        method = reply.request.method
        said = str(body.get("detail") or body)
        tell("agent", f"{method} {reply.request.url.path.removeprefix('/shop')} -> {reply.status_code}: {said}")
        return said

    client = model(gateway, token)
    tools: list[BaseTool[Any, Any] | Callable[..., Any] | Callable[..., Awaitable[Any]]]
    tools = [look_up_order, delete_customer, refund_order]
    agent = AssistantAgent("support", client, tools=tools, max_tool_iterations=8, reflect_on_tool_use=False)
    return agent, client
