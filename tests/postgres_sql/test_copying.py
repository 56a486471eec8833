"""COPY … TO masked: what PostgreSQL sends, cut anywhere, comes out readable by PostgreSQL and without the value."""

import itertools

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingress.classify.sql.statements import parse
from services.ingress.masking.errors import MaskingError
from services.ingress.masking.replace import Replacer
from services.ingress.masking.rows.copying import CopyMasker
from services.ingress.masking.rows.fields import CopyFormat
from services.ingress.masking.scanner import scanner_for
from tests.postgres_sql.database import Database

SCANNER = scanner_for(frozenset({"pii", "secrets", "financial"}))
FORMS = (
    "",
    "(FORMAT text, DELIMITER '|')",
    "(FORMAT csv)",
    "(FORMAT csv, HEADER, DELIMITER ';', QUOTE '''', ESCAPE '\\', NULL 'NULL')",
    "(FORMAT csv, FORCE_QUOTE *)",
    "(FORMAT binary)",
)
TRICKY = [
    "",
    "plain",
    "a\tb|c;d,e",
    'say "hi"',
    "it's",
    "line\nand\r\nmore",
    "back\\slash",
    "\\N",
    "nil",
    "NULL",
    "é€😀",
    " x ",
]


@pytest.fixture(scope="module")
def table(database: Database) -> psycopg.Connection:
    connection = database.connection
    connection.execute("CREATE TABLE IF NOT EXISTS exported (id int, email text, note text, card bigint)")
    connection.execute("TRUNCATE exported")
    for at, text in enumerate([*TRICKY, None]):
        connection.execute("INSERT INTO exported VALUES (%s, %s, %s, NULL)", (at, text, text))
    connection.execute(
        "INSERT INTO exported VALUES (99, 'ann@example.com', 'to bob@example.com, soon', 4111111111111111)"
    )
    return connection


def form_of(sql: str) -> CopyFormat:
    (statement,) = parse(sql)
    assert statement.copy
    return statement.copy.form


def copied(connection: psycopg.Connection, sql: str) -> list[bytes]:
    with connection.cursor().copy(sql) as copy:  # type: ignore[arg-type]
        return [bytes(part) for part in copy]


@pytest.mark.parametrize("form", FORMS)
def test_masked_exports_can_be_read_back(table: psycopg.Connection, form: str) -> None:
    """PostgreSQL is the judge: what the masker wrote is copied into another table."""
    sql = f"COPY (SELECT id, email, note, card FROM exported ORDER BY id) TO STDOUT {form}"
    parts = copied(table, sql)
    masker = CopyMasker(form_of(sql), frozenset({1}), SCANNER, Replacer())
    masked = b"".join(masker.feed(part) for part in parts) + masker.close()
    table.execute("CREATE TEMP TABLE back (LIKE exported)")
    try:
        with table.cursor().copy(f"COPY back FROM STDIN {form.replace(', FORCE_QUOTE *', '')}") as copy:  # type: ignore[arg-type]
            copy.write(masked)
        rows = table.execute("SELECT * FROM back ORDER BY id").fetchall()
    finally:
        table.execute("DROP TABLE back")
    assert [row[1] for row in rows] == [None] * len(rows)
    assert [row[2] for row in rows] == [*TRICKY, None, "to [EMAIL], soon"]
    assert rows[-1][3] is None
    assert masker.rows == len(rows)
    assert masker.counts["EMAIL"] == 1
    assert masker.counts["COLUMN"] == len(TRICKY) + 1


@pytest.mark.parametrize("form", FORMS)
def test_nothing_found_passes_byte_by_byte(table: psycopg.Connection, form: str) -> None:
    sql = f"COPY (SELECT id, note FROM exported WHERE id < 90 ORDER BY id) TO STDOUT {form}"
    whole = b"".join(copied(table, sql))
    masker = CopyMasker(form_of(sql), frozenset(), SCANNER, Replacer())
    assert masker.feed(whole) + masker.close() == whole
    assert not masker.counts


@pytest.mark.parametrize("form", FORMS)
@given(cuts=st.lists(st.integers(0, 600), max_size=12))
def test_however_it_is_cut(table: psycopg.Connection, form: str, cuts: list[int]) -> None:
    sql = f"COPY (SELECT id, email, note, card FROM exported ORDER BY id) TO STDOUT {form}"
    whole = b"".join(copied(table, sql))

    def masked(parts: list[bytes]) -> bytes:
        masker = CopyMasker(form_of(sql), frozenset({1}), SCANNER, Replacer())
        return b"".join(masker.feed(part) for part in parts) + masker.close()

    places = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    assert masked([whole[start:end] for start, end in itertools.pairwise(places)]) == masked([whole])


def test_a_stream_that_ends_within_a_row_is_refused() -> None:
    for form, data in (
        (CopyFormat(), b"1\tann"),
        (CopyFormat("csv", ","), b'1,"ann\n'),
        (CopyFormat("binary"), b"PGCOPY"),
    ):
        masker = CopyMasker(form, frozenset(), SCANNER, Replacer())
        assert masker.feed(data) == b""
        with pytest.raises(MaskingError):
            masker.close()


def test_binary_that_is_none_is_refused() -> None:
    masker = CopyMasker(CopyFormat("binary"), frozenset(), SCANNER, Replacer())
    with pytest.raises(MaskingError):
        masker.feed(b"1\tann@example.com and a good deal more of it\n")


def test_an_endless_row_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.ingress.masking.rows.copying.ROW_LIMIT", 1_000)
    masker = CopyMasker(CopyFormat(), frozenset(), SCANNER, Replacer())
    assert masker.feed(b"x" * 1_000) == b""
    with pytest.raises(MaskingError):
        masker.feed(b"x")


def test_encodings_in_which_fields_cannot_be_told_apart_are_refused() -> None:
    with pytest.raises(MaskingError):
        CopyMasker(CopyFormat(encoding="sjis"), frozenset({0}), None, Replacer())
