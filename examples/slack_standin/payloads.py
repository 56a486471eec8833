"""The JSON of interactions (docs.slack.dev/reference/interaction-payloads), as the app receives it."""

from examples.slack_standin.records import APP_ID, JSON, TEAM_ID, TEAM_NAME, Channel, User, View


def _common(kind: str, user: User, trigger_id: str) -> JSON:
    return {
        "type": kind,
        "team": {"id": TEAM_ID, "domain": TEAM_NAME},
        "user": {"id": user.id, "username": user.name, "name": user.name, "team_id": user.team_id},
        "api_app_id": APP_ID,
        "token": "deprecated",
        "trigger_id": trigger_id,
        "enterprise": None,
        "is_enterprise_install": False,
    }


def block_actions(
    user: User,
    trigger_id: str,
    *,
    channel: Channel,
    message: JSON,
    action: JSON,
    response_url: str,
    is_ephemeral: bool,
) -> JSON:
    container = {
        "type": "message",
        "message_ts": message["ts"],
        "channel_id": channel.id,
        "is_ephemeral": is_ephemeral,
    }
    payload = _common("block_actions", user, trigger_id) | {
        "container": container,
        "channel": {"id": channel.id, "name": "directmessage" if channel.im_with else channel.name},
        "state": {"values": {}},
        "response_url": response_url,
        "actions": [action],
    }
    return payload if is_ephemeral else payload | {"message": message}


def view_actions(user: User, trigger_id: str, view: View, action: JSON) -> JSON:
    """A button in a form: no channel, no message, no response_url."""
    return _common("block_actions", user, trigger_id) | {
        "container": {"type": "view", "view_id": view.id},
        "view": view.as_json(),
        "actions": [action],
    }


def view_submission(user: User, trigger_id: str, view: View, values: JSON) -> JSON:
    return _common("view_submission", user, trigger_id) | {"view": view.as_json(values), "response_urls": []}


def view_closed(user: User, trigger_id: str, view: View) -> JSON:
    return _common("view_closed", user, trigger_id) | {"view": view.as_json(), "is_cleared": False}
