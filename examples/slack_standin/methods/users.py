"""users.*: who somebody is."""

from examples.slack_standin.errors import SlackError
from examples.slack_standin.methods.call import Call
from examples.slack_standin.records import JSON


def info(call: Call) -> JSON:
    return {"user": call.user().as_json()}


def list_users(call: Call) -> JSON:
    members = [user.as_json() for user in call.workspace.users.values()]
    return {"members": members, "response_metadata": {"next_cursor": ""}}


def lookup_by_email(call: Call) -> JSON:
    """Case does not matter in an address; a deactivated user is not found."""
    email = call.required("email", "users_not_found").lower()
    for user in call.workspace.users.values():
        if (user.email or "").lower() == email and not user.deleted:
            return {"user": user.as_json()}
    raise SlackError("users_not_found")
