"""An approval as the approver reads it: the contract of the bucket, with the questions that are asked of it.

Counterpart: schemas/approvals.py, which ingress reads as well, and writes when it spends an approval.
"""

from datetime import datetime, timedelta

from schemas.approvals import ApprovalRecord, MessageRef, Notice, Step
from schemas.events import ApprovalRequested, ApprovalState

#: States in which people may still decide.
OPEN = frozenset({ApprovalState.REQUESTED, ApprovalState.PARTLY_APPROVED})
#: Seconds from the request that channels wait for the blast radius before they ask without it.
PREVIEW_WAIT = 3.0


class Held(ApprovalRecord):
    """One approval, whole, as this service reads and writes it."""

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
    def spender(self) -> str:
        """The ingress that spent it; empty while nothing has."""
        return next((step.by for step in reversed(self.history) if step.state is ApprovalState.SPENT), "")

    @property
    def running(self) -> bool:
        """Whether something used it and how that ended is not known yet."""
        return self.state is ApprovalState.SPENT and self.use is None

    @property
    def header_fields(self) -> tuple[str, ...]:
        """Of an HTTP request, `name: value` of each header field that the approval covers, masked."""
        return tuple(map(str, self.request.operation.attributes.get("fields", ())))

    @property
    def untold(self) -> tuple[Notice, ...]:
        """What channels still have to tell: reminders and escalations only while people can decide."""
        return tuple(each for each in self.notices if not each.done and (self.open or each.kind == "break_glass"))

    def posted(self, channel: str) -> MessageRef | None:
        """The message that shows it there, once the channel has confirmed it."""
        ref = self.messages.get(channel)
        return ref if ref and ref.ts else None

    def posting(self, channel: str) -> MessageRef | None:
        """Set between the intent to post there and the confirmation: a message may or may not be there."""
        ref = self.messages.get(channel)
        return ref if ref and not ref.ts else None

    def noting(self, channel: str, at: MessageRef | None) -> "Held":
        """The record with its message there known (None: there is none); itself when nothing changes."""
        if self.messages.get(channel) == at:
            return self
        others = {name: ref for name, ref in self.messages.items() if name != channel}
        return self.model_copy(update={"messages": others | ({channel: at} if at else {})})

    def preview_due(self, now: datetime) -> bool:
        """Whether people can be asked: the blast radius is there, is not wanted, or did not come in time."""
        wanted = self.request.terms.preview != "none" and self.preview is None
        return not wanted or now >= self.request.at + timedelta(seconds=PREVIEW_WAIT)


def asked(request: ApprovalRequested) -> Held:
    """A new approval: nobody has said anything."""
    return Held(request=request, history=(Step(at=request.at, state=ApprovalState.REQUESTED),))
