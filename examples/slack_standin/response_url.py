"""`/actions/…`: the address in an interaction through which the app may answer it, five times in half an hour.

Counterpart: slack_sdk.webhook. Documented in "Handling user interaction", "Message responses".
"""

from dataclasses import dataclass

from aiohttp import web

from examples.slack_standin.blockkit import message_complaints, with_ids
from examples.slack_standin.errors import SlackError
from examples.slack_standin.handles import Handles, ResponseUrl
from examples.slack_standin.limits import Limits
from examples.slack_standin.records import JSON
from examples.slack_standin.workspace import Workspace


@dataclass(slots=True)
class ResponseUrls:
    workspace: Workspace
    handles: Handles
    limits: Limits

    async def answer(self, request: web.Request) -> web.Response:
        try:
            body = await request.json()
            self._carry_out(self.handles.use_response_url(request.match_info["token"]), body)
        except SlackError as error:
            status = 400 if error.code in ("invalid_blocks", "no_text", "invalid_payload") else 404
            return web.json_response({"ok": False, "error": error.code}, status=status)
        except ValueError:
            return web.json_response({"ok": False, "error": "invalid_payload"}, status=400)
        return web.Response(text="ok")

    def _carry_out(self, target: ResponseUrl, body: JSON) -> None:
        if not isinstance(body, dict):
            raise SlackError("invalid_payload")
        original = self.workspace.message(target.message_ts, target.channel)
        text, blocks = str(body.get("text") or ""), self._blocks(body)
        if body.get("delete_original"):
            if original is not None:
                self.workspace.delete(original)
        elif not text and not blocks:
            raise SlackError("no_text")
        elif body.get("replace_original") and original is not None:
            self.workspace.edit(original, text, blocks)
        elif body.get("response_type") == "in_channel":
            thread = body.get("thread_ts")
            self.workspace.post(self.workspace.channels[target.channel], text, blocks, thread_ts=thread)
        else:
            self.workspace.whisper(target.channel, target.user, text, blocks, body.get("thread_ts"))

    def _blocks(self, body: JSON) -> list[JSON]:
        blocks = body.get("blocks") or []
        if self.limits.block_kit and (complaints := message_complaints(blocks)):
            raise SlackError("invalid_blocks", complaints)
        return with_ids(blocks, self.workspace.block_names())
