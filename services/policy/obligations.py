"""How the obligations of all rules that matched add up: whatever one asks for, the sum does at least as much.

| obligation | sum |
|---|---|
| mask request, response, columns, fields | union |
| mask style | the one that reveals least: label, hash, token, partial |
| mask restore | only if every rule with a mask says so |
| mask binary | refuse, if any rule with a mask says so |
| limit rows | the smallest |
| record | the one that keeps most: full, metadata, none; full when no rule says |
"""

from collections.abc import Iterable, Sequence
from typing import Literal, get_args

from schemas.verdicts import Limit, MaskObligation, Obligations, Record
from services.policy.rules import Rule

Style = Literal["label", "partial", "hash", "token"]

#: Least revealing first: a label tells the kind; a hash lets equal values be seen; a token can be turned back; a
#: partial value shows some of it.
_STYLES: tuple[Style, ...] = ("label", "hash", "token", "partial")
#: Strictest first: a record is an obligation too, and a gap in it cannot be mended later.
_RECORDS: tuple[Record, ...] = get_args(Record)


def add_up(rules: Iterable[Rule]) -> Obligations:
    """The sum over these rules."""
    matched = list(rules)
    rows = [rule.rows for rule in matched if rule.rows is not None]
    records = [rule.record for rule in matched if rule.record is not None]
    return Obligations(
        mask=_add_masks([rule.mask for rule in matched if rule.mask is not None]),
        limit=Limit(rows=min(rows, default=None)),
        record=min(records, key=_RECORDS.index, default="full"),
    )


def _add_masks(masks: Sequence[MaskObligation]) -> MaskObligation:
    if not masks:
        return MaskObligation()
    hiding = [mask for mask in masks if mask.request or mask.response or mask.columns or mask.fields]
    return MaskObligation(
        request=_union(mask.request for mask in masks),
        response=_union(mask.response for mask in masks),
        columns=_union(mask.columns for mask in masks),
        fields=_union(mask.fields for mask in masks),
        style=min((mask.style for mask in hiding), key=_STYLES.index, default="label"),
        restore=all(mask.restore for mask in masks),
        binary="refuse" if any(mask.binary == "refuse" for mask in masks) else "pass",
    )


def _union(lists: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for names in lists for name in names))
