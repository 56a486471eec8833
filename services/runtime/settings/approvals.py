"""`approvals:` of `countersign.yaml`: how people are asked."""

from pathlib import Path
from typing import Self

from pydantic import model_validator

from services.runtime.settings.values import Seconds, Secret, Section


class SlackSettings(Section):
    """One Slack app. With `app_token` it listens by Socket Mode; with `signing_secret` over HTTP; both may be set."""

    channel: str
    bot_token: Secret
    app_token: Secret | None = None
    signing_secret: Secret | None = None
    api_url: str = "https://slack.com/api/"

    @model_validator(mode="after")
    def _hears_clicks(self) -> Self:
        if self.app_token is None and self.signing_secret is None:
            raise ValueError("set app_token (Socket Mode) or signing_secret (HTTP), else no click can arrive")
        return self


class ApprovalSettings(Section):
    """How people are asked."""

    #: How long a caller waits on its connection.
    wait: Seconds = 300
    slack: SlackSettings | None = None
    #: PEM Ed25519 private key the approvers sign with; by default `<data>/keys/approver.pem`.
    signing_key: Path | None = None
    #: PEM public keys ingress trusts; by default `<data>/keys/approver.pub.pem`.
    trusted_keys: tuple[Path, ...] = ()
