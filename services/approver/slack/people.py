"""From a Slack account to a reviewer, and back: by the e-mail address that Slack has confirmed.

Fails closed: bots, deactivated accounts, strangers from other workspaces, unconfirmed addresses and people whom the
settings do not name (`identity.people`) cannot decide; each gets to know why. Nor do such accounts get messages.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from slack_sdk.web.async_client import AsyncWebClient

from schemas.approvals import Reviewer
from services.approver.people import Known, is_address
from services.approver.people import reviewer as reviewer_of
from services.approver.slack.web import Rejected, call

#: Seconds for which Slack's answer about an account counts; a deactivated one cannot click in the meantime.
MAX_AGE = 30.0
#: Seconds for which Slack's answer about an address counts, whether it is anybody's or not.
ADDRESS_AGE = 600.0
#: Accounts and addresses remembered, at about 100 bytes each.
MAX_ACCOUNTS = 4096
#: People of one group who are mentioned; whoever wants to call more names a user group (`approvals.slack.mentions`).
MAX_MENTIONS = 10


@dataclass(frozen=True)
class Stranger:
    """An account that cannot decide, and the words that tell its owner why."""

    words: str


@dataclass
class People:
    """Who is behind a click, and whom to tell."""

    web: AsyncWebClient
    known: Known
    #: Group to the id of the Slack user group that stands for it.
    user_groups: dict[str, str] = field(default_factory=dict)
    clock: Callable[[], float] = time.monotonic
    _team: str = ""
    _seen: dict[str, tuple[float, Reviewer | Stranger]] = field(default_factory=dict)
    _addresses: dict[str, tuple[float, str | None]] = field(default_factory=dict)

    async def reviewer(self, user_id: str) -> Reviewer | Stranger:
        """The reviewer who owns this Slack account. Raises SlackTrouble."""
        if (seen := self._seen.get(user_id)) and seen[0] > self.clock():
            return seen[1]
        answer = await call(self.web.users_info(user=user_id))
        found = self._judge(answer["user"], await self._own_team())
        if len(self._seen) >= MAX_ACCOUNTS:
            self._seen.clear()
        self._seen[user_id] = (self.clock() + MAX_AGE, found)
        return found

    async def account(self, email: str) -> str | None:
        """The id of the account that Slack has confirmed this address for, or None. Raises SlackTrouble."""
        email = email.casefold()
        if not is_address(email):
            return None
        if (seen := self._addresses.get(email)) and seen[0] > self.clock():
            return seen[1]
        found = await self._look_up(email)
        if len(self._addresses) >= MAX_ACCOUNTS:
            self._addresses.clear()
        self._addresses[email] = (self.clock() + ADDRESS_AGE, found)
        return found

    async def mention(self, group: str) -> str:
        """Calls everybody in a group: its user group, else the people of the settings. Raises SlackTrouble."""
        if user_group := self.user_groups.get(group):
            return f"<!subteam^{user_group}>"
        members = [person for person in self.known.values() if group in person.groups][:MAX_MENTIONS]
        accounts = [await self.account(person.email) for person in members]
        return " ".join(f"<@{account}>" for account in accounts if account)

    async def _look_up(self, email: str) -> str | None:
        try:
            user = (await call(self.web.users_lookupByEmail(email=email)))["user"]
        except Rejected as rejected:
            if rejected.code == "users_not_found":
                return None
            raise
        stranger = _stranger(user, await self._own_team())
        confirmed = str(user.get("profile", {}).get("email") or "").casefold() == email
        return str(user["id"]) if stranger is None and confirmed else None

    async def _own_team(self) -> str:
        if not self._team:
            self._team = str((await call(self.web.auth_test()))["team_id"])
        return self._team

    def _judge(self, user: dict[str, Any], team: str) -> Reviewer | Stranger:
        if (stranger := _stranger(user, team)) is not None:
            return stranger
        email = user["profile"]["email"]
        person = self.known.get(email.casefold())
        if person is None:
            return Stranger(
                f"{email} is not among the people who decide here (identity.people in countersign.yaml). "
                "Ask whoever runs Countersign to add you, or use `countersign approvals approve`."
            )
        return reviewer_of(person, "slack")


def _stranger(user: dict[str, Any], team: str) -> Stranger | None:
    """Why this account stands for nobody whom we could know."""
    if user.get("is_bot") or user.get("is_workflow_bot") or user.get("id") == "USLACKBOT":
        return Stranger("Apps and bots cannot decide; nothing was done.")
    if user.get("deleted"):
        return Stranger("This Slack account is deactivated; nothing was done.")
    if user.get("is_stranger") or user.get("team_id") != team:
        return Stranger("Your Slack account belongs to another workspace, so it cannot decide here.")
    if not user.get("profile", {}).get("email") or user.get("is_email_confirmed") is not True:
        return Stranger("Slack does not confirm an e-mail address for your account, so we cannot tell who you are.")
    return None
