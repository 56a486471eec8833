"""Checkpoints: the head of a log as a signed note. Pure. Sources: C2SP signed-note and tlog-checkpoint.

    example.com/countersign/audit          the log's origin, which is also its key's name
    20852163                               leaves
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
                                           (an empty line)
    — example.com/countersign/audit Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOo…

A verifier key is `name+hex(key id)+base64(0x01 ‖ public key)`; the id is the first 4 bytes of
SHA-256(name ‖ 0x0A ‖ 0x01 ‖ public key), 0x01 standing for Ed25519.
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from services.recorder.proof.merkle import HASH_BYTES

_ED25519: Final = b"\x01"
_KEY_ID_BYTES: Final = 4
_DASH: Final = "— "
#: Far above any note of ours; a file that claims to be one is not read beyond.
MAX_NOTE_BYTES: Final = 64 * 1024


def origin(log: str, stream: str) -> str:
    """The name of a stream's log: each stream has its own, because each has its own writer and its own order."""
    return f"{log}/{stream.lower()}"


def expired_origin(origin_: str) -> str:
    """The name under which it is signed that the first leaves of a log have no rows any more."""
    return f"{origin_}/expired"


class BadNote(Exception):
    """Not a checkpoint, or not one that this key signed; the text says which."""


@dataclass(frozen=True)
class Checkpoint:
    """The head of a log: `size` leaves under `root`. `note` is the signed text it came from or went into."""

    origin: str
    size: int
    root: bytes
    note: str = field(default="", compare=False)

    @property
    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{_base64(self.root)}\n"


@dataclass(frozen=True)
class VerifierKey:
    """The public half of a log's key."""

    name: str
    public: bytes

    @property
    def id(self) -> bytes:
        """What a signature line names it by."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:_KEY_ID_BYTES]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{_base64(_ED25519 + self.public)}"

    @classmethod
    def parse(cls, text: str) -> "VerifierKey":
        """Read a verifier key. Raises BadNote."""
        name, plus, rest = text.strip().partition("+")
        id_, plus_again, encoded = rest.partition("+")
        try:
            key = base64.b64decode(encoded, validate=True)
        except (ValueError, binascii.Error):
            key = b""
        if not (name and plus and plus_again) or key[:1] != _ED25519 or len(key) != 1 + HASH_BYTES:
            raise BadNote("a verifier key is name+id+base64 of an Ed25519 key")
        made = cls(name, key[1:])
        if made.id.hex() != id_:
            raise BadNote(f"the verifier key of {name} does not fit its id")
        return made


def verifier_key(key: Ed25519PrivateKey, name: str) -> VerifierKey:
    """The public half of a signing key, under a log's name."""
    return VerifierKey(name, key.public_key().public_bytes_raw())


def sign(checkpoint: Checkpoint, key: Ed25519PrivateKey) -> str:
    """The signed note. Ed25519 is deterministic: the same head always gives the same note."""
    verifier = verifier_key(key, checkpoint.origin)
    signature = verifier.id + key.sign(checkpoint.text.encode())
    return f"{checkpoint.text}\n{_DASH}{checkpoint.origin} {_base64(signature)}\n"


def read(note: str) -> Checkpoint:
    """A checkpoint as it claims to be, no signature looked at. Raises BadNote."""
    text, gap, _ = note.partition("\n\n")
    lines = text.split("\n")
    if not gap or len(lines) < 3 or not all(lines) or len(note) > MAX_NOTE_BYTES:
        raise BadNote("not a checkpoint: it has an origin, a size, a root, an empty line and signatures")
    origin, size, encoded = lines[:3]
    try:
        root = base64.b64decode(encoded, validate=True)
    except (ValueError, binascii.Error):
        root = b""
    if len(root) != HASH_BYTES or not (size.isascii() and size.isdigit()) or str(int(size)) != size:
        raise BadNote("not a checkpoint: its size or root cannot be read")
    return Checkpoint(origin, int(size), root, note)


def verify(note: str, key: VerifierKey) -> Checkpoint:
    """A checkpoint that this key signed; signatures of others (witnesses) are passed over. Raises BadNote."""
    checkpoint = read(note)
    if checkpoint.origin != key.name:
        raise BadNote(f"the checkpoint is of {checkpoint.origin}, the key of {key.name}")
    text, _, signatures = note.partition("\n\n")
    for line in signatures.splitlines():
        name, _, encoded = line.removeprefix(_DASH).partition(" ")
        if not line.startswith(_DASH) or name != key.name:
            continue
        try:
            signature = base64.b64decode(encoded, validate=True)
        except (ValueError, binascii.Error):
            continue
        if signature[:_KEY_ID_BYTES] == key.id:
            return _checked(checkpoint, f"{text}\n", signature[_KEY_ID_BYTES:], key)
    raise BadNote(f"{key.name} has not signed this checkpoint with key {key.id.hex()}")


def _checked(checkpoint: Checkpoint, text: str, signature: bytes, key: VerifierKey) -> Checkpoint:
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(signature, text.encode())
    except InvalidSignature:
        raise BadNote(f"the signature of {key.name} is wrong") from None
    return checkpoint


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
