"""Mask what a server tells beside rows: errors and notices that quote values, and the payload of NOTIFY.

What a detector finds is masked wherever it stands. Where column rules apply, a value may stand in any message that
quotes data; then only such words pass as the server itself puts together of names (`_NAMES`), and what code of the
database's raised is not shown at all:

    M   message   shown for errors about names, syntax, state; up to its first quote for data exceptions; else replaced
    D   detail    `Key (email)=(…) already exists.` with its columns and without its values; else left out
    H   hint      as the message, left out instead of replaced
    W, q          context and internal query: left out

The letters are those of "Error and Notice Message Fields". Severity, SQLSTATE, names of schema objects and positions
pass as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from services.ingress.masking.replace import Replacer
from services.ingress.masking.rows.values import COLUMN
from services.ingress.masking.scanner import Scanner
from services.ingress.masking.text import mask_text

#: What a client reads instead of words that may quote a masked column.
UNTOLD = "[the server's words are masked]"

_FREE = frozenset("MDHWq")
#: Classes of SQLSTATE ("PostgreSQL Error Codes") whose messages are made of names: no row is quoted in them.
_NAMES = frozenset(
    [
        "00",
        "01",
        "03",
        "08",
        "0A",
        "0B",
        "20",
        "23",
        "24",
        "25",
        "26",
        "28",
        "2B",
        "2D",
        "34",
        "3B",
        "3D",
        "3F",
        "40",
        "42",
        "53",
        "54",
        "55",
        "57",
        "58",
    ]
)
#: Their messages quote the value they are about.
_DATA = frozenset({"22"})
#: The server's functions that pass on what code said: RAISE, elog and their kin.
_RAISED = ("exec_stmt_raise", "exec_stmt_assert", "do_util_elog", "ply_output", "pltcl_elog")
#: Key (a, b)=(1, 2) already exists. (src/backend/executor/execIndexing.c, src/backend/utils/adt/ri_triggers.c)
_KEY = re.compile(
    r"""(?P<columns>Key\ \([^()]*(?:\([^()]*\)[^()]*)*\))=\((?P<values>[\s\S]*)\)
        (?P<tail>\ already\ exists\.|\ is\ duplicated\.|\ is\ not\ present\ in\ table\ "[^"]*"\.
         |\ is\ still\ referenced\ from\ table\ "[^"]*"\.|\ is\ referenced\ from\ table\ "[^"]*"\.)""",
    re.VERBOSE,
)
#: From the first quote on: the value, and what the server says of it.
_QUOTED = re.compile(r'"[\s\S]*')
_LABEL = f"[{COLUMN}]"


class NoticeMasker:
    """For one statement's mask. Made by `Inspector.notices`."""

    def __init__(self, columns: bool, scanner: Scanner | None, replacer: Replacer) -> None:
        """`columns` says that column rules apply, so that every value a message quotes may be one of theirs."""
        self._columns = columns
        self._scanner = scanner
        self._replacer = replacer

    def fields(self, told: Mapping[str, str]) -> dict[str, str]:
        """The fields of an ErrorResponse or NoticeResponse by their letter, masked. Raises MaskingError.

        What is left out is to be left out of the message.
        """
        shown = self._without_columns(told) if self._columns else dict(told)
        return {code: self._looked_at(text) if code in _FREE else text for code, text in shown.items()}

    def payload(self, text: str) -> str:
        """The payload of a NotificationResponse, masked. Raises MaskingError.

        Where column rules apply, nobody knows what a trigger has put into it: it is masked whole.
        """
        return _LABEL if self._columns and text else self._looked_at(text)

    def _without_columns(self, told: Mapping[str, str]) -> dict[str, str]:
        shown = {code: text for code, text in told.items() if code not in _FREE}
        state = told.get("C", "")[:2]
        raised = "W" in told or told.get("R", "").lower() in _RAISED
        message = told.get("M", "")
        if raised or state not in _NAMES | _DATA:
            return {**shown, "M": UNTOLD}
        shown["M"] = _QUOTED.sub(_LABEL, message) if state in _DATA else message
        if state in _NAMES and "H" in told:
            shown["H"] = told["H"]
        key = _KEY.fullmatch(told.get("D", ""))
        if key:
            shown["D"] = f"{key['columns']}=({_LABEL}){key['tail']}"
        return shown

    def _looked_at(self, text: str) -> str:
        return mask_text(text, self._scanner, self._replacer)[0] if self._scanner else text
