"""Calls of Slack's Web API through slack_sdk, with errors told apart by what may be done about them.

slack_sdk's own retries are off: after a broken connection it repeats the call, which for chat.postMessage posts twice.
"""

import logging
from collections.abc import Awaitable
from typing import Any

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient

from services.approver.channels import ChannelTrouble
from services.runtime.settings import reveal
from services.runtime.settings.approvals import SlackSettings

#: Seconds for one call; well above what Slack needs on a bad day, and well below a lease (`lease`).
TIMEOUT = 6
#: Seconds to wait after a 429 that does not say how long.
DEFAULT_RETRY_AFTER = 5.0
#: Longest Retry-After that we believe, so that one bad header does not silence a channel for days.
MAX_RETRY_AFTER = 600.0

#: slack_sdk logs request bodies at debug level; nothing of ours belongs there.
LOGGER = logging.getLogger("countersign.slack")
LOGGER.setLevel(logging.WARNING)


class SlackTrouble(ChannelTrouble):
    """A call failed. `carried_out` is True when Slack may have done it all the same."""

    carried_out = False

    def __init__(self, code: str) -> None:
        super().__init__(code)
        #: Slack's error code, or ours: `ratelimited`, `unavailable`.
        self.code = code


class RateLimited(SlackTrouble):
    """429: nothing was done; again after `retry_after` seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__("ratelimited")
        self.retry_after = retry_after


class Unavailable(SlackTrouble):
    """No answer, or a 5xx; whether it was done is unknown."""

    carried_out = True


class Rejected(SlackTrouble):
    """Slack understood and will not: a missing scope, an unknown channel. An operator has to act."""


def web_client(settings: SlackSettings) -> AsyncWebClient:
    """A client with the bot's token. Raises SettingsError when the token cannot be read."""
    token = reveal(settings.bot_token, "approvals.slack.bot_token")
    return AsyncWebClient(token, base_url=settings.api_url, timeout=TIMEOUT, retry_handlers=[], logger=LOGGER)


async def call(method: Awaitable[Any]) -> Any:
    """The answer of one Web API call. Raises SlackTrouble."""
    try:
        return await method
    except SlackApiError as error:
        raise _trouble(error) from None  # its text quotes the whole answer
    except (SlackClientError, aiohttp.ClientError, OSError, TimeoutError):
        raise Unavailable("unavailable") from None


def _trouble(error: SlackApiError) -> SlackTrouble:
    response: Any = error.response
    status: int = getattr(response, "status_code", None) or getattr(response, "status", None) or 0
    if status == 429:
        return RateLimited(_retry_after(response))
    if status >= 500:
        return Unavailable("unavailable")
    data = getattr(response, "data", None)
    code = data.get("error") if isinstance(data, dict) else None
    return Rejected(code) if isinstance(code, str) else Unavailable("unavailable")


def _retry_after(response: Any) -> float:
    headers = {str(name).lower(): value for name, value in dict(getattr(response, "headers", {})).items()}
    try:
        return min(max(float(headers["retry-after"]), 0.0), MAX_RETRY_AFTER)
    except (KeyError, ValueError):
        return DEFAULT_RETRY_AFTER
