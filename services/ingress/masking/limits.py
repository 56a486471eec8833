"""The named bounds of masking, in UTF-8 bytes. Each is the reason some buffer cannot grow (G10)."""

from __future__ import annotations

# The longest value that is found whole, and so the most a stream ever holds back. A PKCS#8 key of
# 16,384 bits is 12.7 KiB of PEM; the longest JWT that common servers accept in a header is 8 KiB.
HOLD_LIMIT = 16 * 1024

# How far before a value its telling word may stand, separators included. A stream keeps this much of
# what it already passed on. The longest context is a URL's user name (128) with its scheme.
CONTEXT_LIMIT = 256

# What `x*` and `x+` mean in a custom pattern: so many repetitions. Without it a match has no length,
# and a stream would have to be held back to its end.
CUSTOM_REPEAT_LIMIT = 256

# How many patterns and deny words one scanner takes: compiled size grows with them.
CUSTOM_PATTERN_LIMIT = 1_000
