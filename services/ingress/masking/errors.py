"""What masking raises. Its counterpart is the caller, which forwards nothing when it sees one of these (G1)."""

from __future__ import annotations


class MaskingError(Exception):
    """A value could not be looked for, or could not be replaced: nothing of the text may be forwarded.

    The message never holds any part of the text, so it may be logged and shown.
    """


class MaskingConfigError(MaskingError, ValueError):
    """An entity name, a custom pattern or a key that cannot work: refuse to start."""
