"""How clients are let in: by real drivers, and by bytes that no driver sends."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from services.ingress.errors import AgentError
from services.ingress.protocols.postgres import listener
from services.ingress.protocols.postgres.cancels import Cancels
from services.ingress.protocols.postgres.codec import backend, frontend, startup
from services.ingress.protocols.postgres.codec.framing import Frame
from services.ingress.protocols.postgres.codec.startup import CancelRequest, GssEncRequest, SslRequest, Startup
from services.ingress.protocols.postgres.handshake import is_loopback
from services.ingress.protocols.postgres.startup import wish
from tests.conftest import until
from tests.postgres.gateway import CONNECTOR, Gateway

HELLO = {"user": "agent", "database": CONNECTOR}


class Client:
    """A client by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer, self.decoder = reader, writer, backend.decoder()

    def send(self, *data: Any) -> None:
        for each in data:
            self.writer.write(each if isinstance(each, bytes) else each.encode())

    async def byte(self) -> bytes:
        """The answer to SSLRequest or GSSENCRequest; nothing when the gateway closed."""
        return await self.reader.read(1)

    async def message(self) -> backend.Message | None:
        """The next message, or None when the gateway closed."""
        while (item := self.decoder.next()) is None:
            data = await self.reader.read(65536)
            if not data:
                return None
            self.decoder.feed(data)
        assert isinstance(item, Frame)
        return backend.read(item)

    async def until(self, wanted: type) -> Any:
        while not isinstance(message := await self.message(), wanted):
            assert message is not None, "the gateway closed"
        return message

    async def error(self) -> backend.Report:
        """A FATAL error, with nothing after it."""
        report = await self.until(backend.Report)
        assert (report["S"], report["V"]) == (b"FATAL", b"FATAL")
        assert await self.message() is None
        return report

    async def encrypt(self, context: ssl.SSLContext) -> None:
        await self.writer.start_tls(context)


@asynccontextmanager
async def client(gateway: Gateway, tls: ssl.SSLContext | None = None) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection(*gateway.address, ssl=tls)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def trusting(gateway: Gateway, *, alpn: str = "postgresql") -> ssl.SSLContext:
    """What a client does that was given the local CA."""
    context = ssl.create_default_context(cafile=gateway.data.keys / "ca.pem")
    if alpn:
        context.set_alpn_protocols([alpn])
    return context


async def refusals(gateway: Gateway, number: int = 1) -> list[dict[str, Any]]:
    """The refusals on record, once there are so many."""
    finished = await gateway.outcomes(number)
    return [event["refusal"] for event in finished if event.get("refusal")]


async def test_a_client_gets_what_the_database_told_and_a_key_of_our_own(gateway: Gateway) -> None:
    await gateway.boot()
    async with client(gateway) as agent:
        agent.send(Startup((3, 0), HELLO | {"application_name": "psql", "TimeZone": "Asia/Tokyo"}))
        assert await agent.message() == backend.Authentication(backend.CLEARTEXT)
        agent.send(frontend.password(gateway.token().encode()))
        assert await agent.message() == backend.Authentication(backend.OK)
        told, message = {}, await agent.message()
        while isinstance(message, backend.ParameterStatus):
            told[message.name.decode()] = message.value.decode()
            message = await agent.message()
        assert isinstance(message, backend.BackendKeyData)
        assert len(message.secret) == 4
        assert await agent.message() == backend.ReadyForQuery(b"I")
    assert told["application_name"] == "psql"
    assert told["TimeZone"] == "Asia/Tokyo"
    assert told["server_version"].startswith("18")
    opened = await gateway.until_event("SessionOpened")
    assert (opened["protocol"], opened["tls"]) == ("postgres", False)
    assert (await gateway.until_event("SessionClosed"))["session_id"] == opened["session_id"]


@pytest.mark.parametrize("sslmode", ["disable", "prefer", "require", "verify-full"])
async def test_tls_as_a_client_asks_for_it(gateway: Gateway, sslmode: str) -> None:
    await gateway.boot(listen={"tls": "auto"})
    root = {"sslrootcert": str(gateway.data.keys / "ca.pem")} if sslmode == "verify-full" else {}
    async with gateway.connect(sslmode=sslmode, **root) as connection:
        assert connection.pgconn.ssl_in_use is (sslmode != "disable")
    assert (await gateway.until_event("SessionOpened"))["tls"] is (sslmode != "disable")


async def test_tls_without_asking(gateway: Gateway) -> None:
    """sslnegotiation=direct of PostgreSQL 17: by ALPN or not at all."""
    await gateway.boot(listen={"tls": "auto"})
    async with client(gateway, trusting(gateway)) as agent:
        agent.send(Startup((3, 0), HELLO), frontend.password(gateway.token().encode()))
        await agent.until(backend.ReadyForQuery)
    for context in (trusting(gateway, alpn=""), trusting(gateway, alpn="http/1.1")):
        with suppress(OSError):
            async with client(gateway, context) as agent:
                agent.send(Startup((3, 0), HELLO))
                assert await agent.message() is None


async def test_a_renewed_certificate_is_presented(
    gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.ingress.tls.POLL", 0.01)
    ca = trustme.CA()

    def issue() -> None:
        issued = ca.issue_cert("127.0.0.1")
        issued.private_key_pem.write_to_path(tmp_path / "new.key")
        issued.cert_chain_pems[0].write_to_path(tmp_path / "new.pem")
        for name in ("key", "pem"):
            (tmp_path / f"new.{name}").rename(tmp_path / f"listener.{name}")

    async def presented() -> bytes:
        context = ssl.create_default_context()
        ca.configure_trust(context)
        context.set_alpn_protocols(["postgresql"])
        async with client(gateway, context) as agent:
            return bytes(agent.writer.get_extra_info("ssl_object").getpeercert(binary_form=True))

    issue()
    tls = {"cert": str(tmp_path / "listener.pem"), "key": str(tmp_path / "listener.key")}
    await gateway.boot(listen={"tls": tls})
    first = await presented()
    issue()

    async def changed() -> bool:
        return await presented() != first

    await until(changed)


async def test_encryption_is_declined_once(gateway: Gateway) -> None:
    await gateway.boot()
    async with client(gateway) as agent:
        agent.send(GssEncRequest())
        assert await agent.byte() == b"N"
        agent.send(SslRequest())
        assert await agent.byte() == b"N"
        agent.send(Startup((3, 0), HELLO))
        assert await agent.message() == backend.Authentication(backend.CLEARTEXT)
    async with client(gateway) as agent:
        agent.send(SslRequest(), SslRequest())
        assert await agent.byte() == b"N"
        assert (await agent.error())["C"] == b"08P01"


async def test_nothing_slips_in_before_tls(gateway: Gateway) -> None:
    """CVE-2021-23214: what is sent in clear must not be read as if it had come over TLS."""
    await gateway.boot(listen={"tls": "auto"})
    async with client(gateway) as agent:
        agent.send(SslRequest().encode() + Startup((3, 0), HELLO).encode())
        assert b"bytes were sent before TLS" in (await agent.error())["M"]


async def test_from_elsewhere_a_token_comes_over_tls_only(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    await gateway.boot(listen={"tls": "auto"})
    monkeypatch.setattr("services.ingress.protocols.postgres.handshake.is_loopback", lambda _: False)
    async with client(gateway) as agent:
        agent.send(Startup((3, 0), HELLO))
        report = await agent.message()  # before it is asked for a password
        assert isinstance(report, backend.Report)
        assert (report["C"], b"TLS" in report["M"]) == (b"28000", True)
    assert is_loopback is not None
    async with gateway.connect(sslmode="require"):
        pass


@pytest.mark.parametrize(
    ("options", "sqlstate", "code"),
    [
        ({"password": "made-up"}, "28P01", "token_malformed"),
        ({"password": "tökén"}, "28P01", "token_malformed"),
        ({"dbname": "elsewhere"}, "3D000", "unknown_connector"),
        ({"options": "-c role=postgres"}, "42501", "startup_parameter"),
    ],
)
async def test_who_is_not_let_in_and_why(gateway: Gateway, options: dict[str, Any], sqlstate: str, code: str) -> None:
    await gateway.boot()
    with pytest.raises(psycopg.OperationalError) as raised:
        async with gateway.connect(**options):
            pass
    assert "FATAL" in str(raised.value)
    assert options.get("password", "none") not in str(raised.value)
    (refusal,) = await refusals(gateway)
    assert refusal["code"] == code
    async with client(gateway) as agent:
        hello = HELLO | {name: value for name, value in options.items() if name == "options"}
        agent.send(Startup((3, 0), hello | ({"database": options["dbname"]} if "dbname" in options else {})))
        agent.send(frontend.password(options.get("password", gateway.token()).encode()))
        assert (await agent.error())["C"].decode() == sqlstate


async def test_a_token_for_another_connector_opens_nothing(gateway: Gateway) -> None:
    await gateway.boot()
    async with client(gateway) as agent:
        agent.send(Startup((3, 0), HELLO), frontend.password(gateway.token(connector="billing").encode()))
        assert (await agent.error())["C"] == b"28000"


async def test_connectors_are_told_to_nobody_without_a_token(gateway: Gateway) -> None:
    await gateway.boot()
    said = []
    for database in (CONNECTOR, "elsewhere"):
        async with client(gateway) as agent:
            agent.send(Startup((3, 0), HELLO | {"database": database}), frontend.password(b"made-up"))
            said.append(await agent.error())
    assert said[0] == said[1]


async def test_more_sessions_than_there_is_room_for(gateway: Gateway) -> None:
    await gateway.boot(connector={"pool": 1})
    async with gateway.connect():
        with pytest.raises(psycopg.OperationalError, match="no session left"):
            async with gateway.connect():
                pass
    await until(lambda: len(gateway.events("SessionClosed")) == 2)  # the one that was refused, and the first
    async with gateway.connect():
        pass


async def test_a_client_that_dawdles_loses_its_connection(gateway: Gateway) -> None:
    await gateway.boot(limits={"request_head": "500ms"})
    async with client(gateway) as silent:
        assert await silent.message() is None
    async with client(gateway) as slow:
        slow.send(Startup((3, 0), HELLO).encode()[:7])
        assert (await slow.error())["C"] == b"08006"


async def test_too_many_strangers_are_turned_away(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    await gateway.boot()
    monkeypatch.setattr(listener, "STRANGERS", 2)
    async with client(gateway), client(gateway):
        await until(lambda: gateway.ingress.postgres and gateway.ingress.postgres.strangers == 2)
        async with client(gateway) as third:
            assert await third.byte() == b""
    await until(lambda: gateway.ingress.postgres and gateway.ingress.postgres.strangers == 0)
    async with gateway.connect():
        pass


async def test_the_database_is_away(gateway: Gateway) -> None:
    await gateway.boot(upstream={"host": str(gateway.data.root)})
    with pytest.raises(psycopg.OperationalError, match="the database cannot be reached"):
        async with gateway.connect():
            pass
    assert (await refusals(gateway))[0]["code"] == "upstream_refused"


async def test_newer_clients_are_told_what_is_spoken(gateway: Gateway) -> None:
    await gateway.boot()
    for version, spoken, secret in (((3, 2), None, 32), ((3, 9), (3, 2), 32), ((3, 0), None, 4)):
        async with client(gateway) as agent:
            agent.send(Startup(version, HELLO))
            first = await agent.message()
            if spoken:
                assert first == backend.NegotiateProtocolVersion(3 << 16 | 2)
            agent.send(frontend.password(gateway.token().encode()))
            assert len((await agent.until(backend.BackendKeyData)).secret) == secret
    async with client(gateway) as agent:
        agent.send(Startup((3, 0), HELLO | {"_pq_.compression": "zstd"}))
        assert await agent.message() == backend.NegotiateProtocolVersion(3 << 16, (b"_pq_.compression",))
    async with client(gateway) as agent:
        agent.send(Startup((2, 0), HELLO))
        assert (await agent.error())["C"] == b"0A000"


@pytest.mark.parametrize(
    "garbage", [b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\x04", b"\xff\xff\xff\xff", b"\0\0\0\x09\0\x03\0\0x"]
)
async def test_garbage_is_refused_and_leaves_no_task(gateway: Gateway, garbage: bytes) -> None:
    await gateway.boot()
    async with client(gateway) as agent:
        agent.send(garbage)
        assert (await agent.error())["C"] in (b"08P01", b"54000")
    async with gateway.connect():
        pass


async def test_who_leaves_before_the_password_leaves_no_record(gateway: Gateway) -> None:
    """psql does so when it has none, to ask its user."""
    await gateway.boot()
    async with client(gateway) as agent:
        agent.send(Startup((3, 0), HELLO))
        await agent.message()
    await until(lambda: gateway.ingress.postgres and gateway.ingress.postgres.strangers == 0)
    assert gateway.events("SessionOpened") == []


async def test_idle_sessions_end_when_the_gateway_goes_down(gateway: Gateway) -> None:
    await gateway.boot()
    async with client(gateway) as agent:
        agent.send(Startup((3, 0), HELLO), frontend.password(gateway.token().encode()))
        await agent.until(backend.ReadyForQuery)
        await gateway.stop("ingress")
        assert (await agent.error())["C"] == b"57P01"
    assert len(await until(lambda: gateway.events("SessionClosed"))) == 1


async def test_only_its_own_key_cancels_a_session(gateway: Gateway) -> None:
    await gateway.boot()
    async with client(gateway) as agent:
        agent.send(Startup((3, 0), HELLO), frontend.password(gateway.token().encode()))
        key = await agent.until(backend.BackendKeyData)
        await agent.until(backend.ReadyForQuery)
        agent.send(frontend.Query(b"SELECT pg_sleep(60)"))
        sleeping = "SELECT pid FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND state = 'active'"
        ((upstream_pid,),) = await until(lambda: gateway.server.execute(sleeping))
        wrong = (
            CancelRequest(key.process_id, bytes(4)),
            CancelRequest(key.process_id, key.secret + b"x"),
            CancelRequest(upstream_pid, key.secret),
        )
        for request in wrong:
            async with client(gateway) as other:
                other.send(request)
                assert await other.byte() == b""
        assert gateway.server.execute(sleeping)
        async with client(gateway) as other:
            other.send(CancelRequest(key.process_id, key.secret))
            assert await other.byte() == b""
        assert (await agent.until(backend.Report))["C"] == b"57014"


# ---- pure ------------------------------------------------------------------------------------------------------------


def test_a_key_dies_with_its_session() -> None:
    cancels, called = Cancels(), []
    key = cancels.issue((3, 2), lambda: called.append(1))
    assert cancels.cancel(CancelRequest(key.process_id, key.secret))
    cancels.withdraw(key)
    assert not cancels.cancel(CancelRequest(key.process_id, key.secret))
    assert called == [1]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ("-c statement_timeout=5s", {"statement_timeout": "5s"}),
        ("-cgeqo=off --search_path=a\\ b", {"geqo": "off", "search_path": "a b"}),
        ("  -c  datestyle=ISO\\\\x ", {"datestyle": "ISO\\x"}),
        ("--statement-timeout=1", {"statement_timeout": "1"}),
        ("", {}),
    ],
)
def test_options_are_settings(options: str, found: dict[str, str]) -> None:
    assert wish(Startup((3, 0), HELLO | {"options": options})).parameters == found


@pytest.mark.parametrize(
    "parameters",
    [
        {"role": "postgres"},
        {"ROLE": "postgres"},
        {"session_authorization": "postgres"},
        {"session_replication_role": "replica"},
        {"row_security": "off"},
        {"options": "-c role=postgres"},
        {"options": "-crole=postgres"},
        {"options": "--role=postgres"},
        {"options": "-c geqo=on -c Role=postgres"},
        {"options": "-c\\ role=postgres"},
        {"options": "-c session-authorization=postgres"},
        {"options": "-d 5"},
        {"options": "geqo=on"},
        {"options": "-c"},
        {"options": "-c geqo"},
    ],
)
def test_settings_that_would_escape_judgement_are_refused(parameters: dict[str, str]) -> None:
    with pytest.raises(AgentError) as raised:
        wish(Startup((3, 0), HELLO | parameters))
    assert raised.value.code == "startup_parameter"


def test_what_is_said_about_a_run_is_ours() -> None:
    options = "-c countersign.run=run-7 -c Countersign.Reason=nightly\\ clean-up -c countersign.traceparent=00-ab-cd-01"
    found = wish(Startup((3, 0), HELLO | {"options": options}))
    assert (found.run, found.reason, found.traceparent) == ("run-7", "nightly clean-up", "00-ab-cd-01")
    assert found.parameters == {}
    assert len(wish(Startup((3, 0), HELLO | {"countersign.run": "x" * 500})).run) == 128
    with pytest.raises(AgentError):
        wish(Startup((3, 0), HELLO | {"countersign.connector": "other"}))


def test_replication_is_set_apart() -> None:
    for value, wanted in (("database", "database"), ("true", "true"), ("off", ""), ("0", "")):
        found = wish(Startup((3, 0), HELLO | {"replication": value}))
        assert (found.replication, dict(found.parameters)) == (wanted, {})


def test_the_database_is_the_users_unless_it_is_named() -> None:
    assert wish(Startup((3, 0), {"user": "orders"})).database == "orders"
    with pytest.raises(AgentError, match="no user name"):
        wish(Startup((3, 0), {"database": "orders"}))


@given(st.text(max_size=40))
def test_no_options_reach_the_database_but_known_ones(options: str) -> None:
    with suppress(AgentError):
        passed = wish(Startup((3, 0), HELLO | {"options": options})).parameters
        assert not {name.lower() for name in passed} & {"role", "session_authorization", "options"}
        assert startup.Startup((3, 0), passed)
