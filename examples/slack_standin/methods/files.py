"""files.*: the three-step upload. Step two, the POST to the upload address, is in webapi.py."""

from examples.slack_standin.errors import SlackError
from examples.slack_standin.methods.call import Call
from examples.slack_standin.records import JSON, Channel, File

FILE_BYTES = 10 * 1024 * 1024  # plenty for a statement to be read whole; Slack itself takes 1 GB


def get_upload_url(call: Call) -> JSON:
    name, size = call.required("filename"), call.number("length", 0)
    if not 0 < size <= FILE_BYTES:
        raise SlackError("invalid_arguments", ["[ERROR] must be more than 0 [json-pointer:/length]"])
    file = File(call.workspace.new_id("F"), name, size)
    call.workspace.files[file.id] = file
    return {"file_id": file.id, "upload_url": f"{call.base_url}upload/v1/{call.handles.issue_upload(file.id)}"}


def complete_upload(call: Call) -> JSON:
    """Share uploaded files in one message; without a channel they stay private."""
    wanted = call.structured("files")
    if not isinstance(wanted, list) or not wanted:
        raise SlackError("invalid_arguments", ["[ERROR] missing required field: files"])
    files = [_uploaded(call, entry) for entry in wanted]
    for channel in _destinations(call):
        for file in files:
            file.channels.append(channel.id)
        call.workspace.post(
            channel,
            call.text("initial_comment"),
            [],
            thread_ts=call.text("thread_ts") or None,
            files=[file.id for file in files],
        )
    return {"files": [file.as_json(call.base_url) for file in files]}


def _uploaded(call: Call, entry: object) -> File:
    file = call.workspace.files.get(str(entry.get("id"))) if isinstance(entry, dict) else None
    if file is None or file.content is None or not isinstance(entry, dict):
        raise SlackError("file_not_found")
    file.title = str(entry.get("title") or file.name)
    return file


def _destinations(call: Call) -> list[Channel]:
    names = [call.text("channel_id"), *call.text("channels").split(",")]
    found = [call.workspace.channels.get(name) for name in dict.fromkeys(names) if name]
    if None in found:
        raise SlackError("channel_not_found")
    return [call.writable(channel) for channel in found if channel]
