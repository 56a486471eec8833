"""One connection to a database, logged in: what a session of the gateway holds."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from services.ingress.channel import Channel
from services.ingress.protocols.postgres.codec import frontend
from services.ingress.protocols.postgres.codec.framing import Decoder
from services.ingress.scrubbing import Scrubber


@dataclass
class PostgresConnection:
    """Read with `channel.read` and `decoder`, write with `channel.write` and `channel.drain`."""

    channel: Channel
    decoder: Decoder
    #: ParameterStatus as told so far; the session keeps it up to date.
    parameters: dict[str, str]
    #: The status of the last ReadyForQuery: `I`, `T` or `E`.
    status: bytes
    #: What must not come back.
    secrets: tuple[str, ...]
    _cancel: Callable[[], Awaitable[None]]
    _clean: tuple[bytes, ...] = field(init=False)

    def __post_init__(self) -> None:
        self._clean = tuple(secret.encode() for secret in self.secrets)

    def __repr__(self) -> str:
        return "PostgresConnection(…)"

    def clean(self, data: bytes) -> bytes:
        """Whole messages of the server without our credential; their lengths stay."""
        if not any(secret in data for secret in self._clean):
            return data
        scrubber = Scrubber(self.secrets)
        return scrubber.feed(data) + scrubber.close()

    async def cancel(self) -> None:
        """Ask the server, over a new connection, to interrupt what this one does. Failing is no error: it is a wish."""
        await self._cancel()

    async def close(self) -> None:
        """Say good-bye and close."""
        self.channel.write(frontend.Terminate().encode())
        await self.channel.close()
