"""A client that was let in: what the handshake hands over to the session."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from schemas.identity import Identity
from services.ingress.channel import Channel
from services.ingress.protocols.postgres.codec.framing import Decoder
from services.ingress.protocols.postgres.startup import Wish
from services.ingress.story import Session
from services.ingress.upstream.postgres.database import PostgresUpstream


@dataclass
class Front:
    """The agent's side of a session. Whoever made it closes the channel and the session's record."""

    channel: Channel
    decoder: Decoder
    session: Session
    identity: Identity
    target: PostgresUpstream
    wish: Wish
    #: Set when the ingress is going down: idle sessions end with 57P01.
    draining: asyncio.Event
    #: The session's own; called, in this loop, for each CancelRequest with this session's key.
    on_cancel: Callable[[], None] | None = None

    @property
    def user(self) -> str:
        """The user name that the client gave: free text, recorded, without meaning for access."""
        return self.wish.user

    @property
    def parameters(self) -> dict[str, str]:
        """The startup parameters that the database got."""
        return dict(self.wish.parameters)

    def cancel(self) -> None:
        """Somebody showed this session's key."""
        if self.on_cancel is not None:
            self.on_cancel()
