"""Rows masked in both formats: nothing sensitive remains, values stay valid for their types, clean rows untouched."""

import json
import struct
import uuid
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.verdicts import MaskObligation
from services.ingress.inspection import Inspector
from services.ingress.masking.entities import CustomPattern
from services.ingress.masking.errors import MaskingError
from services.ingress.masking.replace import Replacer
from services.ingress.masking.rows.fields import Field
from services.ingress.masking.rows.row import RowMasker
from services.ingress.masking.rows.types import spelt
from services.ingress.masking.rows.values import Values
from services.ingress.masking.scanner import scanner_for
from tests.postgres_sql.database import Database

SCANNER = scanner_for(frozenset({"pii", "secrets", "financial"}))
CARD = 4111111111111111
#: Expressions of every common type that hold a sensitive value, and what the agent reads instead.
SENSITIVE: tuple[tuple[str, str | None], ...] = (
    ("'to ann@example.com'::text", "to [EMAIL]"),
    ("'ann@example.com'::varchar(40)", "[EMAIL]"),
    ("'ann@example.com'::name", "[EMAIL]"),
    ("'ann@example.com'::bpchar", "[EMAIL]"),
    ('\'{"a": "ann@example.com"}\'::json', '{"a": "[EMAIL]"}'),
    ('\'{"a": "ann@example.com"}\'::jsonb', '{"a": "[EMAIL]"}'),
    ('\'{"a": "ann\\u0040example.com"}\'::json', '{"a": "[EMAIL]"}'),
    ('\'{"a": "ann\\u0040example.com"}\'::text', '{"a": "[EMAIL]"}'),
    (f"{CARD}::bigint", None),
    (f"{CARD}::numeric", None),
    ("'10.11.12.13'::inet", None),
    ("'ann@example.com'::bytea", None),
    ("ARRAY['x', 'ann@example.com']", None),
    ("ARRAY['say \"hi\" ann@example.com']", None),
    (f"ARRAY[{CARD}]::bigint[]", None),
    ("ROW(1, 'ann@example.com')", None),
    ("ROW(1, ROW('x', 'ann@example.com'))", None),
    ("'ann@example.com'::citext_like", "[EMAIL]"),
    ("'hunter \"22\"' AS db_password", "[PASSWORD]"),
    ("'\"hunter22\"' AS password", "[PASSWORD]"),
    ("'219099998' AS ssn", "[US_SSN]"),
    ("219099998 AS ssn", None),
    ("4821::smallint AS pin", None),
    ("'Ab3dE6gH9jK2mN5pQ8sTu' AS api_key", "[HIGH_ENTROPY]"),
    ("'ann@example.com' AS token", "[EMAIL]"),
    ("'030 1234567' AS phone", "[PHONE]"),
    ('\'{"a": "ann\\u0040example.com"}\' AS api_key', '{"a": "[EMAIL]"}'),
    ("tsvector_to_array(to_tsvector('simple', 'ann@example.com'))", None),
)
CLEAN = (
    "1, 'Ann Smith', 1.5::float8, 2::numeric, now(), current_date, true, 'x'::bytea, ARRAY[1, 2], ARRAY['a', NULL],"
    " 7 AS pin, 'x' AS api_key, true AS password, 'Ab3dE6gH9jK2mN5pQ8sTu' AS next_page_token, 'none' AS secret,"
    " NULL::text, '{\"a\": 1}'::jsonb, gen_random_uuid(), '1 day'::interval, ROW(1, 'x'), '12:00'::time, ''::text"
)


@pytest.fixture(scope="module")
def connection(database: Database) -> psycopg.Connection:
    """With a domain over text: it is described as what it is a domain of."""
    database.connection.execute("CREATE DOMAIN citext_like AS text")
    return database.connection


def masker(fields: tuple[Field, ...], hidden: frozenset[int] = frozenset(), *, scan: bool = True) -> RowMasker:
    return RowMasker(fields, hidden, SCANNER if scan else None, Replacer())


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
@pytest.mark.parametrize(("expression", "left"), SENSITIVE, ids=[sql for sql, _ in SENSITIVE])
def test_a_value_found_is_replaced_or_null(
    connection: psycopg.Connection, database: Database, expression: str, left: str | None, binary: bool
) -> None:
    answer = database.answer(f"SELECT {expression}, 1 AS one", binary=binary)
    rows = masker(answer.fields)
    found, one = rows.masked(list(answer.rows[0]))
    jsonb = binary and answer.fields[0].type == 3802
    assert (found.decode().removeprefix("\x01") if found is not None else None) == left
    assert (found or b"").startswith(b"\x01") == jsonb
    assert one == answer.rows[0][1], "another column is left alone"
    assert rows.counts.total() == 1


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
def test_ordinary_rows_pass_as_they_are(connection: psycopg.Connection, database: Database, binary: bool) -> None:
    answer = database.answer(f"SELECT {CLEAN}", binary=binary)
    payload = data_row(answer.rows[0])
    assert masker(answer.fields).row(payload) is payload


#: A hidden value of each type: what the agent reads.
HIDDEN: tuple[tuple[str, Any], ...] = (
    ("'secret'::text", "[COLUMN]"),
    ("'secret'::varchar(10)", "[COLUMN]"),
    ("'{\"a\": 1}'::json", "[COLUMN]"),
    ("'{\"a\": 1}'::jsonb", "[COLUMN]"),
    ("42", None),
    ("4.2::numeric", None),
    ("1.5::float8", None),
    ("now()", None),
    ("current_date", None),
    ("true", None),
    ("gen_random_uuid()", None),
    ("'x'::bytea", None),
    ("ARRAY['secret']", None),
    ("ROW('secret')", None),
    ("'10.0.0.1'::inet", None),
    ("'1 day'::interval", None),
    ("NULL::text", None),
)


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
@pytest.mark.parametrize(("expression", "left"), HIDDEN, ids=[sql for sql, _ in HIDDEN])
def test_a_hidden_column_stays_valid_for_its_type(
    connection: psycopg.Connection, database: Database, expression: str, left: Any, binary: bool
) -> None:
    """psycopg itself reads what comes out: the loaders know what each type looks like."""
    answer = database.answer(f"SELECT {expression} AS v, 'b' AS b", binary=binary)
    hidden, other = masker(answer.fields, frozenset({0}), scan=False).masked(list(answer.rows[0]))
    assert other == b"b"
    loader = connection.adapters.get_loader(answer.fields[0].type, psycopg.pq.Format(binary))
    assert loader is not None
    assert (loader(answer.fields[0].type, connection).load(hidden) if hidden is not None else None) == left


def test_styles_are_those_of_the_rule() -> None:
    fields = (Field("email", type=25),)
    inspector = Inspector(b"k" * 32)

    def shown(style: Any) -> str:
        rows = inspector.rows(fields, frozenset({0}), MaskObligation(columns=("c.email",), style=style))
        assert rows
        (value,) = rows.masked([b"ann@example.com"])
        pairs = rows.take_pairs()
        assert bool(pairs) == (style == "token")
        assert value is not None
        return value.decode()

    assert shown("label") == "[COLUMN]"
    assert shown("partial") == "****"
    assert shown("hash").startswith("COLUMN#")
    assert shown("token").startswith("COLUMN_")
    assert shown("token") == shown("token"), "agents can join on it"


def test_nothing_to_do_is_told_at_once() -> None:
    inspector = Inspector(b"k" * 32)
    assert inspector.rows((Field(),), frozenset(), MaskObligation(columns=("a.b",))) is None
    assert inspector.rows((Field(),), frozenset(), MaskObligation(request=("pii",))) is None
    assert inspector.rows((Field(),), frozenset({0}), MaskObligation()) is not None


@pytest.mark.parametrize(
    "payload",
    [b"", b"\0", b"\0\1", b"\0\1\0\0\0\5abc", b"\0\1\0\0\0\1abc", b"\0\2\0\0\0\1a\0\0\0\1b", b"\0\0"],
)
def test_what_is_no_such_row_is_refused(payload: bytes) -> None:
    with pytest.raises(MaskingError):
        masker((Field(type=25),)).row(payload)


values = st.lists(st.none() | st.binary(max_size=40) | st.sampled_from([b"ann@example.com", b"4111111111111111"]))


@given(
    values, st.sets(st.integers(0, 9)), st.sampled_from([0, 25, 114, 3802, 17, 20, 1007, 1700, 999_999]), st.booleans()
)
def test_any_row_comes_out_whole(row: list[bytes | None], hidden: set[int], oid: int, binary: bool) -> None:
    """As many columns, NULL stays NULL, and what is found nowhere passes byte by byte."""
    fields = tuple(Field(type=oid, binary=binary) for _ in row)
    rows = masker(fields, frozenset(at for at in hidden if at < len(row)))
    payload = data_row(row)
    masked = rows.row(payload)
    again = split(masked)
    assert len(again) == len(row)
    for before, after in zip(row, again, strict=True):
        assert before is not None or after is None
    if not rows.counts:
        assert masked == payload
    assert b"ann@example.com" not in masked


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6) | st.integers().map(Decimal))
def test_binary_numerics_are_read(database: Database, number: Decimal) -> None:
    ((raw,),) = database.answer(f"SELECT ({number:f})::numeric", binary=True).rows
    assert raw is not None
    assert Decimal(str(spelt(raw, 1700))) == number


@given(st.integers(-(2**63), 2**63 - 1), st.uuids())
def test_binary_integers_and_uuids_are_read(number: int, identifier: uuid.UUID) -> None:
    assert spelt(struct.pack("!q", number), 20) == str(number)
    assert spelt(identifier.bytes, 2950) == str(identifier)


@given(st.sampled_from([16, 20, 700, 701, 1700, 2950, 650, 869]), st.binary(max_size=30))
def test_any_bytes_are_read_or_not(oid: int, raw: bytes) -> None:
    assert spelt(raw, oid) is None or isinstance(spelt(raw, oid), str)


@given(st.recursive(st.text() | st.integers() | st.just("ann@example.com"), lambda inner: st.lists(inner, max_size=3)))
def test_json_stays_json(value: Any) -> None:
    raw = json.dumps({"v": value}).encode()
    (masked,) = masker((Field(type=114),)).masked([raw])
    assert masked is not None
    json.loads(masked)
    assert b"ann@example.com" not in masked


def data_row(row: Any) -> bytes:
    parts = [struct.pack("!H", len(row))]
    parts += [b"\xff\xff\xff\xff" if value is None else struct.pack("!i", len(value)) + value for value in row]
    return b"".join(parts)


def split(payload: bytes) -> list[bytes | None]:
    (count,), at, found = struct.unpack_from("!H", payload), 2, []
    for _ in range(count):
        (length,) = struct.unpack_from("!i", payload, at)
        at += 4
        found.append(None if length < 0 else payload[at : at + length])
        at += max(0, length)
    assert at == len(payload)
    return found


OWN = scanner_for(frozenset({"pii", "secrets"}), (CustomPattern("TICKET", r"T-\d+\s\w+"),), ("falcon",))
pieces = st.sampled_from(
    [
        "ann@example.com",
        "password",
        "=",
        ": ",
        "hunter2secret",
        "4111111111111111",
        "T-12 x",
        "T-12",
        "falcon",
        "+",
        "\n",
        "\\",
    ]
) | st.text(max_size=6)


@given(st.lists(st.none() | st.lists(pieces, max_size=4).map(lambda parts: "".join(parts).encode()), max_size=6))
def test_one_pass_over_a_row_finds_what_a_pass_over_each_value_does(row: list[bytes | None]) -> None:
    for scanner in (SCANNER, OWN):
        fields = tuple(Field(type=25) for _ in row)
        each = Values(scanner, Replacer())
        alone = [None if value is None else each.look(value, Field(type=25)) for value in row]
        together = RowMasker(fields, frozenset(), scanner, Replacer())
        assert together.masked(list(row)) == alone
        assert together.counts == each.counts


@given(st.lists(st.binary(max_size=30), max_size=5), st.booleans())
def test_patterns_of_the_operators_own_meet_any_bytes(row: list[bytes], binary: bool) -> None:
    for oid in (0, 17, 25, 999_999):
        rows = RowMasker(tuple(Field(type=oid, binary=binary) for _ in row), frozenset(), OWN, Replacer())
        assert len(rows.masked([*row])) == len(row)
        (found,) = RowMasker((Field(type=oid, binary=binary),), frozenset(), OWN, Replacer()).masked(
            [b"\xff falcon \xe9"]
        )
        assert b"falcon" not in (found or b"")
