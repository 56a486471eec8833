"""What each Web API method does: pure changes of the workspace, one module per family.

A method takes a `Call` and returns the members of its answer besides `ok`, or raises SlackError.
`METHODS` is the whole of what the stand-in answers; any other name is `unknown_method`, as at Slack.
"""

from collections.abc import Callable

from examples.slack_standin.methods import apps, chat, conversations, files, users, views
from examples.slack_standin.methods.call import Call
from examples.slack_standin.records import JSON

Method = Callable[[Call], JSON]

METHODS: dict[str, Method] = {
    "api.test": apps.api_test,
    "auth.test": apps.auth_test,
    "apps.connections.open": apps.connections_open,
    "chat.postMessage": chat.post_message,
    "chat.update": chat.update,
    "chat.postEphemeral": chat.post_ephemeral,
    "chat.delete": chat.delete,
    "chat.getPermalink": chat.get_permalink,
    "conversations.open": conversations.open_direct,
    "conversations.list": conversations.list_channels,
    "conversations.info": conversations.info,
    "conversations.history": conversations.history,
    "conversations.replies": conversations.replies,
    "files.getUploadURLExternal": files.get_upload_url,
    "files.completeUploadExternal": files.complete_upload,
    "users.info": users.info,
    "users.list": users.list_users,
    "users.lookupByEmail": users.lookup_by_email,
    "views.open": views.open_view,
    "views.push": views.push_view,
    "views.update": views.update,
}

__all__ = ["METHODS", "Call", "Method"]
