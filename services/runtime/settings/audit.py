"""`audit:` of `countersign.yaml`: where the record goes, who may read it, and who else keeps the heads of its log."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, field_validator

from services.runtime.settings.delivery import DeliverySettings
from services.runtime.settings.values import Seconds, Secret, Section, seconds

#: A witness: an absolute file, an HTTP(S) address, or a Slack channel.
_WITNESS = re.compile(r"^(file:/.+|https?://.+|slack:[#CG].+)$")
#: C2SP tlog-checkpoint: an origin is best a schema-less URL, and has neither white space nor `+`.
_ORIGIN = r"^[^\s+]{1,200}$"


def _witness(value: str) -> str:
    if not _WITNESS.match(value):
        raise ValueError("write file:/path, https://host/path or slack:#channel")
    return value


#: Seconds; JetStream keeps messages for days, and nothing may be dropped that a writer may still have to read again.
_SHORTEST_RETENTION = 30 * 86400


def _retention(value: object) -> object:
    """`none`, or a duration of at least 30 days. Raises ValueError."""
    if value in ("none", None):
        return None
    if (length := seconds(value)) < _SHORTEST_RETENTION:
        raise ValueError("keep events for 30d at least, or `none` for ever")
    return length


def _tag(value: str) -> str:
    name, equals, wanted = value.partition("=")
    if not (name and equals and wanted):
        raise ValueError("write a connector's tag and its value, such as `env=dev: 90d`")
    return value


Witness = Annotated[str, AfterValidator(_witness)]
Retention = Annotated[float | None, BeforeValidator(_retention)]


class WitnessSlack(Section):
    """How the recorder posts checkpoints into a channel; its own app, which needs `chat:write` and nothing else."""

    bot_token: Secret
    #: Where Slack's Web API is.
    api_url: str = "https://slack.com/api/"


class AuditSettings(Section):
    """Where the record goes, and who may read it over the embedded endpoint."""

    dsn: Secret = Secret("chdb://clickhouse")
    #: Groups whose tokens may query.
    readers: tuple[str, ...] = ("auditors",)
    #: Rows and age at which a batch is written; under load up to four times that age (recorder/batch.py).
    batch_rows: int = Field(default=10_000, ge=1, le=100_000)
    batch_age: Seconds = 0.5
    #: How long events and frames are kept; `none` is for ever. The log's hashes stay (docs/proof.md).
    retention: Retention = None
    #: How long the content of sessions is kept, by a tag of their connectors; the shortest of several counts.
    retention_by_tag: dict[Annotated[str, AfterValidator(_tag)], Annotated[Seconds, Field(gt=0)]] = Field(
        default_factory=dict
    )
    #: Name of this instance's log in its checkpoints; `/audit` and `/recording` are appended, one log for each stream.
    log: Annotated[str, Field(pattern=_ORIGIN)] = "countersign"
    #: Ed25519 private key in PEM that signs checkpoints; without one, it is made in the data directory.
    signing_key: Path | None = None
    #: Seconds between two checkpoints, and events after which there is one sooner.
    checkpoint_every: Annotated[Seconds, Field(gt=0)] = 10
    checkpoint_events: int = Field(default=10_000, ge=1, le=100_000)
    #: Who else gets the checkpoints, and how often at most.
    witnesses: tuple[Witness, ...] = ()
    witness_every: Annotated[Seconds, Field(gt=0)] = 300
    witness_slack: WitnessSlack | None = None
    #: Who gets every finished operation as it is recorded.
    deliver: tuple[DeliverySettings, ...] = ()

    @field_validator("deliver")
    @classmethod
    def _told_apart(cls, value: tuple[DeliverySettings, ...]) -> tuple[DeliverySettings, ...]:
        if len({receiver.name for receiver in value}) < len(value):
            raise ValueError("two receivers have the same name; each has its own place in the record")
        return value
