"""Mask what a server tells beside rows: errors and notices that quote values, and the payload of NOTIFY.

What a detector finds is masked wherever it stands. Where column rules apply, a value may stand in any message that
quotes data, and names may be made of values (`current_setting(email)`); then only such words pass as the server itself
puts together of names that the agent knows, and what code of the database's raised is not shown at all:

    M   message   about the statement's own text (it has a position): shown. Else, of a form in `_FORMS`: shown with
                  those names that stand in the statement or are told as names. Of class 0A, 3D, 3F and 42: replaced,
                  but for 42501, which quotes nothing. Of the rest: up to its first quote
    D   detail    `Key (email)=(…) already exists.` with its columns and without its values; else left out
    H   hint      shown where the message is about the statement's own text, or quotes nothing; else left out
    W, q          context and internal query: left out

The letters are those of "Error and Notice Message Fields". Severity, SQLSTATE, names of schema objects and positions
pass as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping

from services.ingress.masking.replace import Replacer
from services.ingress.masking.rows.values import COLUMN
from services.ingress.masking.scanner import Scanner
from services.ingress.masking.text import mask_text

#: What a client reads instead of words that may quote a masked column.
UNTOLD = "[the server's words are masked]"

_FREE = frozenset("MDHWq")
#: Classes of SQLSTATE ("PostgreSQL Error Codes") whose messages are made of names.
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
#: Of these, those whose names functions look up while they run; not all of their messages quote them.
_LOOKED_UP = frozenset({"0A", "3D", "3F", "42"})
#: It names what is there.
_NO_PERMISSION = "42501"
#: Fields that name a schema, table, column, type and constraint.
_NAMED = "stcdn"
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
_OBJECT = (
    r"(?:relation|table|view|materialized view|foreign table|sequence|index|column|constraint|trigger|rule|policy"
    r"|schema|role|database|tablespace|type|function|procedure|aggregate|language|extension|collation|server|publication"
    r"|prepared statement|cursor|portal|savepoint)"
)
_NAME = r'"[^"]+"'
#: What the server says about names, word for word: nothing but a name has room in them.
_FORMS = re.compile(
    rf"{_OBJECT} {_NAME}(?: (?:of|for) (?:relation|table) {_NAME})? (?:does not exist|already exists)(?:, skipping)?"
    rf"|{_NAME} is not an? {_OBJECT}"
    rf"|unrecognized configuration parameter {_NAME}"
    rf"|(?:duplicate key value violates unique|conflicting key value violates exclusion) constraint {_NAME}"
    rf"|null value in column {_NAME} of relation {_NAME} violates not-null constraint"
    rf"|new row for relation {_NAME} violates check constraint {_NAME}"
    rf"|insert or update on table {_NAME} violates foreign key constraint {_NAME}"
    rf"|update or delete on table {_NAME} violates foreign key constraint {_NAME} on table {_NAME}"
    rf"|column {_NAME} of relation {_NAME} contains null values"
    rf"|check constraint {_NAME} of relation {_NAME} is violated by some row"
    rf"|could not create unique index {_NAME}|truncate cascades to table {_NAME}"
    "|cached plan must not change result type"
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

    def fields(self, told: Mapping[str, str], words: Callable[[], Collection[str]] = tuple) -> dict[str, str]:
        """The fields of an ErrorResponse or NoticeResponse by their letter, masked. Raises MaskingError.

        What is left out is to be left out of the message. `words` are those of the agent's own statement, in lower
        case: asked for only where a message quotes names.
        """
        shown = self._without_columns(told, words) if self._columns else dict(told)
        return {code: self._looked_at(text) if code in _FREE else text for code, text in shown.items()}

    def payload(self, text: str) -> str:
        """The payload of a NotificationResponse, masked. Raises MaskingError.

        Where column rules apply, nobody knows what a trigger has put into it: it is masked whole.
        """
        return _LABEL if self._columns and text else self._looked_at(text)

    def _without_columns(self, told: Mapping[str, str], words: Callable[[], Collection[str]]) -> dict[str, str]:
        shown = {code: text for code, text in told.items() if code not in _FREE}
        state, message = told.get("C", "")[:2], told.get("M", "")
        raised = "W" in told or told.get("R", "").lower() in _RAISED
        if raised or state not in _NAMES | _DATA:
            return {**shown, "M": UNTOLD}
        placed = "P" in told  # the parser puts it there; what goes wrong later has no place in the statement
        if state in _DATA:
            shown["M"] = _QUOTED.sub(_LABEL, message)
        else:
            shown["M"] = message if placed else _of_names(message, told, words)
        hint = told.get("H", "")
        if hint and state in _NAMES and (placed or '"' not in hint):
            shown["H"] = hint
        key = _KEY.fullmatch(told.get("D", ""))
        if key:
            shown["D"] = f"{key['columns']}=({_LABEL}){key['tail']}"
        return shown

    def _looked_at(self, text: str) -> str:
        return mask_text(text, self._scanner, self._replacer)[0] if self._scanner else text


def _of_names(message: str, told: Mapping[str, str], words: Callable[[], Collection[str]]) -> str:
    """A message with no name in it that the agent does not know."""
    if _FORMS.fullmatch(message):
        known = {told[code].lower() for code in _NAMED if code in told}.union(words())
        return re.sub(_NAME, lambda quoted: quoted[0] if _is_known(quoted[0][1:-1], known) else _LABEL, message)
    if told.get("C", "")[:2] in _LOOKED_UP:
        return message if told.get("C") == _NO_PERMISSION and '"' not in message else UNTOLD
    return _QUOTED.sub(_LABEL, message)


def _is_known(name: str, known: Collection[str]) -> bool:
    """`schema.table` is known when both are."""
    lowered = name.lower()
    return lowered in known or all(part in known for part in lowered.split("."))
