"""Where a receiver is in the stream: in the bucket `recorder` under `delivery.<name>`, moved by compare-and-set."""

from dataclasses import dataclass, field

from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue
from pydantic import TypeAdapter, ValidationError


@dataclass(frozen=True, order=True)
class Place:
    """Everything up to here was taken: the stream's incarnation, and the sequence in it."""

    epoch: int = 0
    seq: int = 0


class Moved(Exception):
    """Somebody else moved it: another copy delivers."""


_ADAPTER = TypeAdapter(Place)


@dataclass
class Bookmark:
    """One receiver's entry, as this copy knows it."""

    bucket: KeyValue
    name: str
    place: Place | None = None
    _revision: int = field(default=0, repr=False)

    @property
    def key(self) -> str:
        """In the bucket."""
        return f"delivery.{self.name}"

    async def load(self, otherwise: Place) -> Place:
        """The place, `otherwise` when the receiver is new. Raises nats errors, and ValueError for a broken entry."""
        try:
            entry = await self.bucket.get(self.key)
        except KeyNotFoundError:
            self._revision = 0
            await self.move(otherwise)
            return otherwise
        try:
            self.place = _ADAPTER.validate_json(entry.value or b"")
        except ValidationError:
            raise ValueError(f"the entry {self.key} of the bucket recorder is not a place; delete it") from None
        self._revision = entry.revision or 0
        return self.place

    async def move(self, place: Place) -> None:
        """Everything up to here is taken. Raises Moved and nats errors."""
        data = _ADAPTER.dump_json(place)
        try:
            self._revision = await self.bucket.update(self.key, data, last=self._revision)
        except KeyWrongLastSequenceError:
            raise Moved(self.name) from None
        self.place = place
