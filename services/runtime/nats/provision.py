"""Streams and buckets, created or brought up to date by the `admin` role before the services start.

`countersign up` does it for an embedded instance; `python -m services.runtime.nats.provision` for a deployed one.
A stream that is full refuses (`discard: new`), so that an attempt is never acked and then dropped (G2). NATS reserves
each stream's `max_bytes` when it makes it, of three quarters of the disk that is free when the server starts.
"""

import asyncio
import sys

from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, KeyValueConfig, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import APIError, BadRequestError, NotFoundError

from schemas import subjects as s
from services.runtime.settings import SettingsError
from services.runtime.settings.model import NatsSettings

#: Within this many seconds a `Nats-Msg-Id` seen twice is stored once.
DUPLICATE_WINDOW = 120.0
#: A live ingress writes its key every second; without it for this long, it is gone.
INGRESS_TTL = 5.0
#: Longest life of an approval's entry after its last step; the record itself is in ClickHouse.
APPROVALS_TTL = 30 * 86400.0

#: JetStream's error code for what its store has no room for (nats-server, `server/errors.json`).
_NO_ROOM = 10047

#: How long a placeholder can be turned back after it was last given out: agents come back to a conversation for days.
VAULT_TTL = 7 * 86400.0

#: A million values of ordinary size. A full vault refuses, and then no placeholder is given out (G10).
VAULT_BYTES = 256 * 1024**2


def streams(settings: NatsSettings) -> tuple[StreamConfig, ...]:
    """AUDIT and RECORDING as they should be."""
    return (
        _stream(s.AUDIT_STREAM, s.AUDIT_SUBJECTS, settings),
        _stream(s.RECORDING_STREAM, s.RECORDING_SUBJECTS, settings),
    )


def buckets(settings: NatsSettings) -> tuple[KeyValueConfig, ...]:
    """The key-value buckets as they should be."""
    ttl = {
        s.INGRESSES_BUCKET: INGRESS_TTL,
        s.APPROVALS_BUCKET: APPROVALS_TTL,
        s.GRANTS_BUCKET: APPROVALS_TTL,
        s.VAULT_BUCKET: VAULT_TTL,
        s.DELIVERIES_BUCKET: APPROVALS_TTL,
    }
    history = {s.POLICY_BUCKET: 20}
    names = (
        s.APPROVALS_BUCKET,
        s.GRANTS_BUCKET,
        s.POLICY_BUCKET,
        s.INGRESSES_BUCKET,
        s.RECORDER_BUCKET,
        s.VAULT_BUCKET,
        s.DELIVERIES_BUCKET,
    )
    return tuple(
        KeyValueConfig(
            bucket=name,
            history=history.get(name, 1),
            ttl=ttl.get(name),
            max_bytes=VAULT_BYTES if name == s.VAULT_BUCKET else None,
            replicas=settings.replicas,
            storage=StorageType.FILE,
            direct=True,
        )
        for name in names
    )


async def provision(client: Client, settings: NatsSettings, free: int | None = None) -> None:
    """Create what is missing and update what differs. Safe to repeat. Raises SettingsError when it does not fit.

    With `free`, the bytes that the disk has left, streams whose size nobody set take a third of it each at most.
    """
    jetstream = client.jetstream()
    chosen = free is None or "max_bytes" in settings.model_fields_set
    if free is not None and not chosen:
        settings = settings.model_copy(update={"max_bytes": min(settings.max_bytes, free // 3)})
    try:
        for config in streams(settings):
            await _ensure_stream(jetstream, config, keep_size=not chosen)
        for bucket in buckets(settings):
            await _ensure_bucket(jetstream, bucket)
    except APIError as error:
        raise (_no_room(settings) if error.err_code == _NO_ROOM else error) from None


def _stream(name: str, subjects: tuple[str, ...], settings: NatsSettings) -> StreamConfig:
    return StreamConfig(
        name=name,
        subjects=list(subjects),
        retention=RetentionPolicy.LIMITS,
        discard=DiscardPolicy.NEW,
        storage=StorageType.FILE,
        num_replicas=settings.replicas,
        max_bytes=settings.max_bytes,
        max_age=settings.max_age,
        duplicate_window=min(DUPLICATE_WINDOW, settings.max_age),
        allow_direct=True,
    )


async def _ensure_stream(jetstream: JetStreamContext, config: StreamConfig, *, keep_size: bool) -> None:
    try:
        if keep_size:
            there = await jetstream.stream_info(config.name or "")
            config = config.evolve(max_bytes=there.config.max_bytes)
        await jetstream.update_stream(config)
    except NotFoundError:
        await jetstream.add_stream(config)


def _no_room(settings: NatsSettings) -> SettingsError:
    size = f"{settings.max_bytes / 1024**3:.1f} GiB"
    return SettingsError(
        f"countersign.yaml: nats.max_bytes: the streams {s.AUDIT_STREAM} and {s.RECORDING_STREAM} of {size} each do "
        "not fit on NATS's disk, of which it gives away three quarters of what is free; set it lower, or free disk"
    )


async def _ensure_bucket(jetstream: JetStreamContext, config: KeyValueConfig) -> None:
    try:
        await jetstream.create_key_value(config)
    except BadRequestError:
        await jetstream.key_value(config.bucket)  # it exists with another configuration: keep what it holds


async def main() -> None:
    """Provision the bus that the settings name, as `admin`."""
    from services.runtime.nats.client import address, connect  # noqa: PLC0415 - only the command needs them
    from services.runtime.service import arguments  # noqa: PLC0415

    settings, data = arguments("provision")
    client = await connect(address("admin", settings.nats, data))
    try:
        await provision(client, settings.nats)
    except SettingsError as error:
        sys.exit(str(error))
    finally:
        await client.close()


if __name__ == "__main__":
    asyncio.run(main())
