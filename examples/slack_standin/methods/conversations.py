"""conversations.*: where one can post, and what was posted there."""

from examples.slack_standin.errors import SlackError
from examples.slack_standin.methods.call import Call
from examples.slack_standin.records import JSON, Message

PAGE = 100  # messages or channels in one answer unless `limit` says otherwise
PAGE_MAX = 1000


def open_direct(call: Call) -> JSON:
    user_ids = [name for name in call.required("users").split(",") if name]
    user = call.workspace.users.get(user_ids[0]) if len(user_ids) == 1 else None
    if user is None:
        raise SlackError("user_not_found")
    known = len(call.workspace.channels)
    channel = call.workspace.direct_channel(user)
    return {"channel": channel.as_json(), "already_open": known == len(call.workspace.channels)}


def list_channels(call: Call) -> JSON:
    kinds = call.text("types", "public_channel").split(",")
    shown = [
        channel.as_json()
        for channel in call.workspace.channels.values()
        if channel.im_with is None
        and ("private_channel" if channel.is_private else "public_channel") in kinds
        and not (channel.is_private and not channel.has_bot)
        and not (call.flag("exclude_archived") and channel.is_archived)
    ]
    start, limit = call.number("cursor", 0), _limit(call)
    following = str(start + limit) if start + limit < len(shown) else ""
    return {"channels": shown[start : start + limit], "response_metadata": {"next_cursor": following}}


def info(call: Call) -> JSON:
    channel = call.workspace.channels.get(call.text("channel"))
    if channel is None or (channel.is_private and not channel.has_bot):
        raise SlackError("channel_not_found")
    return {"channel": channel.as_json()}


def history(call: Call) -> JSON:
    """Newest first, replies left out."""
    found = [
        message for message in call.workspace.messages(call.channel().id) if message.thread_ts in (None, message.ts)
    ]
    return _page(call, found[::-1])


def replies(call: Call) -> JSON:
    """A thread, its first message first."""
    channel, ts = call.channel(), call.required("ts", "thread_not_found")
    found = [message for message in call.workspace.messages(channel.id) if ts in (message.ts, message.thread_ts)]
    if not found:
        raise SlackError("thread_not_found")
    return _page(call, found)


def _page(call: Call, messages: list[Message]) -> JSON:
    oldest, latest = call.text("oldest", "0"), call.text("latest") or "9999999999.999999"
    inclusive, limit, start = call.flag("inclusive"), _limit(call), call.number("cursor", 0)
    within = [
        message
        for message in messages
        if oldest < message.ts < latest or (inclusive and message.ts in (oldest, latest))
    ]
    metadata = call.flag("include_all_metadata")
    shown = [message.as_json(metadata=metadata) for message in within[start : start + limit]]
    following = str(start + limit) if start + limit < len(within) else ""
    return {"messages": shown, "has_more": bool(following), "response_metadata": {"next_cursor": following}}


def _limit(call: Call) -> int:
    return max(1, min(call.number("limit", PAGE), PAGE_MAX))
