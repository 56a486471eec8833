"""People and agents at the gateway's door, as the tests need them: a caller that is held, a reviewer who decides."""

import asyncio
import json
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import aiohttp

from tests.conftest import until
from tests.guarantees.stack import PATIENCE, Stack

_SERIAL = count(1)


@dataclass(frozen=True)
class Reply:
    """What a caller got; `status` 0 when its connection broke."""

    status: int
    body: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def code(self) -> str:
        """The problem's stable code."""
        return str(self.body.get("error", {}).get("code", ""))

    @property
    def approval_id(self) -> str:
        """Of a 202, the question's id."""
        return self.headers["Location"].rpartition("/")[2]


@dataclass(frozen=True)
class Agents:
    """Requests to one ingress of a stack."""

    stack: Stack
    ingress: str = "ingress"

    @staticmethod
    def nonce() -> str:
        """Names one request, here and at the upstream."""
        return f"s{next(_SERIAL):04d}"

    async def call(
        self, method: str, path: str, *, token: str = "", timeout: float = PATIENCE, **options: Any
    ) -> Reply:
        """One request, with an agent's token unless another is given."""
        fields = {"Authorization": f"Bearer {token or self.stack.token()}", **options.pop("headers", {})}
        url = self.stack.copies[self.ingress].url + path
        try:
            async with self.stack.http.request(
                method,
                url,
                headers=fields,
                timeout=aiohttp.ClientTimeout(total=timeout),
                allow_redirects=False,
                **options,
            ) as reply:
                text = await reply.text()
                return Reply(reply.status, _object(text), dict(reply.headers))
        except aiohttp.ClientError:
            return Reply(0)

    async def post(self, what: str, nonce: str, **options: Any) -> Reply:
        """`POST /vendor/<what>/<nonce>` with the nonce in its body."""
        body = {"nonce": nonce, "amount": 4200} | options.pop("body", {})
        return await self.call("POST", f"/vendor/{what}/{nonce}", json=body, **options)

    def waiting(self, nonce: str) -> "asyncio.Task[Reply]":
        """A caller that is held until people decide."""
        return asyncio.create_task(self.post("refunds", nonce, timeout=120))

    async def ask(self, nonce: str, **options: Any) -> str:
        """Put a question without waiting; its approval id, once reviewers see it."""
        reply = await self.post("refunds", nonce, headers={"Prefer": "respond-async"}, **options)
        assert reply.status == 202, reply
        await self.asked(reply.approval_id)
        return reply.approval_id

    async def asked(self, approval_id: str) -> None:
        """A 202 says that the question is stored; an approver reads it from the stream a moment later."""
        await until(lambda: self.state(approval_id))

    async def decide(self, verb: str, approval_id: str, subject: str = "ada", **claims: Any) -> Reply:
        """As a reviewer of the group that is asked."""
        claims = {"groups": ("finance",), "kind": "human"} | claims
        token = self.stack.token(subject, **claims)
        return await self.call("POST", f"/-/approvals/{approval_id}/{verb}", token=token, json={"reason": "seen"})

    async def open_approval(self, nonce: str) -> str:
        """The id of the open question about that request, once a reviewer sees it."""

        async def look() -> str:
            token = self.stack.token("ada", ("finance",), kind="human")
            reply = await self.call("GET", "/-/approvals", token=token)
            found = [view for view in reply.body.get("approvals", []) if view["path"].endswith(nonce)]
            return str(found[0]["approval_id"]) if found else ""

        approval_id: str = await until(look)
        return approval_id

    async def state(self, approval_id: str) -> str:
        """As a reviewer sees it."""
        token = self.stack.token("ada", ("finance",), kind="human")
        reply = await self.call("GET", f"/-/approvals/{approval_id}", token=token)
        views = reply.body.get("approvals", [])
        return str(views[0]["state"]) if views else ""


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
