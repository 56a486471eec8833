"""views.*: modals, opened with a trigger_id that lives three seconds and works once, at most three on each other."""

import json
from typing import Any

from examples.slack_standin.blockkit import view_complaints, with_ids
from examples.slack_standin.errors import SlackError
from examples.slack_standin.methods.call import Call
from examples.slack_standin.records import JSON, View
from examples.slack_standin.workspace import Workspace

VIEW_BYTES = 250_000  # view_too_large
STACK = 3  # "a maximum of 3 views in the view stack"


def open_view(call: Call) -> JSON:
    body = checked(call, call.structured("view"))
    if body.get("external_id") and _by_external_id(call.workspace, body["external_id"]):
        raise SlackError("duplicate_external_id")
    user_id = call.handles.exchange_trigger(call.required("trigger_id"))
    workspace = call.workspace
    view = workspace.show(View(workspace.new_id("V"), user_id, body, workspace.new_ts()))
    return {"view": view.as_json()}


def push_view(call: Call) -> JSON:
    """On top of the one that is open; with the trigger of something done in that form."""
    body = checked(call, call.structured("view"))
    user_id = call.handles.exchange_trigger(call.required("trigger_id"))
    workspace = call.workspace
    stack = [view for view in workspace.views.values() if view.open and view.user == user_id]
    if not stack:
        raise SlackError("not_found")
    if len(stack) >= STACK:
        raise SlackError("push_limit_reached")
    view = View(workspace.new_id("V"), user_id, body, workspace.new_ts(), root=stack[0].id, below=stack[-1].id)
    return {"view": workspace.show(view).as_json()}


def update(call: Call) -> JSON:
    body = checked(call, call.structured("view"))
    view = call.workspace.views.get(call.text("view_id"))
    view = view or _by_external_id(call.workspace, call.text("external_id"))
    if view is None or not view.open:
        raise SlackError("not_found")
    if call.text("hash") and call.text("hash") != view.hash:
        raise SlackError("hash_conflict")
    call.workspace.redraw(view, body)
    return {"view": view.as_json()}


def checked(call: Call, body: Any) -> JSON:
    """A modal that Slack would open, with its block ids filled in. Raises SlackError."""
    if not isinstance(body, dict):
        raise SlackError("invalid_arguments", ["[ERROR] missing required field: view"])
    if len(json.dumps(body)) > VIEW_BYTES:
        raise SlackError("view_too_large")
    if call.limits.block_kit and (complaints := view_complaints(body)):
        raise SlackError("invalid_arguments", complaints)
    return body | {"blocks": with_ids(body["blocks"], call.workspace.block_names())}


def _by_external_id(workspace: Workspace, external_id: str) -> View | None:
    views = (view for view in workspace.views.values() if view.open and external_id)
    return next((view for view in views if view.body.get("external_id") == external_id), None)
