"""A log with everything in it, on the shared engine, and what verifies it: the command's own parts behind the guard."""

import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from prometheus_client import CollectorRegistry

from countersign.proof.command import STREAMS
from countersign.proof.content import verify_content
from countersign.proof.definitions import verify_definitions
from countersign.proof.findings import Report
from countersign.proof.log import verify_log
from countersign.proof.tables import verify_tables
from countersign.record import Endpoint, QueryRefused, escaped, remote
from schemas.base import new_id
from schemas.events import ApprovalResolved, ApprovalState, ContentErased, Event, Outcome, Refusal
from schemas.operations import Asked, Operation
from services.recorder.erasing import erase
from services.recorder.metrics import make_metrics
from services.recorder.position import Position
from services.recorder.proof.note import Checkpoint, VerifierKey, origin, verifier_key
from services.recorder.reader_engine import QueryFailed, ReaderEngine, ReaderQuery
from services.recorder.reader_settings import ReaderLimits
from services.recorder.sealer import Sealer
from services.recorder.sql_guard import Refused
from services.recorder.store_address import EmbeddedAddress
from tests.recorder import events as e
from tests.recorder.recording import Moody, database, record

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
LOG = "example.com/log"


def key_of(stream: str) -> VerifierKey:
    return verifier_key(KEY, origin(LOG, stream))


class Reader:
    """`countersign.record.Record` on a database of the shared engine, as an auditor."""

    def __init__(self, store: Moody) -> None:
        address = store.address
        assert isinstance(address, EmbeddedAddress), "a server is asked over HTTP: see reader_of"
        self._engine = ReaderEngine(address, ReaderLimits())
        self._engine.open()

    def ask(
        self, sql: str, format_: str, parameters: Mapping[str, str], settings: Mapping[str, str] | None = None
    ) -> Iterator[bytes]:
        try:
            yield self._engine.run(
                ReaderQuery(sql, format_, parameters=escaped(parameters), settings=settings or {})
            ).body
        except (Refused, QueryFailed) as error:
            raise QueryRefused(f"Code: {error.code}. DB::Exception: {error}") from None

    def close(self) -> None:
        self._engine.close()


def reader_of(store: Moody) -> "Reader | Endpoint":
    """Behind the guard, or the server of CLICKHOUSE_URL as commands ask it."""
    if isinstance(store.address, EmbeddedAddress):
        return Reader(store)
    return remote(f"{os.environ['CLICKHOUSE_URL'].rstrip('/')}?database={store.address.database}")


@dataclass
class Log:
    """Both streams, sealed; `witness` has every checkpoint that was published."""

    store: Moody
    reader: Reader | Endpoint
    witness: dict[str, list[Checkpoint]]
    stored: dict[str, int]

    def sealer(self, stream: str) -> Sealer:
        return Sealer(
            self.store,
            stream,
            origin=origin(LOG, stream),
            key=KEY,
            position=lambda: Position(epoch=1, stored=self.stored[stream]),
            metrics=make_metrics(CollectorRegistry()),
            publish=self.witness[stream].append,
        )

    async def add(self, events: list[Event], stream: str = "AUDIT") -> None:
        await record(self.store, events, stream)
        table = "events" if stream == "AUDIT" else "session_frames"
        self.stored[stream] = await self.store.count(table, "max(stream_seq)")

    async def seal(self) -> None:
        for stream in STREAMS:
            await self.sealer(stream).seal()

    def verify(self, *, with_witness: bool = True) -> Report:
        report = Report()
        for stream in STREAMS:
            notes = [checkpoint.note for checkpoint in self.witness[stream]] if with_witness else []
            verify_log(self.reader, stream, key_of(stream), notes, report)
        verify_tables(self.reader, report, patience=0)
        verify_content(self.reader, report)
        verify_definitions(self.reader, report)
        return report


@asynccontextmanager
async def a_log(dsn: str, stories: int = 40) -> AsyncIterator[Log]:
    """Built in three rounds with a checkpoint after each, one session erased."""
    async with database(dsn) as store:
        reader = reader_of(store)
        log = Log(store, reader, {stream: [] for stream in STREAMS}, dict.fromkeys(STREAMS, 0))
        try:
            for number in range(3):
                erased = await _round(log, stories, number)
                await log.seal()
            await log.add([ContentErased(ingress="", session_id=erased, by="dpo@example.com", reason="asked for it")])
            await erase(store)
            await log.seal()
            yield log
        finally:
            if isinstance(reader, Reader):
                reader.close()


async def _round(log: Log, stories: int, number: int) -> str:
    """Answers a session."""
    tried = list(e.stories(stories, f"ingress-{number}"))
    operation = Operation(
        action="http.post",
        resources=("/v1/refunds",),
        statement="refund 4711 of Anna — ünïcode",
        method="POST",
        path="/v1/refunds",
        query={"q": "x"},
        digest="d",
    )
    held = e.attempt(f"held-{number}", operation=operation, asked=Asked(reason="the customer asked", wait_seconds=2.5))
    question = e.approval_request(held)
    answer: dict[str, Any] = {"ingress": held.ingress, "session_id": held.session_id, "operation_id": held.operation_id}
    solved = ApprovalResolved(
        **answer, approval_id=question.approval_id, state=ApprovalState.APPROVED, decided_by=("dana",), reason="fine"
    )
    refusal = Refusal(code="malformed", statement="GET /nope/x", peer="10.0.0.1:5")
    turned = e.outcome(e.attempt(f"turned-{number}"), connector="-", outcome=Outcome.DENIED, refusal=refusal)
    huge = e.attempt(operation=operation.model_copy(update={"attributes": {"n": 10**30}}))
    await log.add([*tried, held, question, solved, e.outcome(held), turned, huge, *e.session()])
    session = new_id()
    frames = [
        e.frame(1, "prompt", session_id=held.session_id),
        *(e.frame(seq, f"piece {seq}", session_id=session, direction="response") for seq in range(1, 12)),
    ]
    await log.add(list(frames), "RECORDING")
    return held.session_id
