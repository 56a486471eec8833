"""What this service hears and says on the bus, for docs/asyncapi.yaml: the subscribers themselves, without parts."""

from faststream.nats import NatsBroker

from schemas import subjects
from schemas.events import ApprovalResolved, GrantRevoked, VerdictReached
from services.approver import configured, on_ingress, on_query, on_requested


def declare(broker: NatsBroker) -> None:
    """Put them on a broker that never connects."""
    on_requested.subscribe(broker)
    on_ingress.subscribe(broker)
    on_query.subscribe(broker)
    configured.declare(broker)
    broker.publisher(subjects.APPROVALS_RESOLVED, schema=ApprovalResolved, title="ApprovalResolved")
    broker.publisher(subjects.APPROVALS_REVOKED, schema=GrantRevoked, title="GrantRevoked")
    broker.publisher(subjects.VERDICTS_OF_PEOPLE, schema=VerdictReached, title="VerdictReached:Approver")
