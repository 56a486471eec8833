"""An event is on the wire what pydantic makes of it."""

from schemas.base import new_id
from schemas.events import SessionOpened


def test_bytes_and_text_say_the_same() -> None:
    event = SessionOpened(ingress="i-1", session_id=new_id(), protocol="http", peer="ä:1")
    assert event.to_json() == event.model_dump_json().encode()
    assert SessionOpened.model_validate_json(event.to_json()) == event
