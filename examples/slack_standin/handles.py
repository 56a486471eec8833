"""Things Slack hands out that stop working: socket tickets, trigger ids, upload addresses, response_urls."""

import itertools
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field

from examples.slack_standin.clock import Clock
from examples.slack_standin.errors import SlackError
from examples.slack_standin.limits import Limits


@dataclass(slots=True)
class ResponseUrl:
    """Where a response_url leads: the message and person of one interaction."""

    channel: str
    user: str
    message_ts: str
    thread_ts: str | None
    expires: float
    uses_left: int


@dataclass(slots=True)
class _Trigger:
    user: str
    expires: float
    used: bool = False


@dataclass(slots=True)
class Handles:
    """Each `issue_…` returns an unguessable name; its counterpart accepts it as long as Slack would."""

    clock: Clock
    limits: Limits
    _tickets: dict[str, float] = field(default_factory=dict)
    _triggers: dict[str, _Trigger] = field(default_factory=dict)
    _uploads: dict[str, str] = field(default_factory=dict)
    _response_urls: dict[str, ResponseUrl] = field(default_factory=dict)
    _serial: Iterator[int] = field(default_factory=itertools.count)

    def issue_ticket(self) -> str:
        ticket = secrets.token_hex(8)
        self._tickets[ticket] = self.clock.now() + self.limits.ticket_seconds
        return ticket

    def redeem_ticket(self, ticket: str) -> bool:
        """Good for one WebSocket, for half a minute."""
        return self._tickets.pop(ticket, 0.0) > self.clock.now()

    def issue_trigger(self, user: str) -> str:
        trigger = f"{next(self._serial)}.{int(self.clock.now())}.{secrets.token_hex(8)}"
        self._triggers[trigger] = _Trigger(user, self.clock.now() + self.limits.trigger_seconds)
        return trigger

    def exchange_trigger(self, trigger_id: str) -> str:
        """The user it was issued for. Raises SlackError when unknown, spent or too old."""
        trigger = self._triggers.get(trigger_id)
        if trigger is None:
            raise SlackError("invalid_trigger_id")
        if trigger.used:
            raise SlackError("exchanged_trigger_id")
        if self.clock.now() >= trigger.expires:
            raise SlackError("expired_trigger_id")
        trigger.used = True
        return trigger.user

    def issue_upload(self, file_id: str) -> str:
        token = secrets.token_hex(12)
        self._uploads[token] = file_id
        return token

    def redeem_upload(self, token: str) -> str | None:
        return self._uploads.pop(token, None)

    def issue_response_url(self, channel: str, user: str, message_ts: str, thread_ts: str | None) -> str:
        token = secrets.token_hex(12)
        expires = self.clock.now() + self.limits.response_url_seconds
        uses = self.limits.response_url_uses
        self._response_urls[token] = ResponseUrl(channel, user, message_ts, thread_ts, expires, uses)
        return token

    def use_response_url(self, token: str) -> ResponseUrl:
        """Take one of its uses. Raises SlackError when unknown, too old or used up."""
        found = self._response_urls.get(token)
        if found is None:
            raise SlackError("invalid_url")
        if self.clock.now() >= found.expires:
            raise SlackError("expired_url")
        if found.uses_left < 1:
            raise SlackError("used_url")
        found.uses_left -= 1
        return found
