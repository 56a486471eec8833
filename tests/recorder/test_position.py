"""position.py and resume.py: whatever writers do, and whenever they die, each message is inserted as one range once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.recorder.position import IllegalMove, Position, Watch, decode, encode
from services.recorder.resume import Place, Recorded, StreamState, resume


class Writers(RuleBasedStateMachine):
    """Two writers, one entry with compare-and-set, and a ClickHouse that drops repeated tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.entry, self.revision = Position(epoch=1), 0
        self.view = {"a": (self.entry, -1), "b": (self.entry, -1)}
        self.stream = 0
        self.tokens: set[str] = set()
        self.inserted: list[int] = []

    def _write(self, who: str, wanted: Position) -> bool:
        _, revision = self.view[who]
        if revision != self.revision:
            return False
        self.entry, self.revision = wanted, revision + 1
        self.view[who] = (wanted, self.revision)
        return True

    @rule(count=st.integers(1, 5))
    def publish(self, count: int) -> None:
        self.stream += count

    @rule(who=st.sampled_from("ab"))
    def take(self, who: str) -> None:
        self.view[who] = (self.entry, self.revision)
        self._write(who, self.entry.take(who))

    @rule(who=st.sampled_from("ab"))
    def renew(self, who: str) -> None:
        self._write(who, self.view[who][0].renew())

    @rule(who=st.sampled_from("ab"), count=st.integers(1, 5))
    def claim(self, who: str, count: int) -> None:
        position, _ = self.view[who]
        if position.writer == who and not position.open and self.stream > position.stored:
            self._write(who, position.claim(min(self.stream, position.stored + count)))

    @rule(who=st.sampled_from("ab"))
    def insert(self, who: str) -> None:
        """By whoever believes to hold an open claim, a deposed writer included."""
        position, revision = self.view[who]
        if revision >= 0 and position.open and position.token("S") not in self.tokens:
            self.tokens.add(position.token("S"))
            self.inserted += range(position.stored + 1, position.claimed + 1)

    @rule(who=st.sampled_from("ab"))
    def settle(self, who: str) -> None:
        position, _ = self.view[who]
        if position.open and position.token("S") in self.tokens:
            self._write(who, position.settle())

    @invariant()
    def nothing_twice(self) -> None:
        assert len(self.inserted) == len(set(self.inserted))

    @invariant()
    def stored_is_inserted(self) -> None:
        assert set(range(1, self.entry.stored + 1)) <= set(self.inserted)

    @precondition(lambda self: self.stream > 0)
    @rule()
    def a_new_writer_finishes(self) -> None:
        self.take("a")
        self.insert("a")
        self.settle("a")
        assert not self.entry.open


TestWriters = Writers.TestCase


def test_moves_that_make_no_sense_are_refused() -> None:
    idle = Position(epoch=1, stored=5, claimed=5)
    for move in (idle.settle, idle.doubt, lambda: idle.claim(5), lambda: idle.claim(9).claim(10)):
        with pytest.raises(IllegalMove):
            move()


def test_a_careful_range_never_repeats_a_token() -> None:
    claimed = Position(epoch=1).claim(5).doubt()
    assert claimed.careful
    assert claimed.token("S") != claimed.renew().token("S")
    assert not claimed.settle().careful


@given(st.builds(Position, stored=st.integers(0, 2**63), claimed=st.integers(0, 2**63), writer=st.text(max_size=20)))
def test_entries_survive_the_bucket(position: Position) -> None:
    assert decode(encode(position)) == position


def test_a_holder_is_alive_while_the_entry_changes() -> None:
    watch, held = Watch(lease=6.0), Position(writer="a")
    assert not watch.vacant(1, held, now=100.0)
    assert not watch.vacant(1, held, now=105.9)
    assert not watch.vacant(2, held, now=107.0)
    assert watch.vacant(2, held, now=113.0)
    assert Watch(lease=6.0).vacant(1, Position(), now=0.0)


STREAM = StreamState(created=1_000, last=50)


@pytest.mark.parametrize(
    ("position", "stream", "recorded", "place"),
    [
        pytest.param(Position(), STREAM, Recorded(), Place(1_000, 0, 0), id="first start"),
        pytest.param(Position(epoch=1_000, stored=9, claimed=9), STREAM, Recorded(1_000, 9), None, id="as it was"),
        pytest.param(Position(epoch=1_000, stored=9, claimed=20), STREAM, Recorded(1_000, 20), None, id="crash"),
        pytest.param(
            Position(epoch=1_000, stored=9, claimed=9), STREAM, Recorded(1_000, 7, 9), None, id="ends in dead letters"
        ),
        pytest.param(
            Position(),
            STREAM,
            Recorded(1_000, 30, 33),
            Place(1_000, 30, 50, "the position was lost"),
            id="bucket lost",
        ),
        pytest.param(
            Position(epoch=1_000, stored=9, claimed=9),
            STREAM,
            Recorded(1_000, 30),
            Place(1_000, 30, 50, "the position is older than the database"),
            id="bucket restored",
        ),
        pytest.param(
            Position(epoch=1_000, stored=40, claimed=40),
            STREAM,
            Recorded(),
            Place(1_000, 0, 50, "the database ends at 0, but 40 was stored"),
            id="database lost",
        ),
        pytest.param(
            Position(epoch=1_000, stored=40, claimed=45),
            STREAM,
            Recorded(1_000, 30),
            Place(1_000, 30, 50, "the database ends at 30, but 40 was stored"),
            id="database restored",
        ),
        pytest.param(
            Position(),
            StreamState(created=2_000, last=5),
            Recorded(1_000, 30),
            Place(2_000, 0, 5, "the stream was made anew"),
            id="bus lost",
        ),
        pytest.param(
            Position(epoch=1_000, stored=80, claimed=80),
            STREAM,
            Recorded(1_000, 80),
            Place(9_999, 0, 50, "the stream went back from 80 to 50"),
            id="bus restored",
        ),
        pytest.param(
            Position(epoch=1_000, stored=9, claimed=9),
            STREAM,
            Recorded(2_000, 1),
            Place(9_999, 0, 50, "the database has epoch 2000, which nobody began"),
            id="a row of another epoch was put into the database",
        ),
        pytest.param(
            Position(),
            STREAM,
            Recorded(10_000, 1),
            Place(9_999, 0, 50, "the database has epoch 10000, which nobody began"),
            id="the same, of an epoch to come",
        ),
    ],
)
def test_disasters(position: Position, stream: StreamState, recorded: Recorded, place: Place | None) -> None:
    assert resume(position, stream, recorded, now=9_999) == place
