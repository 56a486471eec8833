"""Agents at work: several clients, one connection and one request at a time each, who remember what became of it.

A client whose gateway is gone notes that it got no reply and goes on; nothing is ever sent a second time, so that
whatever arrives twice at the upstream was doubled by the gateway.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

import aiohttp

#: Seconds for one reply: a gateway may be frozen for a while, and only one that hangs for good takes longer.
REPLY = aiohttp.ClientTimeout(total=60)
#: Seconds before a client whose gateway refuses connections dials again.
REDIAL = 0.02
_SERIAL = count(1)


@dataclass(frozen=True)
class Sent:
    """One request and its reply; `status` is None when there was none."""

    nonce: str
    status: int | None
    operation_id: str = ""


@dataclass
class Traffic:
    """`clients` agents, spread over the gateways, that send until `stop`, or `limit` requests together."""

    urls: Sequence[str]
    token: str
    clients: int = 8
    limit: int = 1_000_000
    what: str = "charges"
    sent: list[Sent] = field(default_factory=list)
    begun: int = 0
    _stopping: bool = False
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def __aenter__(self) -> "Traffic":
        self._tasks = [asyncio.create_task(self._client(number)) for number in range(self.clients)]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Let every client finish its request."""
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def finished(self) -> None:
        """Until the limit is reached."""
        await asyncio.gather(*self._tasks)

    def statuses(self, since: int = 0) -> Counter[int | None]:
        """How often each status was answered, from the `since`th reply on."""
        return Counter(sent.status for sent in self.sent[since:])

    def ok(self, since: int = 0) -> int:
        return self.statuses(since)[200]

    async def _client(self, number: int) -> None:
        url = self.urls[number % len(self.urls)]
        connector = aiohttp.TCPConnector(limit=1)
        async with aiohttp.ClientSession(connector=connector, timeout=REPLY) as http:
            while not self._stopping and self.begun < self.limit:
                self.begun += 1
                self.sent.append(await self._send(http, url, f"n{next(_SERIAL):06d}"))

    async def _send(self, http: aiohttp.ClientSession, url: str, nonce: str) -> Sent:
        fields = {"Authorization": f"Bearer {self.token}"}
        try:
            async with http.post(f"{url}/vendor/{self.what}/{nonce}", json={"nonce": nonce}, headers=fields) as reply:
                await reply.read()
                return Sent(nonce, reply.status, reply.headers.get("Countersign-Operation", ""))
        except aiohttp.ClientConnectorError:
            await asyncio.sleep(REDIAL)
        except (aiohttp.ClientError, TimeoutError):
            pass  # it died while we waited: whether the request arrived, the record must tell
        return Sent(nonce, None)
