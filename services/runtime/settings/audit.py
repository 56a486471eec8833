"""`audit:` of `countersign.yaml`: where the record goes and who may read it."""

from pydantic import Field

from services.runtime.settings.values import Seconds, Secret, Section


class AuditSettings(Section):
    """Where the record goes, and who may read it over the embedded endpoint."""

    dsn: Secret = Secret("chdb://clickhouse")
    #: Groups whose tokens may query.
    readers: tuple[str, ...] = ("auditors",)
    #: Rows and age at which a batch is written.
    batch_rows: int = Field(default=5000, ge=1, le=100_000)
    batch_age: Seconds = 0.5
