"""Signed notes, checkpoints and entries: what was written is read, and nothing else is accepted."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from services.recorder.proof.leaf import BadEntry, Entry, decode
from services.recorder.proof.note import BadNote, Checkpoint, VerifierKey, read, sign, verifier_key, verify

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ORIGIN = "example.com/log/audit"
VKEY = verifier_key(KEY, ORIGIN)

#: The example of Go's golang.org/x/mod/sumdb/note package documentation, which C2SP signed-note describes.
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
SPOKEN = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)


def test_a_published_key_is_read_and_written() -> None:
    key = VerifierKey.parse(PETER)
    assert (key.name, key.id.hex(), str(key)) == ("PeterNeumann", "c74f20a3", PETER)


def test_a_published_signature_is_right() -> None:
    """The note is no checkpoint, so its signature is looked at below `verify`."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    key = VerifierKey.parse(PETER)
    text, _, line = SPOKEN.rpartition("\n\n")
    signature = base64.b64decode(line.split()[-1])
    assert signature[:4] == key.id
    Ed25519PublicKey.from_public_bytes(key.public).verify(signature[4:], f"{text}\n".encode())


@given(size=st.integers(0, 2**63), root=st.binary(min_size=32, max_size=32))
def test_a_signed_checkpoint_is_read_back(size: int, root: bytes) -> None:
    checkpoint = Checkpoint(ORIGIN, size, root)
    signed = sign(checkpoint, KEY)
    assert verify(signed, VKEY) == checkpoint == read(signed)
    assert verify(signed + "— witness.example AAAAAAAA\n", VKEY) == checkpoint


@given(at=st.integers(0, 10_000), with_=st.sampled_from("\n A9—+"))
def test_no_changed_checkpoint_is_accepted(at: int, with_: str) -> None:
    checkpoint = Checkpoint(ORIGIN, 4711, b"r" * 32)
    signed = sign(checkpoint, KEY)
    at %= len(signed)
    changed = signed[:at] + with_ + signed[at + 1 :]
    try:
        assert verify(changed, VKEY) == checkpoint
    except BadNote:
        return
    # What is accepted after all says the same, under a whole signature.
    assert changed.startswith(checkpoint.text)


def test_another_log_or_key_is_told_apart() -> None:
    signed = sign(Checkpoint(ORIGIN, 1, b"r" * 32), KEY)
    stranger = Ed25519PrivateKey.generate()
    for key in (verifier_key(stranger, ORIGIN), verifier_key(KEY, "example.com/other")):
        with pytest.raises(BadNote):
            verify(signed, key)
    for text in ("", "a+b+c", str(VKEY).replace("+", "+0", 1), "a\n1\nAAAA\n\n— a b\n"):
        with pytest.raises(BadNote):
            VerifierKey.parse(text)
        with pytest.raises(BadNote):
            read(text)


def test_an_entry_has_one_form() -> None:
    entry = Entry("AUDIT", 7, 42, 1_790_000_000_000_000, "events", "cs.attempt.http.openai", "ab" * 32, "cd" * 32)
    assert decode(entry.encoded) == entry
    assert entry.encoded.decode().splitlines()[0] == "countersign.event/1"
    for broken in (b"", entry.encoded[:-1], entry.encoded + b"\n", entry.encoded.replace(b"\n42\n", b"\n042\n")):
        with pytest.raises(BadEntry):
            decode(broken)
