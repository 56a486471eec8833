"""The named bound of masking rows, in bytes."""

from __future__ import annotations

#: The largest row that is masked: it has to be held whole, and its masked form beside it.
ROW_LIMIT = 16 * 1024**2
