"""What a row commits to in the log and what survives an erasure. Pure; the view `log_entries` is the same in SQL.

    countersign.event/1
    AUDIT                     stream
    1790000000000000          epoch: the stream's incarnation
    42                        sequence in it
    1790000000000123          when JetStream stored it, microseconds since 1970
    events                    the table that holds it
    cs.attempt.http.openai    subject
    5f0c…                     SHA-256 of `raw`, the published bytes without their content
    9a1b… or -                SHA-256 of the sealed content, if there is any
    - or 77d2…                SHA-256 of what the recorder says about it (the reason of a dead letter)

No field can hold a line feed: NATS allows no white space in subjects. Lines, not JSON, so that there is one way only to
write an entry, and SQL writes it as fast as it reads.
"""

import hashlib
from typing import Final, NamedTuple

_VERSION: Final = "countersign.event/1"


class Entry(NamedTuple):
    """One leaf's facts; hashes in hex, empty for what is not there."""

    stream: str
    epoch: int
    stream_seq: int
    published_at: int
    kind: str
    subject: str
    raw_hash: str
    content_hash: str = ""
    detail_hash: str = ""

    @property
    def encoded(self) -> bytes:
        """The bytes that are hashed."""
        facts = (_VERSION, *map(str, self[:7]), self.content_hash or "-", self.detail_hash or "-")
        return "".join(f"{fact}\n" for fact in facts).encode()


class BadEntry(Exception):
    """Not an entry of the log."""


def decode(encoded: bytes) -> Entry:
    """Read an entry back. Raises BadEntry."""
    try:
        version, *facts, end = encoded.decode().split("\n")
        stream, epoch, seq, published_at, kind, subject, raw, content, detail = facts
        entry = Entry(
            stream,
            int(epoch),
            int(seq),
            int(published_at),
            kind,
            subject,
            raw,
            "" if content == "-" else content,
            "" if detail == "-" else detail,
        )
    except ValueError:
        raise BadEntry("not an entry of the log") from None
    if version != _VERSION or end or entry.encoded != encoded:
        raise BadEntry("not an entry of the log")
    return entry


def raw_hash(raw: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(raw).hexdigest()
