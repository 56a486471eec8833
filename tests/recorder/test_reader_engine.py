"""The guard and the engine together, on a real chDB: what is refused, and that ordinary SQL is not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import chdb
import pytest

from services.recorder.reader_allowlist import FOREIGN_TABLES, TABLE_FUNCTIONS
from services.recorder.reader_engine import QueryFailed, ReaderAnswer, ReaderEngine, ReaderQuery
from services.recorder.reader_settings import ReaderLimits, vet
from services.recorder.sql_guard import ACCESS_DENIED, Refused
from services.recorder.store_address import EmbeddedAddress

from .reader_corpus import ALLOWED, REFUSED

pytestmark = pytest.mark.usefixtures("open_engine")

SETUP = """
CREATE OR REPLACE TABLE countersign.reads (id UInt64, s String) ENGINE = MergeTree ORDER BY id;
INSERT INTO countersign.reads VALUES (1, 'one'), (2, 'two'), (3, 'three');
CREATE DATABASE IF NOT EXISTS other;
CREATE OR REPLACE TABLE other.secrets (id UInt8) ENGINE = MergeTree ORDER BY id;
"""
SECRET = "correct-horse-battery-staple"


@pytest.fixture(scope="module")
def engine(engine_dir: Path) -> Iterator[ReaderEngine]:
    engine = ReaderEngine(EmbeddedAddress(engine_dir), ReaderLimits(execution_seconds=5))
    engine_dir.mkdir(parents=True, exist_ok=True)
    engine.open()
    connection = chdb.connect(str(engine_dir.resolve()))
    for statement in filter(str.strip, SETUP.split(";\n")):
        connection.query(statement)
    connection.close()
    yield engine
    engine.close()


def counted(engine: ReaderEngine) -> bytes:
    return engine.run(ReaderQuery("SELECT count(), sum(id) FROM reads")).body


def test_the_corpus_is_large() -> None:
    assert len(REFUSED) >= 60
    assert len(set(REFUSED)) == len(REFUSED)


@pytest.mark.parametrize("template", REFUSED)
def test_refused(engine: ReaderEngine, tmp_path: Path, template: str) -> None:
    secret, out = tmp_path / "secret", tmp_path / "out"
    secret.write_text(SECRET)
    sql = template.replace("{secret}", str(secret)).replace("{out}", str(out))
    with pytest.raises((Refused, QueryFailed)) as refusal:
        engine.run(ReaderQuery(sql, parameters={"t": "processes"}))
    assert SECRET not in str(refusal.value)
    assert not out.exists()
    assert counted(engine) == b"3\t6\n"


@pytest.mark.parametrize(("sql", "expected"), ALLOWED.items())
def test_allowed(engine: ReaderEngine, sql: str, expected: str | None) -> None:
    answer = engine.run(ReaderQuery(sql))
    if expected is not None:
        assert answer.body.decode() == expected


class TestTheEngineInUse:
    """Whatever this very chDB offers beyond the lists stays closed, also after an upgrade."""

    def names(self, engine: ReaderEngine, table: str) -> list[str]:
        return engine.run(ReaderQuery(f"SELECT name FROM system.{table} FORMAT TSVRaw")).body.decode().split()

    def test_every_other_table_function_is_closed(self, engine: ReaderEngine) -> None:
        closed = set(self.names(engine, "table_functions")) - TABLE_FUNCTIONS
        assert {"file", "url", "remote", "s3", "executable", "python"} <= {name.lower() for name in closed}
        for name in closed:
            with pytest.raises((Refused, QueryFailed)) as refusal:
                engine.run(ReaderQuery(f"SELECT * FROM {name}('x')"))
            assert refusal.value.code in (ACCESS_DENIED, 62), name

    def test_every_other_function_is_closed(self, engine: ReaderEngine) -> None:
        rules = engine._rules.functions
        closed = [name for name in self.names(engine, "functions") if not rules.allows(name)]
        assert {"file", "dictGet", "joinGet", "aiGenerate", "hostName", "FQDN", "showCertificate"} <= set(closed)
        for name in closed:
            with pytest.raises((Refused, QueryFailed)) as refusal:
                engine.run(ReaderQuery(f"SELECT `{name}`('x')"))
            assert refusal.value.code == ACCESS_DENIED, name

    def test_system_tables_of_drivers_only(self, engine: ReaderEngine) -> None:
        for name in engine.run(ReaderQuery("SHOW TABLES FROM system FORMAT TSVRaw")).body.decode().split():
            if name not in FOREIGN_TABLES["system"]:
                with pytest.raises(Refused):
                    engine.run(ReaderQuery(f"SELECT * FROM system.{name} LIMIT 1"))


class TestParameters:
    def run(self, engine: ReaderEngine, sql: str, **parameters: str) -> bytes:
        return engine.run(ReaderQuery(sql, parameters=parameters)).body

    def test_values_are_escaped_as_in_http(self, engine: ReaderEngine) -> None:
        assert (
            self.run(engine, "SELECT {a:String}, {b:Array(UInt8)}", a="x\\ty'; DROP", b="[1,2]")
            == b"x\\ty\\'; DROP\t[1,2]\n"
        )

    def test_missing(self, engine: ReaderEngine) -> None:
        with pytest.raises(QueryFailed) as failure:
            self.run(engine, "SELECT {a:String}")
        assert failure.value.code == 456

    def test_in_describe_and_in(self, engine: ReaderEngine) -> None:
        assert self.run(engine, "SELECT count() FROM reads WHERE id IN {ids:Array(UInt64)}", ids="[1,3]") == b"2\n"


class TestLimits:
    def run(self, engine_dir: Path, sql: str, limits: ReaderLimits, **query: object) -> ReaderAnswer:
        engine = ReaderEngine(EmbeddedAddress(engine_dir), limits)
        engine.open()
        try:
            return engine.run(ReaderQuery(sql, **query))  # type: ignore[arg-type]
        finally:
            engine.close()

    @pytest.mark.parametrize(
        ("sql", "limits", "code"),
        [
            ("SELECT " + "1," * 600 + "1", ReaderLimits(query_bytes=1000), 229),
            ("SELECT * FROM numbers(20000)", ReaderLimits(result_rows=10_000), 396),
            ("SELECT repeat('x', 100000) FROM numbers(50)", ReaderLimits(result_bytes=1_000_000), 396),
            ("SELECT groupArray(number) FROM numbers(100000000)", ReaderLimits(memory_bytes=50_000_000), 241),
            ("SELECT max(sipHash64(number)) FROM numbers(1000000000000)", ReaderLimits(execution_seconds=1), 159),
        ],
    )  # fmt: skip
    def test_each_limit_is_named_by_clickhouse_s_code(
        self, engine_dir: Path, engine: ReaderEngine, sql: str, limits: ReaderLimits, code: int
    ) -> None:
        with pytest.raises(QueryFailed) as failure:
            self.run(engine_dir, sql, limits)
        assert failure.value.code == code

    @pytest.mark.parametrize("sql", ["(" * 5000 + "1" + ")" * 5000, "- " * 900 + "1", "[" * 400 + "]" * 400])
    def test_deep_nesting_is_no_crash(self, engine: ReaderEngine, sql: str) -> None:
        with suppress(QueryFailed, Refused):
            engine.run(ReaderQuery(f"SELECT {sql}"))
        assert counted(engine) == b"3\t6\n"


class TestSettings:
    limits = ReaderLimits()

    @pytest.mark.parametrize(
        ("asked", "given"),
        [("5", "5.000"), ("0.5", "0.500"), ("0", "30"), ("600", "30"), ("-1", "30"), ("inf", "30"), ("nan", "30")],
    )
    def test_time_is_capped(self, asked: str, given: str) -> None:
        assert vet({"max_execution_time": asked}, self.limits) == {"max_execution_time": given}

    def test_presentation_passes_and_habits_are_dropped(self) -> None:
        asked = {"output_format_json_quote_64bit_integers": "1", "log_comment": "x", "readonly": "2", "allow_ddl": "0"}
        assert vet(asked, self.limits) == {"output_format_json_quote_64bit_integers": "1"}

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("readonly", "0"), ("allow_ddl", "1"), ("format_schema", "x"), ("output_format_schema", "/tmp/x"),
            ("allow_introspection_functions", "1"), ("dialect", "kusto"), ("max_query_size", "1"),
            ("x = 1, readonly", "0"),
            ("max_execution_time", "1; SET readonly = 0"), ("log_queries_cut_to_length", "1"),
        ],
    )  # fmt: skip
    def test_everything_else_is_refused(self, name: str, value: str) -> None:
        with pytest.raises(Refused) as refusal:
            vet({name: value}, self.limits)
        assert refusal.value.code == 164

    def test_a_value_cannot_break_out(self, engine: ReaderEngine) -> None:
        hostile = {"date_time_output_format": "iso', readonly = '0"}
        with pytest.raises(QueryFailed):
            engine.run(ReaderQuery("SELECT 1", settings=hostile))
        assert engine.run(ReaderQuery("SELECT getSetting('readonly')")).body == b"1\n"


class TestNativeRevision:
    SQL = (
        "SELECT number AS n, toString(n) AS s, [n] AS a, map('k', n) AS m, (n, 'x') AS t, "
        "if(n = 1, NULL, n) AS z, toLowCardinality('lc') AS l, now64(3) AS d FROM numbers({rows}) FORMAT Native"
    )

    @pytest.mark.parametrize("rows", [1, 3, 70_000])
    def test_only_what_the_revision_asks_for_is_added(self, engine: ReaderEngine, rows: int) -> None:
        sql = self.SQL.replace("{rows}", str(rows)).replace("now64(3)", "toDateTime64('2026-01-02', 3)")
        plain = engine.run(ReaderQuery(sql)).body
        with_info = engine.run(ReaderQuery(sql, protocol_revision=54405)).body
        with_kind = engine.run(ReaderQuery(sql, protocol_revision=54460)).body
        blocks = (len(with_info) - len(plain)) // 8
        assert blocks == (rows + 65_408) // 65_409
        assert len(with_kind) - len(with_info) == blocks * 8  # one byte for each of eight columns
        first = b"\x01\x00\x02\xff\xff\xff\xff\x00"
        assert with_info.startswith(first + plain[:40])
        name_and_type = plain.index(b"\x01n\x06UInt64")
        assert with_kind.startswith(first + plain[:name_and_type] + b"\x01n\x06UInt64\x00")

    # Every family of types, nested into each other, with empty arrays and NULLs in the middle.
    COLUMNS = (
        "toUInt8(n)",
        "toInt256(n)",
        "toFloat32(n)",
        "n = 1",
        "toDate32('2026-01-02')",
        "toDateTime64('2026-01-02', 6, 'UTC')",
        "toUUID('01020304-0506-0708-090a-0b0c0d0e0f10')",
        "toIPv4('1.2.3.4')",
        "toIPv6('::1')",
        "toFixedString('abc', 7)",
        "toDecimal32(n, 1)",
        "toDecimal64(n, 1)",
        "toDecimal128(n, 1)",
        "toDecimal256(n, 1)",
        "INTERVAL 1 DAY",
        "CAST('a b', 'Enum8(\\'a b\\' = 1, \\'),(\\' = 2)')",
        "repeat('x', n * 50)",
        "if(n = 1, NULL, toString(n))",
        "range(n)",
        "arrayMap(x -> range(x), range(n))",
        "[]",
        "map('k', [n], 'l', [])",
        "(n, 'x', [n])",
        "CAST((n, 'x'), 'Tuple(`a b` UInt8, c LowCardinality(String))')",
        "toLowCardinality(toString(n % 2))",
        "CAST(if(n = 1, NULL, 'x'), 'LowCardinality(Nullable(String))')",
        "arrayMap(x -> toLowCardinality(toString(x)), range(n))",
        "CAST([(n, 'x')], 'Nested(a UInt8, b String)')",
        "CAST((1, 2), 'Point')",
        "CAST([[(1, 2)]], 'Polygon')",
        "NULL",
        "tuple()",
        "if(n = 2, NULL, toDateTime('2026-01-02', 'UTC'))",
        "CAST(map('a', 'b'), 'Map(LowCardinality(String), Nullable(String))')",
    )

    @pytest.mark.parametrize("column", COLUMNS)
    @pytest.mark.parametrize("rows", [1, 5])
    def test_every_type_is_walked_to_its_end(self, engine: ReaderEngine, column: str, rows: int) -> None:
        sql = f"WITH number AS n SELECT {column} AS c, 'end' AS e FROM numbers({rows}) FORMAT Native"
        plain = engine.run(ReaderQuery(sql)).body
        rewritten = engine.run(ReaderQuery(sql, protocol_revision=54460)).body
        last = b"\x01e\x06String"
        assert rewritten.endswith(last + b"\x00" + b"\x03end" * rows)
        assert len(rewritten) == len(plain) + 8 + 2

    def test_a_state_is_refused_with_a_way_out(self, engine: ReaderEngine) -> None:
        query = ReaderQuery("SELECT sumState(id) FROM reads FORMAT Native", protocol_revision=54460)
        with pytest.raises(QueryFailed, match="cast it to String") as failure:
            engine.run(query)
        assert failure.value.code == 48

    def test_nothing_stays_nothing(self, engine: ReaderEngine) -> None:
        answer = engine.run(ReaderQuery("SELECT 1 WHERE 0 FORMAT Native", protocol_revision=54460))
        assert answer.body == b""
