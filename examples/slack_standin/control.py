"""The stand-in over HTTP for another process: the page at `/`, JSON under `/standin/…`.

    GET  state?after=N&wait=S    everything there is to see, once its revision is past N (or S seconds are over)
    POST click                   {user, message_ts, action_id, value?, via?, revision?, wait?}, in a form
                                 {user, view_id, action_id, value?, via?}
    POST submit                  {user, view_id, values, via?, wait?}      POST close  {user, view_id, via?}
    POST say                     {user, channel, text}
    POST wait                    {channel, contains?, action_id?, ts?, timeout?} -> the message; 408 without one
    POST fault                   {outage: "503"|"refused"} {recover: true} {rate_limit: {calls, retry_after, method}}
                                 {fail: n} {lose_answers: n} {forge_signatures: n} {drop_sockets: true}
                                 {disconnect: reason} {redeliver: envelope id or null} {replay: index}
    POST request_url             {url}

Only JSON bodies are taken, so that a web page elsewhere cannot post here without asking first (CORS).
"""

import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from examples.slack_standin.blockkit import elements
from examples.slack_standin.delivery import Delivery
from examples.slack_standin.errors import SlackError
from examples.slack_standin.records import JSON, Message, plain

if TYPE_CHECKING:
    from examples.slack_standin.server import SlackStandin

PAGE = Path(__file__).with_name("page.html")
LONGEST_WAIT = 60.0  # seconds one request may hang

Action = Callable[["SlackStandin", JSON], Awaitable[Any]]


class Control:
    """The routes of the viewer's listener."""

    def __init__(self, standin: "SlackStandin") -> None:
        self.standin = standin

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/", self.page),
            web.get("/archives/{channel}/{message}", self.page),
            web.get("/files/{file_id}", self.file),
            web.get("/standin/state", self.state),
            web.post("/standin/{action}", self.act),
        ]

    async def page(self, request: web.Request) -> web.StreamResponse:
        return web.FileResponse(PAGE, headers={"Content-Type": "text/html; charset=utf-8"})

    async def file(self, request: web.Request) -> web.Response:
        file = self.standin.workspace.files.get(request.match_info["file_id"])
        if file is None or file.content is None:
            raise web.HTTPNotFound
        return web.Response(text=file.text, content_type="text/plain", charset="utf-8")

    async def state(self, request: web.Request) -> web.Response:
        workspace = self.standin.workspace
        after, wait = int(request.query.get("after", -1)), float(request.query.get("wait", 0))
        with contextlib.suppress(TimeoutError):
            await workspace.wait_for(lambda: True if workspace.revision > after else None, min(wait, LONGEST_WAIT))
        return web.json_response(snapshot(self.standin))

    async def act(self, request: web.Request) -> web.Response:
        action = ACTIONS.get(request.match_info["action"])
        if action is None:
            raise web.HTTPNotFound
        if request.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType
        try:
            return web.json_response(await action(self.standin, await request.json()))
        except TimeoutError:
            return _problem(408, "it did not happen in time")
        except (LookupError, SlackError, ValueError, TypeError) as error:
            return _problem(409, str(error))


def snapshot(standin: "SlackStandin") -> JSON:
    """Everything there is to see, as JSON."""
    workspace = standin.workspace
    return {
        "revision": workspace.revision,
        "bot": workspace.bot.as_json(),
        "users": [user.as_json() for user in workspace.users.values()],
        "channels": [channel.as_json() for channel in workspace.channels.values()],
        "messages": [plain(message) for message in workspace.log if not message.deleted],
        "ephemerals": [plain(ephemeral) for ephemeral in workspace.ephemerals],
        "views": [view.as_json() | plain(view) for view in workspace.views.values()],
        "files": [file.as_json(standin.viewer_url) for file in standin.files if file.content is not None],
        "sockets": len(standin.socket.connections),
        "calls": standin.calls,
    }


async def click(standin: "SlackStandin", body: JSON) -> JSON:
    if "view_id" in body:
        return _outcome(await standin.click_in_view(**_only(body, "user view_id action_id value via")))
    return _outcome(await standin.click(**_only(body, "user message_ts action_id value via revision wait")))


async def submit(standin: "SlackStandin", body: JSON) -> JSON:
    return _outcome(await standin.submit_view(**_only(body, "user view_id values via wait")))


async def close(standin: "SlackStandin", body: JSON) -> JSON:
    delivery = await standin.people.close_view(body["user"], body["view_id"], via=body.get("via"))
    return _outcome(delivery) if delivery else {}


async def say(standin: "SlackStandin", body: JSON) -> JSON:
    return plain(standin.people.say(body["user"], body["channel"], body["text"]))


async def wait(standin: "SlackStandin", body: JSON) -> JSON:
    timeout = min(float(body.get("timeout", 10)), LONGEST_WAIT)
    return plain(await standin.wait_for_message(body["channel"], lambda message: _matches(message, body), timeout))


async def request_url(standin: "SlackStandin", body: JSON) -> JSON:
    standin.http.url = body["url"]
    return {}


async def fault(standin: "SlackStandin", body: JSON) -> JSON:
    """One or several faults, in the order given."""
    for name, setting in body.items():
        if result := await _fault(standin, name, setting):
            return result
    return {}


async def _fault(standin: "SlackStandin", name: str, setting: Any) -> JSON | None:
    match name:
        case "outage":
            await standin.outage(setting)
        case "recover":
            await standin.recover()
        case "rate_limit":
            standin.faults.rate_limit_next(**setting)
        case "fail":
            standin.faults.fail_next(setting)
        case "lose_answers":
            standin.faults.lose_answers(setting)
        case "forge_signatures":
            standin.faults.forge_signatures(setting)
        case "drop_sockets":
            standin.drop_sockets()
        case "disconnect":
            standin.disconnect_sockets(setting)
        case "redeliver":
            return _outcome(standin.redeliver(setting))
        case "replay":
            return {"status": await standin.replay(setting)}
        case _:
            raise ValueError(f"there is no fault {name}")
    return None


ACTIONS: dict[str, Action] = {
    "click": click,
    "submit": submit,
    "close": close,
    "say": say,
    "wait": wait,
    "fault": fault,
    "request_url": request_url,
}


def _only(body: JSON, names: str) -> JSON:
    if unknown := body.keys() - set(names.split()):
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
    return body


def _matches(message: Message, body: JSON) -> bool:
    """Each condition that is given must hold; `contains` looks at the text and the blocks."""
    shown = f"{message.text}\n{message.blocks}"
    actions = {element["action_id"] for block in message.blocks for element in elements(block)}
    return (
        body.get("contains", "") in shown
        and body.get("ts") in (None, message.ts)
        and ("action_id" not in body or body["action_id"] in actions)
    )


def _outcome(delivery: Delivery) -> JSON:
    return {
        "envelope_id": delivery.id,
        "state": delivery.state,
        "reason": delivery.reason,
        "attempts": delivery.attempts,
        "status": delivery.status,
        "answer": delivery.answer,
    }


def _problem(status: int, detail: str) -> web.Response:
    return web.json_response({"error": detail}, status=status)
