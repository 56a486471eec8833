"""A proof that stands by itself: C2SP tlog-proof, with the entry as its `extra`; and several of them in a JSON file.

    c2sp.org/tlog-proof@v1
    extra <base64 of the entry (leaf.py)>
    index 73894
    <base64 of a hash>            the inclusion proof, from the leaf up
    …
                                  (an empty line)
    <the checkpoint, a signed note>

Pure. `check` needs the proof and the log's verifier key, and nobody's word.
"""

import base64
import binascii
from collections.abc import Sequence
from typing import Final

import orjson
from pydantic import BaseModel, ConfigDict, Field

from services.recorder.content import Unreadable, restored, sealed_hash, unseal
from services.recorder.proof import note
from services.recorder.proof.leaf import BadEntry, Entry, decode, raw_hash
from services.recorder.proof.merkle import HASH_BYTES, leaf_hash, root_from_inclusion

_HEADER: Final = "c2sp.org/tlog-proof@v1"
#: A tree of 2**63 leaves; no proof is longer.
_LONGEST_PATH: Final = 63


class BadProof(Exception):
    """It does not prove what it says; the text tells what fails."""


class ProvenEvent(BaseModel):
    """One event with its proof. `raw` is text; `sealed` Base64; `content_key` hex, and only if it was to be shown."""

    model_config = ConfigDict(extra="forbid")

    event_id: str
    type: str
    #: The tlog-proof.
    proof: str
    raw: str
    sealed: str = ""
    content_key: str = ""


class Bundle(BaseModel):
    """The file that `countersign audit prove` writes."""

    model_config = ConfigDict(extra="forbid")

    format: str = "countersign.proof/1"
    operation_id: str
    events: list[ProvenEvent] = Field(min_length=1)


class Checked(BaseModel):
    """What is certain about an event after `check`."""

    event_id: str
    entry: Entry
    index: int
    checkpoint_size: int
    #: The published bytes, as far as they were shown: without content, or whole.
    bytes: bytes
    whole: bool


def proof_text(entry: bytes, index: int, path: Sequence[bytes], checkpoint: str) -> str:
    """Write a tlog-proof."""
    lines = [_HEADER, f"extra {_base64(entry)}", f"index {index}", *map(_base64, path), "", checkpoint]
    return "\n".join(lines)


def check(proven: ProvenEvent, key: note.VerifierKey) -> Checked:
    """Check everything that is in it. Raises BadProof."""
    entry, index, path, signed = _parse(proven.proof)
    try:
        checkpoint = note.verify(signed, key)
        root = root_from_inclusion(index, checkpoint.size, leaf_hash(entry), path)
        facts = decode(entry)
    except (note.BadNote, BadEntry, ValueError) as error:
        raise BadProof(str(error)) from None
    if root != checkpoint.root:
        raise BadProof("the event is not under the checkpoint's root")
    if raw_hash(proven.raw.encode()) != facts.raw_hash:
        raise BadProof("`raw` is not what the log holds")
    data, whole = _shown(proven, facts)
    if event_id(data or proven.raw.encode()) not in ("", proven.event_id):
        raise BadProof("`event_id` is not the event's")
    return Checked(
        event_id=proven.event_id, entry=facts, index=index, checkpoint_size=checkpoint.size, bytes=data, whole=whole
    )


def event_id(data: bytes) -> str:
    """The id inside an event's bytes, or nothing where it cannot be read."""
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError:
        return ""
    return str(document.get("event_id", "")) if isinstance(document, dict) else ""


def _shown(proven: ProvenEvent, facts: Entry) -> tuple[bytes, bool]:
    """The event's bytes as far as the bundle holds them, and whether that is all. Raises BadProof."""
    raw = proven.raw.encode()
    if not facts.content_hash:
        return raw, True
    if not proven.sealed:
        return raw, False
    sealed = _decoded(proven.sealed, "`sealed`")
    if sealed_hash(sealed) != facts.content_hash:
        raise BadProof("`sealed` is not what the log holds")
    if not proven.content_key:
        return raw, False
    try:
        return restored(raw, unseal(bytes.fromhex(proven.content_key), proven.event_id, sealed)), True
    except (Unreadable, ValueError):
        raise BadProof("`content_key` does not open `sealed`") from None


def _parse(text: str) -> tuple[bytes, int, list[bytes], str]:
    head, gap, checkpoint = text.partition("\n\n")
    header, *lines = head.split("\n")
    if header != _HEADER or not gap or len(lines) < 2 or len(lines) > 2 + _LONGEST_PATH:
        raise BadProof(f"not a {_HEADER}")
    extra, index, *path = lines
    number = index.removeprefix("index ")
    if not extra.startswith("extra ") or not index.startswith("index ") or not (number.isascii() and number.isdigit()):
        raise BadProof("the proof has no entry or no index")
    hashes = [_decoded(line, "a hash") for line in path]
    if any(len(hash_) != HASH_BYTES for hash_ in hashes):
        raise BadProof("a hash of the proof is not of 32 bytes")
    return _decoded(extra.removeprefix("extra "), "the entry"), int(number), hashes, checkpoint


def _decoded(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise BadProof(f"{what} is not Base64") from None


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
