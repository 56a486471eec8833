"""Which service may publish and hear what: a NATS user per role (G3, G5: ingress cannot publish a verdict).

The same table makes the embedded server's configuration and `deploy/nats.conf`. JetStream's API is on subjects too
(`$JS.API.…`, NATS reference "JetStream wire API"), so a role lists the calls
its code makes, and no wildcard above them.
"""

from dataclasses import dataclass
from typing import Literal

from schemas import subjects as s

Role = Literal["admin", "ingress", "policy", "approver", "recorder"]
ROLES: tuple[Role, ...] = ("admin", "ingress", "policy", "approver", "recorder")


@dataclass(frozen=True)
class Permissions:
    """Subjects a role may use; `responses` lets it answer the reply subject of a request it got."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    responses: bool = False


def inbox(role: Role) -> str:
    """The role's own inbox prefix, so that nobody reads or forges another's acks."""
    return f"_INBOX_{role}"


def of(role: Role) -> Permissions:
    """The permissions of one role."""
    allowed = _TABLE[role]
    return Permissions(allowed.publish, (*allowed.subscribe, f"{inbox(role)}.>"), allowed.responses)


def _read_bucket(bucket: str) -> tuple[str, ...]:
    stream = f"KV_{bucket}"
    return (
        f"$JS.API.STREAM.INFO.{stream}",
        f"$JS.API.DIRECT.GET.{stream}.>",
        f"$JS.API.STREAM.MSG.GET.{stream}",
        f"$JS.API.CONSUMER.CREATE.{stream}.>",
        f"$JS.API.CONSUMER.CREATE.{stream}",
        f"$JS.API.CONSUMER.INFO.{stream}.>",
        f"$JS.API.CONSUMER.DELETE.{stream}.>",
    )


def _write_bucket(bucket: str) -> tuple[str, ...]:
    return (*_read_bucket(bucket), f"$KV.{bucket}.>")


def _consume(stream: str, *durables: str) -> tuple[str, ...]:
    calls: list[str] = [f"$JS.API.STREAM.INFO.{stream}", "$JS.API.STREAM.NAMES"]
    for durable in durables:
        calls += [
            f"$JS.API.CONSUMER.INFO.{stream}.{durable}",
            f"$JS.API.CONSUMER.CREATE.{stream}.{durable}",
            f"$JS.API.CONSUMER.CREATE.{stream}.{durable}.>",
            f"$JS.API.CONSUMER.DURABLE.CREATE.{stream}.{durable}",
            f"$JS.API.CONSUMER.DELETE.{stream}.{durable}",
            f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}",
            f"$JS.ACK.{stream}.{durable}.>",
        ]
    return tuple(calls)


_TABLE: dict[Role, Permissions] = {
    "admin": Permissions(publish=(">",), subscribe=(">",)),
    "ingress": Permissions(
        publish=(
            s.ATTEMPTS,
            s.OUTCOMES,
            s.SESSIONS,
            s.FRAMES,
            s.APPROVALS_WITHDRAWN,
            s.APPROVALS_PREVIEWED,
            s.APPROVALS_USED,
            s.APPROVER_API,
            *_write_bucket(s.APPROVALS_BUCKET),
            *_read_bucket(s.GRANTS_BUCKET),
            s.GRANT_USES,
            *_read_bucket(s.POLICY_BUCKET),
            *_write_bucket(s.INGRESSES_BUCKET),
            *_write_bucket(s.VAULT_BUCKET),
            "$JS.FC.>",
        ),
        subscribe=(s.VERDICTS, s.GRANTS_CHANGED),
    ),
    "policy": Permissions(
        publish=(
            s.VERDICTS_OF_POLICY,
            s.APPROVALS_REQUESTED,
            *_read_bucket(s.POLICY_BUCKET),
            *_read_bucket(s.GRANTS_BUCKET),
            "$JS.FC.>",
        ),
        subscribe=(s.ATTEMPTS,),
    ),
    "approver": Permissions(
        publish=(
            s.VERDICTS_OF_PEOPLE,
            s.APPROVALS_RESOLVED,
            s.APPROVALS_USED,
            s.APPROVALS_REVOKED,
            *_write_bucket(s.APPROVALS_BUCKET),
            *_write_bucket(s.GRANTS_BUCKET),
            *_read_bucket(s.INGRESSES_BUCKET),
            *_write_bucket(s.DELIVERIES_BUCKET),
            *_consume(
                s.AUDIT_STREAM,
                "approver-requested",
                "approver-withdrawn",
                "approver-previewed",
                "approver-used",
                "approver-email-requested",
                "approver-email-resolved",
                "approver-webhook-requested",
                "approver-webhook-resolved",
                "approver-webhook-used",
            ),
            "$JS.FC.>",
        ),
        subscribe=(s.APPROVER_API,),
        responses=True,
    ),
    "recorder": Permissions(
        publish=(
            s.OUTCOMES,
            s.ERASURES,
            *_write_bucket(s.RECORDER_BUCKET),
            *_read_bucket(s.INGRESSES_BUCKET),
            *_consume(s.AUDIT_STREAM, "recorder"),
            *_consume(s.RECORDING_STREAM, "recorder-frames"),
            *(f"$JS.API.DIRECT.GET.{stream}" for stream in (s.AUDIT_STREAM, s.RECORDING_STREAM)),
            *(f"$JS.API.STREAM.MSG.GET.{stream}" for stream in (s.AUDIT_STREAM, s.RECORDING_STREAM)),
            *(f"$JS.API.STREAM.PURGE.{stream}" for stream in (s.AUDIT_STREAM, s.RECORDING_STREAM)),
            f"$JS.API.CONSUMER.INFO.{s.AUDIT_STREAM}.>",
            *(f"$JS.API.CONSUMER.LIST.{stream}" for stream in (s.AUDIT_STREAM, s.RECORDING_STREAM)),
            "$JS.FC.>",
        ),
        subscribe=(),
    ),
}
