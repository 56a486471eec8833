"""From a Slack account to a reviewer: by the e-mail address that Slack has confirmed, mapped in `identity.people`.

Fails closed: bots, deactivated accounts, strangers from other workspaces, unconfirmed addresses and people whom the
settings do not name cannot decide; each gets to know why.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from slack_sdk.web.async_client import AsyncWebClient

from schemas.approvals import Reviewer
from services.approver.slack.web import call
from services.runtime.settings import SettingsError
from services.runtime.settings.model import Person

#: Seconds for which Slack's answer about an account counts; a deactivated one cannot click in the meantime.
MAX_AGE = 30.0
#: Accounts remembered, at about 100 bytes each.
MAX_ACCOUNTS = 4096


@dataclass(frozen=True)
class Stranger:
    """An account that cannot decide, and the words that tell its owner why."""

    words: str


@dataclass
class People:
    """Who is behind a click."""

    web: AsyncWebClient
    known: dict[str, Person]
    clock: Callable[[], float] = time.monotonic
    _team: str = ""
    _seen: dict[str, tuple[float, Reviewer | Stranger]] = field(default_factory=dict)

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

    async def _own_team(self) -> str:
        if not self._team:
            self._team = str((await call(self.web.auth_test()))["team_id"])
        return self._team

    def _judge(self, user: dict[str, Any], team: str) -> Reviewer | Stranger:
        if user.get("is_bot") or user.get("is_workflow_bot") or user.get("id") == "USLACKBOT":
            return Stranger("Apps and bots cannot decide; nothing was done.")
        if user.get("deleted"):
            return Stranger("This Slack account is deactivated; nothing was done.")
        if user.get("is_stranger") or user.get("team_id") != team:
            return Stranger("Your Slack account belongs to another workspace, so it cannot decide here.")
        email = user.get("profile", {}).get("email") or ""
        if not email or user.get("is_email_confirmed") is not True:
            return Stranger("Slack does not confirm an e-mail address for your account, so we cannot tell who you are.")
        person = self.known.get(email.casefold())
        if person is None:
            return Stranger(
                f"{email} is not among the people who decide here (identity.people in countersign.yaml). "
                "Ask whoever runs Countersign to add you, or use `countersign approvals approve`."
            )
        return Reviewer(
            issuer=person.issuer,
            subject=person.subject or person.email,
            email=person.email,
            groups=person.groups,
            via="slack",
        )


def by_address(people: Iterable[Person]) -> dict[str, Person]:
    """People by e-mail address, in lower case. Raises SettingsError when one address stands for two."""
    known: dict[str, Person] = {}
    for person in people:
        if known.setdefault(person.email.casefold(), person) is not person:
            raise SettingsError(f"countersign.yaml: identity.people: {person.email} stands there twice; merge the two")
    return known
