"""The words a statement is written with: a message that quotes one of them tells its agent nothing new."""

from __future__ import annotations

import re

from pglast import Error

from services.ingress.classify.sql.text_guard import MAX_TEXT, scan

#: Of a text that PostgreSQL's scanner does not take.
_WORD = re.compile(r"\w+")


def words(sql: str) -> frozenset[str]:
    """Names, keywords and constants in lower case, without their quotes; of `'a.b'` also `a` and `b`."""
    try:
        tokens = [sql[token.start : token.end + 1] for token in scan(sql[:MAX_TEXT])]
    except (Error, UnicodeError, ValueError):
        tokens = _WORD.findall(sql[:MAX_TEXT])
    found = {_bare(token).lower() for token in tokens}
    return frozenset(found.union(*(word.split(".") for word in found)))


def _bare(token: str) -> str:
    quote = token[:1]
    if quote in ("'", '"') and token.endswith(quote) and len(token) > 1:
        return token[1:-1].replace(quote * 2, quote)
    return token
