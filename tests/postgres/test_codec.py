"""The codec: what is read is written as it came, however the network cut it; garbage is a violation, nothing else."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingress.protocols.postgres.codec import backend, frontend, limits, startup, values
from services.ingress.protocols.postgres.codec.framing import Decoder, Frame, Item, Piece, Run
from services.ingress.protocols.postgres.codec.violation import ProtocolViolation

text = st.binary(max_size=40).map(lambda data: data.replace(b"\0", b""))
value = st.none() | st.binary(max_size=40)
rows = st.lists(value, max_size=5).map(tuple)
types = st.lists(st.integers(0, 2**32 - 1), max_size=4).map(tuple)
codes = st.lists(st.sampled_from((0, 1)), max_size=1).map(tuple)
column = st.builds(
    backend.Column,
    text,
    st.integers(0, 2**32 - 1),
    st.integers(0, 65535),
    st.integers(0, 2**32 - 1),
    st.integers(0, 65535),
    st.integers(-1, 2**31 - 1),
    st.sampled_from((0, 1)),
)

FRONTEND = st.one_of(
    st.builds(frontend.Query, text),
    st.builds(frontend.Parse, text, text, types),
    st.builds(frontend.Bind, text, text, codes, rows, codes),
    st.builds(frontend.Describe, st.sampled_from((frontend.STATEMENT, frontend.PORTAL)), text),
    st.builds(frontend.Close, st.sampled_from((frontend.STATEMENT, frontend.PORTAL)), text),
    st.builds(frontend.Execute, text, st.integers(0, 2**31 - 1)),
    st.builds(frontend.CopyData, st.binary(max_size=60)),
    st.builds(frontend.CopyFail, text),
    st.builds(frontend.FunctionCall, st.integers(0, 2**32 - 1), codes, rows, st.sampled_from((0, 1))),
    *map(st.just, (frontend.Sync(), frontend.Flush(), frontend.Terminate(), frontend.CopyDone())),
)
BACKEND = st.one_of(
    st.builds(backend.Authentication, st.integers(0, 20), st.binary(max_size=20)),
    st.builds(backend.BackendKeyData, st.integers(0, 2**32 - 1), st.binary(min_size=4, max_size=256)),
    st.builds(backend.ParameterStatus, text, text),
    st.builds(backend.NegotiateProtocolVersion, st.integers(0, 2**31 - 1), st.lists(text, max_size=3).map(tuple)),
    st.builds(backend.ReadyForQuery, st.sampled_from((b"I", b"T", b"E"))),
    st.builds(
        backend.Report,
        st.sampled_from((backend.ERROR, backend.NOTICE)),
        st.lists(st.tuples(st.integers(1, 255), text), max_size=6).map(tuple),
    ),
    st.builds(backend.Notification, st.integers(0, 2**32 - 1), text, text),
    st.builds(backend.RowDescription, st.lists(column, max_size=4).map(tuple)),
    st.builds(backend.ParameterDescription, types),
    st.builds(backend.CommandComplete, text),
    st.builds(backend.Copy, st.sampled_from((backend.COPY_IN, backend.COPY_OUT, backend.COPY_BOTH)), st.just(0), codes),
    st.builds(backend.FunctionResult, value),
    st.builds(backend.Bare, st.sampled_from((backend.NO_DATA, backend.PARSE_COMPLETE, backend.PORTAL_SUSPENDED))),
)


def fed(decoder: Decoder, data: bytes, cuts: list[int]) -> list[Item]:
    """All items when the data arrives cut at these places."""
    found, at = [], 0
    for cut in [*sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]:
        decoder.feed(data[at:cut])
        found += list(decoder.frames())
        at = cut
    return found


def messages(items: list[Item]) -> list[bytes]:
    """The single messages in items: runs taken apart, pieces put together."""
    found: list[bytes] = []
    for item in items:
        match item:
            case Frame(raw=raw):
                found.append(raw)
            case Run():
                single = [values.message(item.kind, bytes(payload)) for payload in item.payloads()]
                assert len(single) == item.count
                found += single
            case Piece(first=True):
                found.append(item.data)
            case Piece():
                found[-1] += item.data
    return found


@given(FRONTEND)
def test_what_clients_say_is_written_as_it_was_read(message: frontend.Message) -> None:
    decoder = frontend.decoder()
    decoder.feed(message.encode())
    frame = decoder.next()
    assert isinstance(frame, Frame)
    assert frontend.read(frame) == message
    assert (frame.raw, decoder.pending) == (message.encode(), 0)


@given(BACKEND)
def test_what_servers_say_is_written_as_it_was_read(message: backend.Message) -> None:
    decoder = backend.decoder()
    decoder.feed(message.encode())
    frame = decoder.next()
    assert isinstance(frame, Frame)
    assert backend.read(frame) == message
    assert (frame.raw, decoder.pending) == (message.encode(), 0)


@given(st.lists(FRONTEND, max_size=8), st.lists(st.integers(0, 2000), max_size=12))
def test_however_it_is_cut_clients_say_the_same(said: list[frontend.Message], cuts: list[int]) -> None:
    data = b"".join(message.encode() for message in said)
    assert messages(fed(frontend.decoder(), data, cuts)) == [message.encode() for message in said]


@given(st.lists(BACKEND | st.builds(backend.DataRow, rows), max_size=12), st.lists(st.integers(0, 2000), max_size=12))
def test_however_it_is_cut_servers_say_the_same(said: list[backend.Message], cuts: list[int]) -> None:
    data = b"".join(message.encode() for message in said)
    assert messages(fed(backend.decoder(), data, cuts)) == [message.encode() for message in said]


@pytest.mark.parametrize("make", [frontend.decoder, backend.decoder])
def test_a_byte_at_a_time_gives_the_same(make: Callable[[], Decoder]) -> None:
    said: list[Any] = [frontend.CopyData(b"a"), frontend.CopyData(b""), frontend.CopyDone()]
    data = b"".join(message.encode() for message in said)
    assert messages(fed(make(), data, list(range(len(data))))) == [message.encode() for message in said]


def test_rows_come_as_one_slice() -> None:
    data = b"".join(backend.DataRow((b"%d" % number, None, b"")).encode() for number in range(1000))
    decoder = backend.decoder()
    decoder.feed(data + backend.CommandComplete(b"SELECT 1000").encode())
    run, end = decoder.frames()
    assert isinstance(run, Run)
    assert isinstance(end, Frame)
    assert (run.raw, run.count) == (data, 1000)
    assert [backend.row(payload) for payload in run.payloads()][999] == (b"999", None, b"")
    complete = backend.read(end)
    assert isinstance(complete, backend.CommandComplete)
    assert complete.rows == 1000


@settings(max_examples=20)
@given(st.lists(st.integers(0, 2**20), max_size=8))
def test_a_large_row_passes_in_pieces_and_is_not_held(cuts: list[int]) -> None:
    small, large = backend.DataRow((b"x",)).encode(), backend.DataRow((b"y" * limits.PIECE * 3,)).encode()
    decoder, held = backend.decoder(), 0
    items = []
    for item in fed(decoder, small + large + small, cuts):
        items.append(item)
        held = max(held, decoder.pending)
    assert messages(items) == [small, large, small]
    pieces = [item for item in items if isinstance(item, Piece)]
    assert {piece.size for piece in pieces} == {len(large)}
    assert [piece.first for piece in pieces] == [True] + [False] * (len(pieces) - 1)
    assert [piece.last for piece in pieces] == [False] * (len(pieces) - 1) + [True]


def test_what_is_incomplete_waits() -> None:
    decoder = frontend.decoder()
    decoder.feed(frontend.Query(b"select 1").encode()[:-1])
    assert list(decoder.frames()) == []
    decoder.feed(b"\0rest")
    assert [item.kind for item in decoder.frames()] == [frontend.QUERY]
    assert decoder.take_rest() == b"rest"
    assert decoder.pending == 0


@pytest.mark.parametrize(
    ("kind", "limit"),
    [
        (frontend.QUERY, limits.STATEMENT),
        (frontend.BIND, limits.VALUES),
        (frontend.COPY_DATA, limits.COPY_DATA),
        (frontend.SYNC, limits.SMALL),
    ],
)
def test_beyond_its_limit_a_message_is_refused_before_it_is_read(kind: int, limit: int) -> None:
    fits, exceeds = frontend.decoder(), frontend.decoder()
    fits.feed(bytes((kind,)) + limit.to_bytes(4, "big"))
    assert fits.next() is None
    exceeds.feed(bytes((kind,)) + (limit + 1).to_bytes(4, "big"))
    with pytest.raises(ProtocolViolation) as raised:
        exceeds.next()
    assert raised.value.sqlstate == "54000"


def test_a_message_that_does_not_belong_here_is_refused() -> None:
    late = frontend.decoder()
    late.feed(frontend.password(b"token"))
    with pytest.raises(ProtocolViolation, match="not expected"):
        late.next()
    early = frontend.login_decoder()
    early.feed(frontend.Query(b"select 1").encode())
    with pytest.raises(ProtocolViolation, match="not expected"):
        early.next()


@settings(max_examples=300)
@given(st.binary(max_size=200), st.sampled_from(list(b"QPBDECHSFXdcfpRKSvZENA123TtnCIsVGHW")), st.booleans())
def test_garbage_is_a_violation_and_nothing_else(payload: bytes, kind: int, framed: bool) -> None:
    data = values.message(kind, payload) if framed else payload
    for make, read in ((frontend.decoder, frontend.read), (backend.decoder, backend.read)):
        decoder = make()
        decoder.feed(data)
        try:
            for item in decoder.frames():
                if isinstance(item, Frame):
                    message = read(item)
                    assert message.encode() == item.raw
                elif isinstance(item, Run):
                    list(map(backend.row, item.payloads()))
        except ProtocolViolation:
            pass


@given(st.binary(max_size=60))
def test_garbage_before_the_first_message_is_a_violation_too(data: bytes) -> None:
    for packet in (startup.packet(3 << 16, data), startup.packet(startup.CANCEL, data), startup.packet(7, data)):
        try:
            found, used = startup.read(packet)
            assert used in (0, len(packet))
            if isinstance(found, startup.CancelRequest):
                assert found.encode() == packet
        except ProtocolViolation:
            pass


@given(st.dictionaries(st.text("abc_", min_size=1, max_size=9), st.text("xyzäö ", max_size=9), max_size=4))
def test_a_startup_packet_is_read_whole_or_not_at_all(parameters: dict[str, str]) -> None:
    packet = startup.Startup((3, 2), parameters)
    data = packet.encode()
    assert all(startup.read(data[:length]) == (None, 0) for length in range(len(data)))
    assert startup.read(data + b"more") == (packet, len(data))


def test_secrets_do_not_show() -> None:
    shown = repr((frontend.Password(b"hidden"), backend.BackendKeyData(7, b"hidden"), startup.CancelRequest(7, b"hid")))
    assert "hid" not in shown.replace("CancelRequest", "").lower()
