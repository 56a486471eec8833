"""api.test, auth.test and apps.connections.open."""

from examples.slack_standin.methods.call import Call
from examples.slack_standin.records import APP_ID, BOT_ID, JSON, TEAM_ID, TEAM_NAME


def api_test(call: Call) -> JSON:
    return {"args": call.arguments}


def auth_test(call: Call) -> JSON:
    bot = call.workspace.bot
    return {
        "url": call.archive_url,
        "team": TEAM_NAME,
        "user": bot.name,
        "team_id": TEAM_ID,
        "user_id": bot.id,
        "bot_id": BOT_ID,
        "is_enterprise_install": False,
    }


def connections_open(call: Call) -> JSON:
    """A WebSocket address that is good for one connection, soon."""
    ticket = call.handles.issue_ticket()
    return {"url": f"{call.base_url.replace('http', 'ws', 1)}link/?ticket={ticket}&app_id={APP_ID}"}
