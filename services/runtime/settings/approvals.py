"""`approvals:` of `countersign.yaml`: how people are asked."""

from email.errors import MessageError
from email.headerregistry import Address as Mailbox
from email.utils import parseaddr
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from schemas.base import Name
from services.runtime.settings.values import Seconds, Secret, Section


def _loopback(host: str) -> bool:
    """Whether what is sent there stays on this machine."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _web_address(value: str) -> str:
    """An absolute address, encrypted unless it leads to this machine. Raises ValueError."""
    parts = urlsplit(value)
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.fragment or parts.username:
        raise ValueError("write an address such as https://approver.example.com")
    if parts.scheme == "http" and not _loopback(parts.hostname):
        raise ValueError("write https://; plain http:// is for this machine only")
    return value


def _page_address(value: str) -> str:
    if urlsplit(value).query:
        raise ValueError("write an address without a query, such as https://approver.example.com")
    return _web_address(value).rstrip("/")


def _mailbox(value: str) -> str:
    """`Countersign <countersign@example.com>` or the address alone. Raises ValueError."""
    name, address = parseaddr(value)
    try:
        Mailbox(display_name=name, addr_spec=address)
    except (MessageError, ValueError, IndexError):
        address = ""
    if not all(address.partition("@")) or not value.isprintable() or not address.isascii():
        raise ValueError("write an address such as Countersign <countersign@example.com>")
    return value


WebAddress = Annotated[str, AfterValidator(_web_address)]
#: Where people's browsers find the approver: paths are added to it.
PageAddress = Annotated[str, AfterValidator(_page_address)]
MailboxText = Annotated[str, AfterValidator(_mailbox)]


class SlackSettings(Section):
    """One Slack app. With `app_token` it listens by Socket Mode; with `signing_secret` over HTTP; both may be set."""

    channel: str
    bot_token: Secret
    app_token: Secret | None = None
    signing_secret: Secret | None = None
    api_url: str = "https://slack.com/api/"
    #: Least time between two messages to one channel, by which everything else is paced.
    pace: Seconds = 1
    #: Group to the Slack user group (`S…`) that is mentioned for it when it is called; else its people are.
    mentions: dict[str, Annotated[str, Field(pattern=r"^S[A-Z0-9]{2,20}$")]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _hears_clicks(self) -> Self:
        if self.app_token is None and self.signing_secret is None:
            raise ValueError("set app_token (Socket Mode) or signing_secret (HTTP), else no click can arrive")
        return self


class SmtpSettings(Section):
    """The relay that takes our mail. Certificates are always verified."""

    host: str
    port: int = Field(default=587, ge=1, le=65535)
    #: `starttls` (RFC 3207) is required, never just tried; `tls` from the first byte (RFC 8314); `none` for loopback.
    tls: Literal["starttls", "tls", "none"] = "starttls"
    user: Secret | None = None
    password: Secret | None = None
    #: PEM bundle to verify the relay with, instead of the system's.
    ca: Path | None = None
    #: For each step of a conversation; RFC 5321 (4.5.3.2) would wait minutes, but somebody waits for this mail.
    timeout: Annotated[Seconds, Field(gt=0, le=40)] = 20

    @model_validator(mode="after")
    def _kept_private(self) -> Self:
        if (self.user is None) != (self.password is None):
            raise ValueError("set both user and password, or neither")
        if self.tls == "none" and not _loopback(self.host):
            raise ValueError("tls: none is for a relay on this machine; the mails hold links that decide")
        return self


class EmailSettings(Section):
    """Questions by mail to the people of `identity.people`, with a link each to a page that decides."""

    smtp: SmtpSettings
    sender: MailboxText = Field(alias="from")
    #: Where people's browsers reach `listen.approver`.
    base_url: PageAddress


class WebhookSettings(Section):
    """One receiver of signed POSTs (Standard Webhooks), which may be trusted with decisions."""

    url: WebAddress
    #: `whsec_…`: 24 to 64 bytes in Base64. Both directions are signed with it.
    secret: Secret
    #: While it is changed: the one from before. We sign with both and take either.
    previous_secret: Secret | None = None
    #: What its callbacks may do: nothing; hand on a decision with the reviewer's own token; or name the reviewer.
    decides: Literal["nothing", "token", "people"] = "nothing"
    #: With `decides: people`, the groups it may speak for; without any, all of the person's.
    groups: tuple[str, ...] = ()
    #: PEM bundle to verify it with, instead of the system's.
    ca: Path | None = None
    #: To connect and be answered (Standard Webhooks: 15 to 30 s).
    timeout: Annotated[Seconds, Field(gt=0, le=40)] = 15


class ApprovalSettings(Section):
    """How people are asked."""

    #: How long a caller waits on its connection.
    wait: Seconds = 300
    slack: SlackSettings | None = None
    email: EmailSettings | None = None
    #: By a name of yours, which callbacks and metrics show.
    webhooks: dict[Name, WebhookSettings] = Field(default_factory=dict)
    #: PEM Ed25519 private key the approvers sign with; by default `<data>/keys/approver.pem`.
    signing_key: Path | None = None
    #: PEM public keys ingress trusts; by default `<data>/keys/approver.pub.pem`.
    trusted_keys: tuple[Path, ...] = ()
