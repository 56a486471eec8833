"""Reaching real databases: every way to log in, every `sslmode`, and what is wrong said without a secret."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trustme

from services.ingress.errors import UpstreamError
from services.ingress.protocols.postgres.codec import backend, frontend
from services.ingress.protocols.postgres.codec.framing import Frame
from services.ingress.upstream.postgres.connection import PostgresConnection
from services.ingress.upstream.postgres.database import PostgresUpstream
from services.runtime.settings import SettingsError
from services.runtime.settings.connectors import PostgresConnector
from tests.conftest import until
from tests.postgres.server import Server
from tests.postgres.tls import ended, relaying

#: Ends a failing test.
PATIENCE = "30s"


def upstream(server: Server, role: str = "svc_scram", password: str | None = "", **place: Any) -> PostgresUpstream:
    """A connector that leads there; with the role's own password unless one, or None, is given."""
    given = {"host": server.host, "port": server.port, "database": "postgres", "sslmode": "disable"} | place
    credential = {"user": role}
    if password is not None:
        credential["password"] = password or server.password(role)
    document = {"protocol": "postgres", "upstream": given, "credential": credential, "timeouts": {"connect": PATIENCE}}
    return PostgresUpstream("orders", PostgresConnector.model_validate(document))


@asynccontextmanager
async def connected(target: PostgresUpstream, **parameters: str) -> AsyncIterator[PostgresConnection]:
    connection = await target.connect(parameters)
    try:
        yield connection
    finally:
        await connection.close()


async def ask(connection: PostgresConnection, sql: str) -> list[backend.Message]:
    """What the server says to a query, without rows; up to ReadyForQuery."""
    connection.channel.write(frontend.Query(sql.encode()).encode())
    said: list[backend.Message] = []
    while not (said and isinstance(said[-1], backend.ReadyForQuery)):
        data = await connection.channel.read()
        assert data, "the server has gone"
        connection.decoder.feed(data)
        said += [backend.read(item) for item in connection.decoder.frames() if isinstance(item, Frame)]
    return said


async def value(connection: PostgresConnection, sql: str) -> str:
    """The one value of a query, taken from a notice so that no row has to be read."""
    notice = next(
        each for each in await ask(connection, f"DO $$BEGIN RAISE NOTICE '%', ({sql}); END$$")
        if isinstance(each, backend.Report)
    )  # fmt: skip
    return notice["M"].decode()


async def refused(target: PostgresUpstream) -> UpstreamError:
    """How it fails, which must not hold the password."""
    with pytest.raises(UpstreamError) as raised:
        await target.connect()
    assert "secret-of-the-database" not in f"{raised.value!r} {raised.value.__context__!r} {raised.value.__cause__!r}"
    return raised.value


@pytest.mark.parametrize("role", ["svc_scram", "svc_md5", "svc_clear"])
async def test_every_way_to_log_in(postgres: Server, role: str) -> None:
    async with connected(upstream(postgres, role), application_name="countersign") as connection:
        assert await value(connection, "current_user") == role
        assert (connection.status, connection.parameters["application_name"]) == (b"I", "countersign")
    assert (await refused(upstream(postgres, role, "wrong"))).code == "upstream_login"


async def test_no_password_where_none_is_asked_for(postgres: Server) -> None:
    async with connected(upstream(postgres, "svc_trust", None)) as connection:
        assert await value(connection, "current_user") == "svc_trust"
    assert "has none" in (await refused(upstream(postgres, "svc_scram", None))).detail


async def test_a_unix_socket_needs_no_tls(postgres: Server) -> None:
    target = upstream(postgres, host=str(postgres.home), sslmode="verify-full")
    async with connected(target) as connection:
        assert await value(connection, "coalesce(inet_server_addr()::text, 'unix')") == "unix"


async def test_require_auth_names_what_is_accepted(postgres: Server) -> None:
    failed = await refused(upstream(postgres, "svc_md5", require_auth=["scram-sha-256"]))
    assert failed.detail.startswith("the server asks for the login `md5`")
    async with connected(upstream(postgres, "svc_md5", require_auth=["scram-sha-256", "md5"])):
        pass


async def test_what_the_database_says_no_to(postgres: Server) -> None:
    assert (await refused(upstream(postgres, database="nowhere"))).code == "upstream_login"
    postgres.execute("CREATE ROLE svc_few LOGIN CONNECTION LIMIT 0 PASSWORD 'svc_few-secret-of-the-database'")
    assert (await refused(upstream(postgres, "svc_few"))).code == "upstream_busy"
    postgres.execute("DROP ROLE svc_few")


async def test_a_cancel_request_interrupts(postgres: Server) -> None:
    async with connected(upstream(postgres)) as connection:
        working = asyncio.ensure_future(ask(connection, "SELECT pg_sleep(60)"))
        await until(lambda: postgres.execute("SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(60)%'"))
        await connection.cancel()
        said = await working
        assert [each["C"] for each in said if isinstance(each, backend.Report)] == [b"57014"]


async def test_our_password_does_not_come_back(postgres: Server) -> None:
    secret = postgres.password("svc_scram")
    async with connected(upstream(postgres)) as connection:
        connection.channel.write(frontend.Query(f"SELECT '{secret}'::int".encode()).encode())
        data = await connection.channel.read()
        assert secret.encode() in data
        clean = connection.clean(data)
        assert secret.encode() not in clean
        assert len(clean) == len(data)
        assert b"*" * len(secret) in clean


# ---- TLS, by a relay that speaks it -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def root(ca: trustme.CA, tmp_path: Path) -> str:
    """Our CA's certificate in a file."""
    ca.cert_pem.write_to_path(tmp_path / "root.pem")
    return str(tmp_path / "root.pem")


@pytest.mark.parametrize(
    ("sslmode", "encrypted"),
    [
        ("disable", [False]),
        ("allow", [False]),
        ("prefer", [True]),
        ("require", [True]),
        ("verify-ca", [True]),
        ("verify-full", [True]),
    ],
)
async def test_sslmode_with_a_server_that_can(
    postgres: Server, ca: trustme.CA, root: str, sslmode: str, encrypted: list[bool]
) -> None:
    async with relaying((postgres.host, postgres.port), ca) as relay:
        place = {"sslrootcert": root} if sslmode.startswith("verify") else {}
        async with connected(upstream(postgres, port=relay.port, sslmode=sslmode, **place)) as connection:
            assert await value(connection, "1") == "1"
            assert connection.channel.encrypted is encrypted[0]
        assert relay.encrypted == encrypted
        assert relay.protocols == ["postgresql"] * encrypted.count(True)


@pytest.mark.parametrize("sslmode", ["require", "verify-ca", "verify-full"])
async def test_sslmode_with_a_server_that_cannot(postgres: Server, sslmode: str) -> None:
    assert (await refused(upstream(postgres, sslmode=sslmode))).detail == "the server offers no TLS"


@pytest.mark.parametrize("sslmode", ["allow", "prefer"])
async def test_sslmode_that_does_without(postgres: Server, sslmode: str) -> None:
    async with connected(upstream(postgres, sslmode=sslmode)) as connection:
        assert not connection.channel.encrypted


@pytest.mark.parametrize(
    ("sslmode", "reject", "tries"), [("allow", "clear", [False, True]), ("prefer", "tls", [True, False])]
)
async def test_the_other_way_is_tried_where_libpq_does(
    postgres: Server, ca: trustme.CA, sslmode: str, reject: str, tries: list[bool]
) -> None:
    async with relaying((postgres.host, postgres.port), ca, reject=reject) as relay:
        async with connected(upstream(postgres, port=relay.port, sslmode=sslmode)) as connection:
            assert await value(connection, "1") == "1"
        assert relay.encrypted == tries


@pytest.mark.parametrize(
    ("sslmode", "name", "known", "passes"),
    [
        ("verify-full", "127.0.0.1", True, True),
        ("verify-full", "other.test", True, False),
        ("verify-full", "127.0.0.1", False, False),
        ("verify-ca", "other.test", True, True),
        ("verify-ca", "127.0.0.1", False, False),
        ("require", "other.test", True, True),
        # A CA that is named is meant to be used (libpq does it for the sake of old versions).
        ("require", "127.0.0.1", False, False),
    ],
)
async def test_certificates_are_checked(
    postgres: Server, ca: trustme.CA, root: str, sslmode: str, name: str, known: bool, passes: bool
) -> None:
    async with relaying((postgres.host, postgres.port), ca if known else trustme.CA(), name) as relay:
        target = upstream(postgres, port=relay.port, sslmode=sslmode, sslrootcert=root)
        if passes:
            async with connected(target):
                pass
        else:
            assert (await refused(target)).detail == "the database's TLS certificate could not be verified"
            assert relay.encrypted == []  # no startup packet, no password


@pytest.mark.parametrize("answer", [b"SS", b"Sx", b"E\0\0\0\x10SFATAL\0\0", b"H"])
async def test_nothing_before_tls_is_believed(postgres: Server, ca: trustme.CA, answer: bytes) -> None:
    """CVE-2021-23222, CVE-2024-10977."""
    async with relaying((postgres.host, postgres.port), None, answer=answer) as relay:
        assert (await refused(upstream(postgres, port=relay.port, sslmode="require"))).code == "upstream_tls"


# ---- TLS, PostgreSQL's own -------------------------------------------------------------------------------------------


async def test_scram_is_bound_to_the_channel(tls_postgres: Server) -> None:
    place = {"sslmode": "verify-full", "sslrootcert": str(tls_postgres.paths.ca), "channel_binding": "require"}
    async with connected(upstream(tls_postgres, "svc_tls", **place)) as connection:
        assert await value(connection, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == "t"


async def test_binding_may_be_left_out(tls_postgres: Server) -> None:
    place = {"sslmode": "verify-full", "sslrootcert": str(tls_postgres.paths.ca), "channel_binding": "disable"}
    async with connected(upstream(tls_postgres, "svc_tls", **place)):
        pass
    failed = await refused(upstream(tls_postgres, "svc_plain", channel_binding="require"))
    assert "SCRAM" in failed.detail


async def test_a_client_certificate_logs_in(tls_postgres: Server) -> None:
    paths = tls_postgres.paths
    place = {"sslmode": "verify-full", "sslrootcert": str(paths.ca), "sslcert": str(paths.client)}
    target = upstream(tls_postgres, "svc_cert", None, **place, sslkey=str(paths.client_key))
    async with connected(target) as connection:
        assert await value(connection, "current_user") == "svc_cert"


@pytest.mark.parametrize(("role", "sslmode", "encrypted"), [("svc_tls", "allow", True), ("svc_plain", "prefer", False)])
async def test_the_other_way_is_tried_when_pg_hba_says_no(
    tls_postgres: Server, role: str, sslmode: str, encrypted: bool
) -> None:
    async with connected(upstream(tls_postgres, role, sslmode=sslmode)) as connection:
        assert connection.channel.encrypted is encrypted


# ---- dead, slow and lying ------------------------------------------------------------------------------------------


@asynccontextmanager
async def answering(answer: bytes, *, close: bool) -> AsyncIterator[int]:
    """A server that says one thing to everybody; its port."""
    gone = asyncio.Event()
    connections: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(asyncio.current_task())
        await reader.read(1024)
        writer.write(answer)
        if not close:
            await gone.wait()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        gone.set()
        server.close()
        await ended(connections)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"", "upstream_reset"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "upstream_garbage"),
        (b"R\0\0\0\x03", "upstream_garbage"),
        (b"R\xff\xff\xff\xff", "upstream_garbage"),
        (backend.Authentication(backend.OK).encode() + b"D\0\0\0\x06\0\0", "upstream_garbage"),
        (backend.report(backend.ERROR, S="FATAL", C="57P03", M="starting up"), "upstream_starting"),
    ],
)
async def test_a_lying_server(postgres: Server, answer: bytes, code: str) -> None:
    async with answering(answer, close=True) as port:
        assert (await refused(upstream(postgres, port=port, require_auth=["none"]))).code == code


async def test_a_server_that_says_nothing(postgres: Server) -> None:
    async with answering(b"", close=False) as port:
        target = upstream(postgres, port=port)
        hasty = target.settings.timeouts.model_copy(update={"connect": 0.05})
        target.settings = target.settings.model_copy(update={"timeouts": hasty})
        assert (await refused(target)).code == "upstream_timeout"


async def test_nobody_there(postgres: Server, tmp_path: Path) -> None:
    assert (await refused(upstream(postgres, host=str(tmp_path)))).code == "upstream_refused"
    async with answering(b"", close=True) as port:
        pass
    assert (await refused(upstream(postgres, port=port))).code == "upstream_refused"


def test_files_that_cannot_be_used_stop_the_start(postgres: Server, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("")
    for place in ({"sslrootcert": str(tmp_path / "none.pem")}, {"sslcert": str(tmp_path / "empty.pem")}):
        with pytest.raises(SettingsError, match=r"connectors\.orders\.upstream"):
            upstream(postgres, sslmode="require", **place)
