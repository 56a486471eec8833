"""chat.*: post, update, delete, whisper, link."""

from typing import Any

from examples.slack_standin.errors import SlackError
from examples.slack_standin.methods.call import Call
from examples.slack_standin.records import JSON, Channel, Message

TRUNCATED_AT = 40_000  # chat.postMessage cuts longer text off
UPDATE_TEXT = 4_000  # chat.update refuses longer text: msg_too_long


def post_message(call: Call) -> JSON:
    channel = _destination(call)
    text, blocks = call.text("text")[:TRUNCATED_AT], call.blocks()
    if not text and not blocks:
        raise SlackError("no_text")
    message = call.workspace.post(
        channel, text, blocks or [], thread_ts=_thread(call, channel), metadata=_metadata(call)
    )
    return {"channel": channel.id, "ts": message.ts, "message": message.as_json()}


def update(call: Call) -> JSON:
    channel = call.channel()
    message = _own(call, channel, "cant_update_message")
    text, blocks = call.text("text"), call.blocks()
    if len(text) > UPDATE_TEXT and call.limits.block_kit:
        raise SlackError("msg_too_long")
    if not text and blocks is None:
        raise SlackError("no_text")
    # Text alone replaces the blocks; blocks alone keep the text (docs: chat.update, "blocks").
    call.workspace.edit(message, text or message.text, blocks or [])
    if (metadata := _metadata(call)) is not None:
        message.metadata = metadata
    return {"channel": channel.id, "ts": message.ts, "text": message.text, "message": message.as_json()}


def delete(call: Call) -> JSON:
    channel = call.channel()
    message = _own(call, channel, "cant_delete_message")
    call.workspace.delete(message)
    return {"channel": channel.id, "ts": message.ts}


def post_ephemeral(call: Call) -> JSON:
    channel, text, blocks = call.channel(), call.text("text"), call.blocks()
    user = call.workspace.users.get(call.text("user"))
    if user is None or not channel.seen_by(user.id):
        raise SlackError("user_not_in_channel")
    if not text and not blocks:
        raise SlackError("no_text")
    ephemeral = call.workspace.whisper(channel.id, user.id, text, blocks or [], call.text("thread_ts") or None)
    return {"message_ts": ephemeral.ts}


def get_permalink(call: Call) -> JSON:
    channel = call.channel()
    ts = call.required("message_ts", "message_not_found")
    message = _existing(call, channel, ts)
    return {
        "channel": channel.id,
        "permalink": f"{call.archive_url}archives/{channel.id}/p{message.ts.replace('.', '')}",
    }


def _destination(call: Call) -> Channel:
    """A channel by id or name, or a user's id for a direct message."""
    name = call.required("channel", "channel_not_found")
    user = call.workspace.users.get(name)
    return call.workspace.direct_channel(user) if user else call.writable(call.workspace.channel(name))


def _thread(call: Call, channel: Channel) -> str | None:
    thread_ts = call.text("thread_ts")
    if not thread_ts:
        return None
    if call.workspace.message(thread_ts, channel.id) is None:
        raise SlackError("thread_not_found")
    return thread_ts


def _metadata(call: Call) -> Any:
    metadata = call.structured("metadata", "invalid_metadata_format")
    if metadata is not None and not (isinstance(metadata, dict) and {"event_type", "event_payload"} <= metadata.keys()):
        raise SlackError("invalid_metadata_format")
    return metadata


def _existing(call: Call, channel: Channel, ts: str) -> Message:
    message = call.workspace.message(ts, channel.id)
    if message is None:
        raise SlackError("message_not_found")
    return message


def _own(call: Call, channel: Channel, error: str) -> Message:
    message = _existing(call, channel, call.required("ts", "message_not_found"))
    if message.user != call.workspace.bot.id:
        raise SlackError(error)
    return message
