"""What every contract shares: frozen pydantic models that refuse unknown fields when we write them.

Readers are lenient (`extra="ignore"`), so that a newer publisher may add a field without stopping an older
consumer: services are upgraded one at a time.
"""

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, StringConstraints
from uuid_utils import uuid7

#: A UUIDv7 (RFC 9562) in its 36-character form: sorts by creation time.
_ID = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
Id = Annotated[str, StringConstraints(pattern=_ID)]

#: A connector's or rule's name: also a NATS subject token and a URL path segment, so nothing else may stand in it.
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]

#: JSON as it travels inside an event.
Json = dict[str, Any]

#: A moment; always with an offset, always stored in UTC.
Moment = AwareDatetime


class Contract(BaseModel):
    """Base of everything that crosses a process boundary. Its errors never quote content (G4)."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    def to_json(self) -> bytes:
        """As it goes on the wire: `model_dump_json`, without the text in between."""
        return self.__pydantic_serializer__.to_json(self)


def new_id() -> str:
    """A fresh UUIDv7 in its 36-character form."""
    return str(uuid7())


def is_id(value: str) -> bool:
    """Whether it has an id's form; of whom it is, it does not say."""
    return re.fullmatch(_ID, value, re.ASCII) is not None


def utc_now() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)
