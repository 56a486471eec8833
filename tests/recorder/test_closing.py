"""closing.py's clock-work: an ingress is gone when it was missing at every look for the grace time."""

from schemas.events import Outcome
from services.recorder.closing import Absences, closing


def test_gone_only_after_the_whole_grace_time() -> None:
    absences = Absences(grace=10.0)
    absences.saw(["a", "b"])
    assert absences.look({"b"}, now=100.0) == []
    assert absences.look({"b"}, now=109.9) == []
    assert absences.look({"b"}, now=110.0) == ["a"]


def test_one_sign_of_life_begins_it_anew() -> None:
    absences = Absences(grace=10.0)
    absences.saw(["a"])
    absences.look(set(), now=0.0)
    absences.look({"a"}, now=9.0)
    assert absences.look(set(), now=11.0) == []
    assert absences.look(set(), now=21.0) == ["a"]


def test_looks_that_cannot_be_trusted_count_for_nothing() -> None:
    absences = Absences(grace=10.0)
    absences.saw(["a"])
    absences.look(set(), now=0.0)
    absences.forget_time()
    assert absences.look(set(), now=50.0) == []


def test_a_closed_ingress_is_forgotten_until_it_is_heard_of_again() -> None:
    absences = Absences(grace=0.0)
    absences.saw(["a"])
    absences.closed("a")
    assert absences.known == ()
    absences.saw(["a"])
    assert absences.known == ("a",)


def test_the_outcome_of_an_operation_has_one_id() -> None:
    attempt = {
        "operation_id": "0190aaaa-0000-7000-8000-000000000001",
        "session_id": "0190aaaa-0000-7000-8000-000000000002",
        "connector": "openai",
        "protocol": "http",
        "traceparent": "",
    }
    first, again = closing("ingress-1", attempt), closing("ingress-1", attempt)
    assert first.event_id == again.event_id
    assert first.outcome is Outcome.UNKNOWN
    assert first.ingress_seq is None  # which is what makes it presumed
