"""An approval as the approver keeps it: the contract of the bucket, and what only the approver needs to know.

Counterpart: schemas/approvals.py, which ingress reads. When ingress spends an approval it writes back the fields that
it knows; by then the grant exists, or, after a crash in those milliseconds, is not given: people are asked again.
"""

from datetime import datetime

from pydantic import Field

from schemas.approvals import ApprovalRecord, MessageRef, Step
from schemas.events import ApprovalRequested, ApprovalState

#: States in which people may still decide.
OPEN = frozenset({ApprovalState.REQUESTED, ApprovalState.PARTLY_APPROVED})


class Held(ApprovalRecord):
    """One approval, whole, as this service reads and writes it."""

    #: Seconds of the time-boxed grant that everybody who has approved so far agreed to; 0 for "this once".
    grant_seconds: float = Field(default=0, ge=0)

    @property
    def approval_id(self) -> str:
        """Its key in the bucket."""
        return self.request.approval_id

    @property
    def open(self) -> bool:
        """Whether people may still decide."""
        return self.state in OPEN

    @property
    def resolution(self) -> ApprovalState:
        """How the question was settled; using an approval does not change that. Meaningless while open."""
        return ApprovalState.APPROVED if self.state is ApprovalState.SPENT else self.state

    @property
    def resolved_at(self) -> datetime:
        """When it was settled; when it was asked, while open."""
        moments = [step.at for step in self.history if step.state is self.resolution]
        return moments[-1] if moments and not self.open else self.request.at

    @property
    def rules(self) -> tuple[str, ...]:
        """The rules that asked, in the policy's order."""
        return tuple(requirement.rule for requirement in self.request.terms.requirements)

    @property
    def posted(self) -> MessageRef | None:
        """The message that shows it, once Slack has confirmed it."""
        return self.message if self.message and self.message.ts else None

    @property
    def posting(self) -> bool:
        """True between the intent to post and Slack's confirmation: a message may or may not be there."""
        return self.message is not None and not self.message.ts


def asked(request: ApprovalRequested) -> Held:
    """A new approval: nobody has said anything."""
    return Held(request=request, history=(Step(at=request.at, state=ApprovalState.REQUESTED),))
