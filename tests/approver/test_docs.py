"""docs/approvers.md and what runs say the same."""

import json
import re
from pathlib import Path
from typing import get_args

import yaml
from faststream.specification import AsyncAPI
from prometheus_client import CollectorRegistry

from schemas.base import new_id
from services.approver.contract import declare
from services.approver.email import page
from services.approver.metrics import Metrics
from services.approver.slack.interactivity import PATH
from services.approver.webhook import callback
from services.approver.webhook.payload import EventType
from services.runtime.nats.broker import make_broker
from services.runtime.settings.approvals import ApprovalSettings
from services.runtime.settings.model import IdentitySettings

TEXT = Path("docs/approvers.md").read_text()
BLOCKS = [yaml.safe_load(found) for found in re.findall(r"```yaml\n(.+?)```", TEXT, re.DOTALL)]

#: Scopes of the methods that services/approver/slack calls (docs.slack.dev, each method's page).
SCOPES = {
    "chat.postMessage": ["chat:write"],
    "chat.update": ["chat:write"],
    "conversations.open": ["im:write"],
    "conversations.replies": ["channels:history", "groups:history"],
    "users.lookupByEmail": ["users:read.email"],
    "views.push": [],
    "views.update": [],
    "chat.postEphemeral": ["chat:write"],
    "conversations.history": ["channels:history", "groups:history", "im:history"],
    "conversations.list": ["channels:read", "groups:read"],
    "users.info": ["users:read", "users:read.email"],
    "views.open": [],
    "auth.test": [],
}


def test_the_manifest_asks_for_the_scopes_that_are_used_and_no_other() -> None:
    [manifest] = [block for block in BLOCKS if "oauth_config" in block]
    source = "".join(path.read_text() for path in Path("services/approver/slack").glob("*.py"))
    called = set(re.findall(r"web\.((?:chat|conversations|users|views|auth|files)_\w+)\(", source))
    assert called == {name.replace(".", "_") for name in SCOPES}
    assert set(manifest["oauth_config"]["scopes"]["bot"]) == {scope for scopes in SCOPES.values() for scope in scopes}
    assert manifest["settings"]["socket_mode_enabled"] is True


def test_the_settings_are_valid_and_the_endpoint_is_the_one_served() -> None:
    examples = [block for block in BLOCKS if "approvals" in block]
    shown = {
        name for example in examples for name in ApprovalSettings.model_validate(example["approvals"]).model_fields_set
    }
    assert shown == {"slack", "email", "webhooks"}
    for example in examples:
        IdentitySettings.model_validate(example.get("identity", {}))
    for path in (PATH, page.PATH, callback.PATH):
        assert path in TEXT


def test_the_callback_that_is_shown_is_one() -> None:
    [shown] = re.findall(r"```json\n(.+?)```", TEXT, re.DOTALL)
    ids = {"approval_id": new_id(), "digest": "ab" * 32}
    assert callback.Callback.model_validate(json.loads(shown) | ids).decision == "approve"
    assert set(get_args(EventType)) <= set(re.findall(r"`(approval\.\w+)`", TEXT))


def test_every_metric_is_documented() -> None:
    registry = CollectorRegistry()
    Metrics(registry)
    named = {found.name for found in registry.collect()}
    documented = {found.removesuffix("_total") for found in re.findall(r"`(countersign_\w+)", TEXT)}
    assert named <= documented


def test_every_subscriber_describes_itself() -> None:
    broker = make_broker(None)
    declare(broker)
    described = AsyncAPI(broker).to_specification().to_yaml()
    for subject in ("cs.approval.requested", "cs.approval.withdrawn", "cs.approval.resolved", "cs.api.approver"):
        assert subject in described
    for title in (
        "ApprovalRequested:Approver",
        "ApprovalResolved:Email",
        "ApprovalResolved:Webhook",
        "ApprovalQuery:Approver",
    ):
        assert title in described
