"""What people do in Slack: click a button they see, fill in a form, close it, say something.

Each interaction goes to the app over Socket Mode or as a signed POST; the app's answer to a form is carried out.
"""

from typing import Any

from examples.slack_standin.blockkit import elements, view_complaints, with_ids
from examples.slack_standin.delivery import Delivery, Via
from examples.slack_standin.errors import NotOnScreen
from examples.slack_standin.handles import Handles
from examples.slack_standin.http_post import RequestUrl
from examples.slack_standin.payloads import block_actions, view_actions, view_closed, view_submission
from examples.slack_standin.records import JSON, Ephemeral, Message, User, View
from examples.slack_standin.socketmode import SocketMode
from examples.slack_standin.workspace import Workspace

TROUBLE = "We had some trouble connecting. Try again?"  # what Slack puts into a form whose app did not answer


class People:
    """The hands of everybody in the workspace."""

    def __init__(self, workspace: Workspace, handles: Handles, socket: SocketMode, request_url: RequestUrl) -> None:
        self.workspace = workspace
        self.handles = handles
        self.socket = socket
        self.request_url = request_url
        self.response_base = ""

    async def click(
        self,
        user_id: str,
        message_ts: str,
        action_id: str,
        value: str | None = None,
        *,
        via: Via | None = None,
        revision: int = -1,
    ) -> Delivery:
        """Press the button. `revision` reaches for an earlier state of the message: a screen not yet redrawn.

        Raises NotOnScreen when the user does not see the message or it has no such button, KeyError for strangers.
        """
        user = self.workspace.user(user_id)
        shown = self._shown(user, message_ts)
        blocks = shown.blocks if isinstance(shown, Ephemeral) else shown.history[revision].blocks
        action = self._action(blocks, action_id, value)
        return await self._deliver(self._block_actions(user, shown, action), via)

    async def click_in_view(
        self, user_id: str, view_id: str, action_id: str, value: str | None = None, *, via: Via | None = None
    ) -> Delivery:
        """Press a button in a form. Raises NotOnScreen when the form is not open or has no such button."""
        user = self.workspace.user(user_id)
        view = self.workspace.view_of(user, view_id)
        action = self._action(tuple(view.blocks), action_id, value)
        return await self._deliver(view_actions(user, self.handles.issue_trigger(user.id), view, action), via)

    async def submit_view(self, user_id: str, view_id: str, values: JSON, *, via: Via | None = None) -> Delivery:
        """Send the form with `values`, by action_id: `{"reason": "not today"}`.

        Raises NotOnScreen when no such form is open, ValueError when Slack itself would not send it.
        """
        user = self.workspace.user(user_id)
        view = self.workspace.view_of(user, view_id)
        state = _filled(view, values)
        payload = view_submission(user, self.handles.issue_trigger(user.id), view, state)
        return await self._deliver(payload, via, then=lambda delivery: self._after_submit(view, delivery))

    async def close_view(self, user_id: str, view_id: str, *, via: Via | None = None) -> Delivery | None:
        """Cancel the form; the app hears of it only if it asked with notify_on_close."""
        user = self.workspace.user(user_id)
        view = self.workspace.view_of(user, view_id)
        self.workspace.close(view)
        if not view.body.get("notify_on_close"):
            return None
        return await self._deliver(view_closed(user, self.handles.issue_trigger(user.id), view), via)

    def say(self, user_id: str, channel: str, text: str, thread_ts: str | None = None) -> Message:
        """A person's own message, which the app may read but not change."""
        author = self.workspace.user(user_id)
        return self.workspace.post(self.workspace.channel(channel), text, [], thread_ts=thread_ts, author=author)

    async def _deliver(self, payload: JSON, via: Via | None, **then: Any) -> Delivery:
        chosen: Via = via or ("http" if self.request_url.url else "socket")
        delivery = Delivery(self.workspace.new_id("E"), chosen, payload, **then)
        if chosen == "http":
            await self.request_url.deliver(delivery)
        else:
            self.socket.deliver(delivery)
        return delivery

    def _shown(self, user: User, ts: str) -> Message | Ephemeral:
        message = self.workspace.message(ts)
        if message is not None and self.workspace.channels[message.channel].seen_by(user.id):
            return message
        for ephemeral in self.workspace.ephemerals:
            if ephemeral.ts == ts and ephemeral.user == user.id:
                return ephemeral
        raise NotOnScreen(f"{user.name} sees no message {ts}")

    def _action(self, blocks: tuple[JSON, ...], action_id: str, value: str | None) -> JSON:
        for block in blocks:
            for element in elements(block):
                if element["action_id"] == action_id and value in (None, element.get("value")):
                    shown = {name: element[name] for name in ("type", "text", "value", "style") if name in element}
                    return shown | {
                        "action_id": action_id,
                        "block_id": block["block_id"],
                        "action_ts": self.workspace.new_ts(),
                    }
        raise NotOnScreen(f"the message has no button {action_id}" + (f" with value {value}" if value else ""))

    def _block_actions(self, user: User, shown: Message | Ephemeral, action: JSON) -> JSON:
        is_ephemeral = isinstance(shown, Ephemeral)
        message = {"ts": shown.ts} if isinstance(shown, Ephemeral) else shown.as_json(metadata=True)
        token = self.handles.issue_response_url(shown.channel, user.id, shown.ts, shown.thread_ts)
        return block_actions(
            user,
            self.handles.issue_trigger(user.id),
            channel=self.workspace.channels[shown.channel],
            message=message,
            action=action,
            response_url=f"{self.response_base}{token}",
            is_ephemeral=is_ephemeral,
        )

    def _after_submit(self, view: View, delivery: Delivery) -> None:
        """`response_action` (docs: "Modals", "Closing and updating views"); an empty answer closes the form."""
        answer, action = delivery.answer, delivery.answer.get("response_action")
        if not delivery.acked:
            view.errors = {"": TROUBLE}
            self.workspace.changed()
        elif action == "errors":
            view.errors = dict(answer.get("errors", {}))
            self.workspace.changed()
        elif action in ("update", "push"):
            self._next_view(view, answer.get("view"), action)
        else:
            self.workspace.close(view)

    def _next_view(self, view: View, body: Any, action: str) -> None:
        if not isinstance(body, dict) or view_complaints(body):
            view.errors = {"": TROUBLE}
            self.workspace.changed()
            return
        body = body | {"blocks": with_ids(body["blocks"], self.workspace.block_names())}
        if action == "update":
            self.workspace.redraw(view, body)
        else:
            self.workspace.show(View(self.workspace.new_id("V"), view.user, body, self.workspace.new_ts()))


def _filled(view: View, values: JSON) -> JSON:
    """`view.state.values`, with what the form itself enforces: required fields and lengths."""
    state: JSON = {}
    for block in view.blocks:
        if block["type"] != "input":
            continue
        element = block["element"]
        value = values.get(element["action_id"], element.get("initial_value"))
        _enforce(block, element, value)
        state[block["block_id"]] = {element["action_id"]: _answered(element, value)}
    if unknown := values.keys() - {name for entry in state.values() for name in entry}:
        raise ValueError(f"the form has no field {', '.join(sorted(unknown))}")
    return state


def _answered(element: JSON, value: Any) -> JSON:
    if element["type"] == "plain_text_input":
        return {"type": "plain_text_input", "value": value}
    chosen = next((option for option in element.get("options", ()) if option["value"] == value), None)
    return {"type": element["type"], "selected_option": chosen}


def _enforce(block: JSON, element: JSON, value: str | None) -> None:
    if not value:
        if not block.get("optional"):
            raise ValueError(f"the form wants {element['action_id']} filled in")
        return
    if element["type"] == "plain_text_input" and not (
        element.get("min_length", 0) <= len(value) <= element.get("max_length", 3000)
    ):
        raise ValueError(f"the form does not take {len(value)} characters in {element['action_id']}")
