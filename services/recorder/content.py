"""What of an event is content, cut out of its bytes and sealed, so that it can be erased and the proof still holds.

    published bytes ──cut──► raw (the JSON with `null` where content stood) + content (the values, nested as there)
    published bytes ◄──restored── raw + content          content ──seal──► nonce ‖ ciphertext ‖ tag

Content is what people and databases said: statements, prompts, paths, parameters, reasons of callers, frames. What an
event must go on telling after an erasure stays: who, when, on what connector, which action, decided how, by whom.
Bytes that are not exactly what our serialiser writes cannot be put together again from parts: those are content whole.
Pure. Counterpart in SQL: the views of migrations/0004_sealed_content.sql, which read `content` by the same nesting.
"""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

#: AES-256-GCM (NIST SP 800-38D): bytes of a key, of a nonce and of a tag.
KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16

#: Domain of the keyed hash that nonces are made by.
_NONCE_LABEL: Final = b"countersign/content-nonce/v1"

Path = tuple[str, ...]

_OPERATION: Final[tuple[Path, ...]] = (
    ("operation", "statement"),
    ("operation", "path"),
    ("operation", "query"),
    ("operation", "attributes"),
    ("operation", "resources"),
    ("asked", "reason"),
)
#: Type of event to the values in it that are content.
CONTENT: Final[Mapping[str, tuple[Path, ...]]] = {
    "OperationAttempted": _OPERATION,
    "ApprovalRequested": _OPERATION,
    "OperationFinished": (("refusal", "statement"),),
    "SessionFrame": (("data",),),
}


class Cut(NamedTuple):
    """An event's bytes in two parts; `content` is empty where nothing was cut, `raw` where all of it was."""

    raw: bytes
    content: bytes


class Unreadable(Exception):
    """Sealed content that this key does not open, for this event: erased, another's, or changed."""


def cut(data: bytes, kind: str) -> Cut:
    """Part the published bytes of an event of a type. The parts give exactly these bytes again."""
    paths = CONTENT.get(kind)
    if not paths:
        return Cut(data, b"")
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError:  # JSON to pydantic all the same: an integer beyond 64 bits, for one
        return Cut(b"", data)
    content: dict[str, Any] = {}
    for path in paths:
        _move(document, path, content)
    if not content:
        return Cut(data, b"")
    parts = Cut(orjson.dumps(document), orjson.dumps(content))
    # As `restored` does, without parsing again what is still at hand.
    _put_back(document, content)
    return parts if orjson.dumps(document) == data else Cut(b"", data)


def restored(raw: bytes, content: bytes) -> bytes:
    """The published bytes from their two parts. Raises ValueError when they do not fit together."""
    if not content or not raw:
        return raw or content
    document, values = orjson.loads(raw), orjson.loads(content)
    if not isinstance(document, dict) or not isinstance(values, dict):
        raise ValueError("the parts of an event are JSON objects")
    _put_back(document, values)
    return orjson.dumps(document)


def content_key(session_key: bytes, event_id: str) -> bytes:
    """The key of one event's content: it can be shown to prove that event, and opens no other of its session.

    Hashed twice, so that from one event's key none of a longer id follows (length extension).
    """
    return hashlib.sha256(hashlib.sha256(session_key + event_id.encode()).digest()).digest()


def seal(key: bytes, event_id: str, content: bytes) -> bytes:
    """Encrypt content under its `content_key`: nonce, ciphertext, tag. The same input always gives the same bytes.

    The nonce is a keyed hash of the content: it repeats under a key only where everything does, so a row that is
    written again is the same row, and two events that carry one id do not share a keystream.
    """
    nonce = hmac.digest(key, _NONCE_LABEL + hashlib.sha256(content).digest(), "sha256")[:NONCE_BYTES]
    return nonce + AESGCM(key).encrypt(nonce, content, event_id.encode())


def unseal(key: bytes, event_id: str, sealed: bytes) -> bytes:
    """The content, with its `content_key`. Raises Unreadable."""
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], event_id.encode())
    except (InvalidTag, ValueError):
        raise Unreadable(event_id) from None


def sealed_hash(sealed: bytes) -> str:
    """SHA-256 in hex of sealed content: what the log commits to, and what remains when the key is gone."""
    return hashlib.sha256(sealed).hexdigest()


def _move(document: dict[str, Any], path: Path, content: dict[str, Any]) -> None:
    """Move one value; empty ones stay, for they tell nothing."""
    *parents, name = path
    for parent in parents:
        child = document.get(parent)
        if not isinstance(child, dict):
            return
        document = child
    value = document.get(name)
    if not value or (name == "resources" and not _repeats_path(value, content)):
        return
    for parent in parents:
        content = content.setdefault(parent, {})
    content[name] = value
    document[name] = None


def _repeats_path(resources: Any, content: dict[str, Any]) -> bool:
    """An HTTP request's resources hold its path, which may name a person; a database's are its tables, and stay."""
    path = content.get("operation", {}).get("path")
    return bool(path) and isinstance(resources, list) and path in resources


def _put_back(document: dict[str, Any], values: dict[str, Any]) -> None:
    for name, value in values.items():
        if name not in document:
            raise ValueError(f"content has {name}, its event has no place for it")
        place = document[name]
        # An object in an object's place has values for some of its members; in the place of `null` it is the value.
        if isinstance(place, dict) and isinstance(value, dict):
            _put_back(place, value)
        elif place is None:
            document[name] = value
        else:
            raise ValueError(f"content has {name}, its event has a value there")
