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
from typing import Any, Final

import orjson
from pydantic import BaseModel, ConfigDict, Field

from services.recorder.content import Unreadable, restored, sealed_hash, unseal
from services.recorder.proof import note
from services.recorder.proof.leaf import BadEntry, Entry, decode, raw_hash
from services.recorder.proof.merkle import HASH_BYTES, leaf_hash, root_from_inclusion
from services.recorder.row_values import NotAnEvent
from services.recorder.rows import kind_of

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

    @property
    def fields(self) -> dict[str, Any]:
        """The event's JSON, as far as it was shown and can be read."""
        return _document(self.bytes)

    @property
    def operation_id(self) -> str:
        """By the event's own bytes; empty where they do not tell."""
        return str(self.fields.get("operation_id") or "")

    @property
    def at(self) -> str:
        """When, by the event's own bytes."""
        return str(self.fields.get("at") or "an unknown time")

    @property
    def told(self) -> str:
        """Who and what, for people: ` (agent-7: llm.chat on openai)`, as far as the event tells."""
        identity, operation, connector = (_part(self.fields, name) for name in ("identity", "operation", "connector"))
        if not identity:
            return ""
        return f" ({identity.get('subject')}: {operation.get('action')} on {connector.get('name')})"


def proof_text(entry: bytes, index: int, path: Sequence[bytes], checkpoint: str) -> str:
    """Write a tlog-proof."""
    lines = [_HEADER, f"extra {_base64(entry)}", f"index {index}", *map(_base64, path), "", checkpoint]
    return "\n".join(lines)


def check(proven: ProvenEvent, key: note.VerifierKey, *, of: str = "") -> Checked:
    """Check everything that is in it, and that it is an event of operation `of`. Raises BadProof."""
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
    _must_be_of(proven, facts, _document(data), of)
    return Checked(
        event_id=proven.event_id, entry=facts, index=index, checkpoint_size=checkpoint.size, bytes=data, whole=whole
    )


def event_id(data: bytes) -> str:
    """The id inside an event's bytes, or nothing where it cannot be read."""
    return str(_document(data).get("event_id", ""))


def _must_be_of(proven: ProvenEvent, facts: Entry, document: dict[str, Any], of: str) -> None:
    """What the file says beside the proof: the type is told by the subject, the operation by the bytes."""
    try:
        kind = kind_of(facts.subject)
    except NotAnEvent as error:
        raise BadProof(str(error)) from None
    if proven.type != kind:
        raise BadProof(f"`type` is not the event's: it is {kind}")
    if of and document and document.get("operation_id") != of:
        raise BadProof(f"it is an event of operation {document.get('operation_id')}, not of {of}")


def _document(data: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {}


def _part(document: dict[str, Any], name: str) -> dict[str, Any]:
    part = document.get(name)
    return part if isinstance(part, dict) else {}


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
