"""The read-only ClickHouse HTTP interface, spoken to by unmodified clients: clickhouse-connect, curl, aiohttp."""

from __future__ import annotations

import asyncio
import base64
import gzip
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import clickhouse_connect
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError, ProgrammingError

from services.recorder.clickhouse import Store
from services.recorder.reader_request import Credentials
from services.recorder.reader_settings import ReaderLimits
from services.recorder.readonly_http import EmbeddedClickHouse
from services.recorder.store_address import EmbeddedAddress
from services.recorder.store_errors import StoreRejected, StoreUnavailable

pytestmark = pytest.mark.usefixtures("open_engine")

PASSWORD = "p:ss wörd"
TOKEN = "a.bearer.token"
SLOW = "SELECT max(sipHash64(number)) FROM numbers(1000000000000)"


async def authenticate(credentials: Credentials) -> str | None:
    if credentials.token == TOKEN:
        return "grafana"
    if (credentials.user, credentials.password) == ("auditor", PASSWORD):
        return "auditor"
    return None


@pytest.fixture
async def port(store: Store, engine_dir: Path) -> AsyncIterator[int]:
    await store.command("CREATE OR REPLACE TABLE reads (id UInt64, s String) ENGINE = MergeTree ORDER BY id")
    await store.insert("reads", [(1, "one"), (2, "two"), (3, "three")], ["id", "s"], "token")
    served = EmbeddedClickHouse(EmbeddedAddress(engine_dir), authenticate, ReaderLimits(execution_seconds=2))
    yield await served.start("127.0.0.1", 0)
    await served.stop()


@pytest.fixture
async def http(port: int) -> AsyncIterator[aiohttp.ClientSession]:
    """A client that shows the token, and raises nothing by itself."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}/", headers=headers) as session:
        yield session


async def curl(*arguments: str) -> str:
    process = await asyncio.create_subprocess_exec("curl", "-sS", *arguments, stdout=asyncio.subprocess.PIPE)
    return (await process.communicate())[0].decode()


def connect(port: int, **options: Any) -> Any:
    options = {"username": "auditor", "password": PASSWORD, **options}
    return clickhouse_connect.get_client(host="127.0.0.1", port=port, **options)


class TestClickHouseConnect:
    async def test_connects_and_queries(self, port: int) -> None:
        def session() -> None:
            client = connect(port)
            assert client.query("SELECT id, s FROM reads ORDER BY id").result_rows == [
                (1, "one"),
                (2, "two"),
                (3, "three"),
            ]
            assert client.query(
                "SELECT {a:String} AS a, {b:Array(UInt8)} AS b", {"a": "it's\n", "b": [1, 2]}
            ).first_row == ("it's\n", [1, 2])
            assert client.query("SELECT %(a)s AS a", {"a": "x'; DROP TABLE reads"}).first_row == (
                "x'; DROP TABLE reads",
            )
            assert client.command("SELECT count() FROM reads") == 3
            assert client.raw_query("SELECT 1 AS a", fmt="JSONEachRow") == b'{"a":1}\n'
            assert client.query("SELECT id, s FROM reads LIMIT 0").column_names == ("id", "s")
            assert client.query("SELECT id FROM reads WHERE 0").result_rows == []
            assert client.ping()
            client.close()

        await asyncio.to_thread(session)

    async def test_types_streams_and_summary(self, port: int) -> None:
        def session() -> None:
            client = connect(port)
            sql = """
                SELECT toDateTime('2026-01-02 03:04:05', 'UTC'), toUUID('01020304-0506-0708-090a-0b0c0d0e0f10'),
                       map('a', [1]), NULL, toLowCardinality('x'), 1.5::Decimal(9, 2)
            """
            row = client.query(sql).first_row
            assert (row[0].isoformat(), str(row[1]), row[2], row[3], row[4], str(row[5])) == (
                "2026-01-02T03:04:05", "01020304-0506-0708-090a-0b0c0d0e0f10", {"a": [1]}, None, "x", "1.50",
            )  # fmt: skip
            with client.query_rows_stream("SELECT number FROM numbers(200000)") as rows:
                assert sum(row[0] for row in rows) == 200_000 * 199_999 // 2
            result = client.query("SELECT * FROM reads")
            assert (result.summary["read_rows"], result.summary["result_rows"]) == ("3", "3")
            client.close()

        await asyncio.to_thread(session)

    async def test_token_database_and_sessions(self, port: int) -> None:
        def session() -> None:
            client = connect(
                port, username=None, password="", access_token=TOKEN, database="countersign", session_id="s1"
            )
            assert client.command("SELECT currentDatabase()") == "countersign"
            client.close()

        await asyncio.to_thread(session)

    async def test_large_parameters_go_as_a_form(self, port: int) -> None:
        def session() -> None:
            client = connect(port, form_encode_query_params=True)
            ids = list(range(20_000))
            assert client.query(
                "SELECT count() FROM reads WHERE id IN {ids:Array(UInt64)}", {"ids": ids}
            ).first_row == (3,)
            client.close()

        await asyncio.to_thread(session)

    async def test_results_are_compressed_when_asked_for(self, port: int) -> None:
        def session() -> None:
            client = connect(port, compress="gzip")
            assert client.query("SELECT toString(number % 7) FROM numbers(100000)").row_count == 100_000
            client.close()

        await asyncio.to_thread(session)

    @pytest.mark.parametrize(
        ("sql", "code"),
        [("SELECT nonsense", 47), ("SELECT * FROM nothing", 60), ("SELEC", 62), ("DROP TABLE reads", 497),
         ("SELECT file('/etc/passwd')", 497)],
    )  # fmt: skip
    async def test_errors_carry_clickhouse_s_code(self, port: int, sql: str, code: int) -> None:
        def session() -> None:
            client = connect(port)
            with pytest.raises(DatabaseError) as error:
                client.query(sql)
            assert error.value.code == code
            client.close()

        await asyncio.to_thread(session)

    async def test_writes_are_refused(self, port: int) -> None:
        def session() -> None:
            client = connect(port)
            for attempt in (
                lambda: client.insert("reads", [(9, "x")], column_names=["id", "s"]),
                lambda: client.raw_insert("reads", ["id", "s"], b"9\tx\n", fmt="TSV"),
                lambda: client.command("TRUNCATE TABLE reads"),
                lambda: client.query("SELECT 1", settings={"readonly": 0}),
            ):
                with pytest.raises((DatabaseError, ProgrammingError)):
                    attempt()
            assert client.command("SELECT count() FROM reads") == 3
            client.close()

        await asyncio.to_thread(session)

    async def test_wrong_password(self, port: int) -> None:
        def session() -> None:
            with pytest.raises((DatabaseError, OperationalError)) as error:
                connect(port, password="wrong")
            assert "516" in str(error.value)

        await asyncio.to_thread(session)


class TestCurl:
    async def test_query_string_with_user(self, port: int) -> None:
        assert await curl(f"http://127.0.0.1:{port}/?query=SELECT+1", "--user", f"auditor:{PASSWORD}") == "1\n"

    async def test_query_string_with_bearer(self, port: int) -> None:
        assert await curl(f"http://127.0.0.1:{port}/?query=SELECT+1", "-H", f"Authorization: Bearer {TOKEN}") == "1\n"

    async def test_clickhouse_headers_and_body(self, port: int) -> None:
        who = ("-H", "X-ClickHouse-User: auditor", "-H", f"X-ClickHouse-Key: {PASSWORD}")
        assert (
            await curl(f"http://127.0.0.1:{port}", *who, "--data-binary", "SELECT 2 FORMAT JSONEachRow") == '{"2":2}\n'
        )

    async def test_compressed(self, port: int) -> None:
        url = f"http://127.0.0.1:{port}/?query=SELECT+number+FROM+numbers(10000)&enable_http_compression=1"
        text = await curl(url, "--compressed", "-H", f"Authorization: Bearer {TOKEN}")
        assert text.splitlines()[-1] == "9999"

    async def test_without_credentials(self, port: int) -> None:
        text = await curl("-i", f"http://127.0.0.1:{port}/?query=SELECT+1")
        assert text.startswith("HTTP/1.1 401")
        assert "Code: 194. DB::Exception: " in text

    async def test_ping_needs_none(self, port: int) -> None:
        assert await curl(f"http://127.0.0.1:{port}/ping") == "Ok.\n"


class TestHttp:
    async def test_headers(self, http: aiohttp.ClientSession) -> None:
        async with http.get(
            "/", params={"query": "SELECT 1 AS a", "query_id": "mine", "default_format": "JSON"}
        ) as reply:
            assert reply.status == 200
            assert reply.headers["X-ClickHouse-Query-Id"] == "mine"
            assert reply.headers["X-ClickHouse-Format"] == "JSON"
            assert reply.headers["X-ClickHouse-Timezone"]
            assert reply.headers["Content-Type"] == "application/json; charset=UTF-8"
            assert json.loads(reply.headers["X-ClickHouse-Summary"])["result_rows"] == "1"
            assert (await reply.json())["data"] == [{"a": 1}]

    async def test_query_split_over_string_and_body(self, http: aiohttp.ClientSession) -> None:
        async with http.post("/", params={"query": "SELECT {a:UInt8} +", "param_a": "4"}, data=b"1") as reply:
            assert await reply.text() == "5\n"

    async def test_compressed_body(self, http: aiohttp.ClientSession) -> None:
        async with http.post("/", data=gzip.compress(b"SELECT 1"), headers={"Content-Encoding": "gzip"}) as reply:
            assert await reply.text() == "1\n"

    @pytest.mark.parametrize(
        ("params", "status", "code"),
        [
            ({"query": "SELECT nonsense"}, 404, 47),
            ({"query": "SELECT"}, 400, 62),
            ({"query": "SELECT 1", "database": "system"}, 404, 81),
            ({"query": "SELECT 1", "readonly": "0"}, 403, 164),
            ({"query": "SELECT 1", "max_threads": "many"}, 403, 164),
            ({"query": "SELECT 1", "default_format": "Protobuf"}, 404, 73),
            ({"query": "SELECT 1", "compress": "1"}, 501, 48),
            ({"query": "DROP TABLE reads"}, 403, 497),
            ({"query": "INSERT INTO reads VALUES (1, 'x')"}, 403, 497),
            ({"query": SLOW, "max_execution_time": "0.2"}, 408, 159),
            ({"query": "SELECT * FROM numbers(100)", "max_result_rows": "10"}, 500, 396),
            ({"query": "SELECT {a:UInt8}"}, 400, 456),
            ({"query": "SELECT {a:UInt8}", "param_a": "x"}, 400, 457),
        ],
    )
    async def test_errors(self, http: aiohttp.ClientSession, params: dict[str, str], status: int, code: int) -> None:
        async with http.get("/", params=params) as reply:
            text = await reply.text()
            assert (reply.status, reply.headers["X-ClickHouse-Exception-Code"]) == (status, str(code))
            assert text.startswith(f"Code: {code}. DB::Exception: ")
            assert text.endswith(")\n")
            assert "parseQueryToJSON" not in text

    async def test_over_the_size(self, http: aiohttp.ClientSession) -> None:
        for size in (300_000, 2_000_000):
            async with http.post("/", data=io.BytesIO(b"SELECT 1 --" + b"x" * size)) as reply:
                assert (reply.status, reply.headers["X-ClickHouse-Exception-Code"]) == (413, "229")

    async def test_bytes_that_are_no_text(self, http: aiohttp.ClientSession) -> None:
        async with http.post("/", data=b"SELECT '\xff'") as reply:
            assert reply.status == 403
        async with http.get("/?query=SELECT+%27%ff%27") as reply:
            assert reply.status in (200, 400, 403)

    async def test_other_paths_and_methods(self, http: aiohttp.ClientSession) -> None:
        for method, path, status in (
            ("GET", "/play", 404),
            ("PUT", "/", 405),
            ("OPTIONS", "/", 405),
            ("GET", "/", 200),
        ):
            async with http.request(method, path) as reply:
                assert reply.status == status

    async def test_grafana_s_first_questions(self, http: aiohttp.ClientSession) -> None:
        params = {
            "default_format": "Native", "client_protocol_version": "54460", "database": "default",
            "enable_http_compression": "1", "max_execution_time": "60", "query_id": "g-1",
        }  # fmt: skip
        hello = b"SELECT displayName(), version(), revision(), timezone()"
        async with http.post("/", params=params, data=hello, headers={"Accept-Encoding": "gzip"}) as reply:
            body = await reply.read()
        block_info, columns_and_rows = body[:8], body[8:10]
        assert (block_info, columns_and_rows) == (b"\x01\x00\x02\xff\xff\xff\xff\x00", b"\x04\x01")
        assert body[10:].startswith(b"\x0ddisplayName()\x06String\x00")


class TestCredentials:
    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": "Bearer "},
            {"Authorization": "Basic !!!"},
            {"Authorization": "Basic " + base64.b64encode(b"auditor").decode()},
            {"Authorization": "Basic " + base64.b64encode(b"auditor:").decode()},
            {"Authorization": "Basic " + base64.b64encode(b"auditor:wrong").decode()},
            {"Authorization": f"Digest {TOKEN}"},
            {"X-ClickHouse-User": "auditor"},
            {"X-ClickHouse-User": "auditor", "X-ClickHouse-Key": "wrong"},
            {"Authorization": f"Bearer {TOKEN}", "X-ClickHouse-User": "auditor"},
        ],
    )
    @pytest.mark.parametrize("path", ["/", "/?query=SELECT+1"])
    async def test_not_good(self, port: int, headers: dict[str, str], path: str) -> None:
        async with (
            aiohttp.ClientSession() as client,
            client.post(f"http://127.0.0.1:{port}{path}", headers=headers) as reply,
        ):
            assert reply.status == 401
            assert reply.headers["WWW-Authenticate"]
            assert reply.headers["X-ClickHouse-Exception-Code"] in ("194", "516")
            assert TOKEN not in await reply.text()

    def test_no_secret_in_text(self) -> None:
        credentials = Credentials("auditor", "s3cret", "t0ken")
        assert "s3cret" not in repr(credentials)
        assert "t0ken" not in repr(credentials)


class TestStoreOverHttp:
    """The store's way to a server, against the nearest thing to one: the same DSN, the same calls."""

    async def test_reads_and_kinds_of_errors(self, port: int) -> None:
        remote = Store(f"clickhouse://auditor:{quote(PASSWORD)}@127.0.0.1:{port}/countersign", timeout=30)
        assert await remote.query("SELECT s FROM reads WHERE id = {id:UInt64}", {"id": 2}) == [{"s": "two"}]
        assert await remote.raw_query("SELECT 1 AS a", "JSONEachRow") == b'{"a":1}\n'
        with pytest.raises(StoreRejected) as rejected:
            await remote.query("SELECT nonsense")
        assert rejected.value.code == 47
        with pytest.raises(StoreUnavailable, match="readonly"):  # the account is wrong, not the row
            await remote.insert("reads", [(9, "x")], ["id", "s"], "token-9")
        assert await remote.query("SELECT count() AS n FROM reads") == [{"n": 3}]
        await remote.close()

    async def test_a_server_that_comes_back_is_found_again(self, store: Store, engine_dir: Path) -> None:
        served = EmbeddedClickHouse(EmbeddedAddress(engine_dir), authenticate)
        port = await served.start("127.0.0.1", 0)
        remote = Store(f"clickhouse://auditor:{quote(PASSWORD)}@127.0.0.1:{port}/countersign", timeout=30)
        assert await remote.query("SELECT 1 AS a") == [{"a": 1}]
        await served.stop()
        with pytest.raises(StoreUnavailable):
            await remote.query("SELECT 1 AS a")
        served = EmbeddedClickHouse(EmbeddedAddress(engine_dir), authenticate)
        await served.start("127.0.0.1", port)
        assert await remote.query("SELECT 1 AS a") == [{"a": 1}]
        await remote.close()
        await served.stop()


class TestTogether:
    @pytest.mark.usefixtures("port")
    async def test_inserts_do_not_wait_for_slow_readers(self, store: Store, engine_dir: Path) -> None:
        """Every slow query runs into its limit; the insert is there before they end, however slow the machine is."""
        for seconds in (2, 8, 32):
            if await self.overtakes(store, engine_dir, seconds):
                return
        raise AssertionError("it waited for them each time")

    async def overtakes(self, store: Store, engine_dir: Path, seconds: int) -> bool:
        """Whether a row is stored and read while three queries run for so long."""
        async with self.serving(engine_dir, ReaderLimits(execution_seconds=seconds)) as http:
            slow = [asyncio.ensure_future(self.ask(http, SLOW)) for _ in range(3)]
            before = int(await self.text(http, "SELECT count() FROM reads"))
            await store.insert("reads", [(4, "four")], ["id", "s"], f"token-{seconds}")
            assert int(await self.text(http, "SELECT count() FROM reads")) == before + 1
            first = not any(task.done() for task in slow)
            assert [status for status, _ in await asyncio.gather(*slow)] == [408] * 3
            return first

    async def test_too_many_at_once(self, store: Store, engine_dir: Path) -> None:
        """Two more than it admits, while the first one still runs."""
        expected, found = [408, 408, 503, 503], await self.statuses(engine_dir, 1)
        assert found == expected or await self.statuses(engine_dir, 8) == expected

    async def statuses(self, engine_dir: Path, seconds: int) -> list[int]:
        """The statuses of four slow queries at once where one may run, and one wait."""
        limits = ReaderLimits(execution_seconds=seconds, concurrent=1, waiting=1)
        async with self.serving(engine_dir, limits) as http:
            statuses = [status for status, _ in await asyncio.gather(*(self.ask(http, SLOW) for _ in range(4)))]
            assert (await self.ask(http, "SELECT 1")) == (200, "1\n")
        return sorted(statuses)

    @asynccontextmanager
    async def serving(self, engine_dir: Path, limits: ReaderLimits) -> AsyncIterator[aiohttp.ClientSession]:
        """An endpoint with other limits than the fixture's, and a client of it."""
        served = EmbeddedClickHouse(EmbeddedAddress(engine_dir), authenticate, limits)
        base = f"http://127.0.0.1:{await served.start('127.0.0.1', 0)}"
        async with aiohttp.ClientSession(base, headers={"Authorization": f"Bearer {TOKEN}"}) as http:
            yield http
        await served.stop()
        await served.stop()  # again does nothing

    async def ask(self, http: aiohttp.ClientSession, sql: str) -> tuple[int, str]:
        async with http.post("/", data=sql) as reply:
            return reply.status, await reply.text()

    async def text(self, http: aiohttp.ClientSession, sql: str) -> str:
        status, text = await self.ask(http, sql)
        assert status == 200, text
        return text
