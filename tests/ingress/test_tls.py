"""TLS on both sides: what agents trust of us, and what we trust of upstreams."""

import asyncio
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog
import trustme
from aiohttp import web

from schemas.base import utc_now
from services.ingress import tls
from services.runtime.data_dir import DataDir
from services.runtime.settings import SettingsError
from tests.conftest import until
from tests.ingress.conftest import CREDENTIAL, Gateway, Upstream

STRANGER = trustme.CA()


@pytest.fixture
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(autouse=True)
def looks(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What each look at the certificate's files found; they are often looked at."""
    found: list[bool] = []
    check = tls.ListenerTls.check

    def look(listener: tls.ListenerTls) -> bool:
        found.append(check(listener))
        return found[-1]

    monkeypatch.setattr(tls.ListenerTls, "check", look)
    monkeypatch.setattr(tls, "POLL", 0.01)
    return found


def trusting(*cas: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    for ca in cas:
        ca.configure_trust(context)
    return context


def address(gateway: Gateway) -> tuple[str, int]:
    assert gateway.context
    listening = gateway.context.listening["http"]
    return listening.host, listening.port


class Talk:
    """One TLS connection to the gateway, kept open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @property
    def certificate(self) -> bytes:
        return bytes(self._writer.get_extra_info("ssl_object").getpeercert(binary_form=True))

    async def status(self) -> int:
        """Of the liveness page."""
        self._writer.write(b"GET /-/health/live HTTP/1.1\r\nHost: gateway\r\n\r\n")
        head = await self._reader.readuntil(b"\r\n\r\n")
        (length,) = (
            int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-len")
        )
        await self._reader.readexactly(length)
        return int(head.split()[1])


@asynccontextmanager
async def talking(gateway: Gateway, context: ssl.SSLContext) -> AsyncIterator[Talk]:
    reader, writer = await asyncio.open_connection(*address(gateway), ssl=context, server_hostname="localhost")
    try:
        yield Talk(reader, writer)
    finally:
        writer.close()
        await writer.wait_closed()


class TestListener:
    """`listen.tls`."""

    async def test_auto_makes_a_ca_that_can_be_trusted(self, gateway: Gateway) -> None:
        await gateway.boot(listen={"http": "127.0.0.1:0", "tls": "auto"})
        ca = gateway.data.keys / "ca.pem"
        context = ssl.create_default_context(cafile=str(ca))
        for name in ("127.0.0.1", "localhost"):
            reply = await self._ask(f"https://{name}:{address(gateway)[1]}", gateway.token(), context)
            assert reply == 200
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await self._ask(f"https://localhost:{address(gateway)[1]}", gateway.token(), ssl.create_default_context())
        assert (gateway.data.keys / "ca.key").stat().st_mode & 0o077 == 0

    @pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
    async def test_auto_is_trusted_by_curl(self, gateway: Gateway) -> None:
        await gateway.boot(listen={"http": "127.0.0.1:0", "tls": "auto"})
        url = f"https://localhost:{address(gateway)[1]}/-/health/live"
        arguments = ["--silent", "--fail", "--cacert", str(gateway.data.keys / "ca.pem"), url]
        curl = await asyncio.create_subprocess_exec("curl", *arguments, stdout=asyncio.subprocess.PIPE)
        stdout, _ = await curl.communicate()
        assert (curl.returncode, b'"live": true' in stdout) == (0, True)

    def test_auto_renews_its_certificate_before_it_ends(self, data: DataDir) -> None:
        listener = tls.listener_tls("auto", data)
        assert listener
        first = listener.cert.read_bytes()
        listener.keep_valid()
        assert listener.cert.read_bytes() == first
        listener.clock = lambda: utc_now() + timedelta(days=61)
        listener.keep_valid()
        assert listener.cert.read_bytes() != first
        assert not listener.check()  # it is presented already

    def test_an_operators_certificate_that_ends_soon_is_told_once_a_day(self, ca: trustme.CA, tmp_path: Path) -> None:
        ends = utc_now() + timedelta(days=90)
        pair = ca.issue_cert("localhost", not_before=utc_now() - timedelta(days=1), not_after=ends)
        cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
        cert.write_bytes(b"".join(blob.bytes() for blob in pair.cert_chain_pems))
        pair.private_key_pem.write_to_path(key)
        listener = tls.ListenerTls(cert, key)
        with structlog.testing.capture_logs() as lines:
            for left in (30, 6, 5.5, 4.9):
                listener.clock = lambda left=left: ends - timedelta(days=left)
                listener.keep_valid()
        assert [(line["log_level"], line["event"]) for line in lines] == [
            ("error", "the TLS certificate ends soon; renew it")
        ] * 2

    def test_the_ca_survives_a_restart_so_that_it_is_trusted_once(self, data: DataDir) -> None:
        tls.listener_tls("auto", data, "127.0.0.1")
        ca, leaf = (data.keys / "ca.pem").read_bytes(), (data.keys / "listener.pem").read_bytes()
        tls.listener_tls("auto", data, "127.0.0.1")
        assert (data.keys / "ca.pem").read_bytes() == ca
        assert (data.keys / "listener.pem").read_bytes() != leaf

    async def test_a_new_pair_is_presented_and_connections_stay(
        self, gateway: Gateway, ca: trustme.CA, tmp_path: Path
    ) -> None:
        await self._with_own_pair(gateway, ca, tmp_path)
        context = trusting(ca)
        async with talking(gateway, context) as before:
            assert await before.status() == 200
            write_pair(ca, tmp_path)
            await until(lambda: self._presents_another(gateway, context, before.certificate))
            assert await before.status() == 200

    @pytest.mark.parametrize("wrong", ["garbage", "another key", "missing"])
    async def test_a_bad_new_pair_keeps_the_old_one(
        self, gateway: Gateway, ca: trustme.CA, tmp_path: Path, wrong: str, looks: list[bool]
    ) -> None:
        await self._with_own_pair(gateway, ca, tmp_path)
        context = trusting(ca)
        async with talking(gateway, context) as before:
            old = before.certificate
        if wrong == "garbage":
            (tmp_path / "cert.pem").write_text("-----BEGIN CERTIFICATE-----\nnothing\n")
        elif wrong == "another key":
            STRANGER.issue_cert("localhost").private_key_pem.write_to_path(tmp_path / "key.pem")
        else:
            (tmp_path / "cert.pem").unlink()
        looks.clear()
        await until(lambda: len(looks) > 3)
        assert not any(looks)
        async with talking(gateway, context) as after:
            assert after.certificate == old
        write_pair(ca, tmp_path)  # mended: it goes on
        await until(lambda: self._presents_another(gateway, context, old))

    async def test_a_pair_that_cannot_be_used_stops_the_start(self, gateway: Gateway, tmp_path: Path) -> None:
        pair = {"cert": str(tmp_path / "cert.pem"), "key": str(tmp_path / "key.pem")}
        with pytest.raises(SettingsError, match=r"listen\.tls: .*cert\.pem.*No such file"):
            await gateway.boot(listen={"http": "127.0.0.1:0", "tls": pair})

    async def test_old_tls_and_plain_text_get_nothing(self, gateway: Gateway) -> None:
        await gateway.boot(listen={"http": "127.0.0.1:0", "tls": "auto"})
        reader, writer = await asyncio.open_connection(*address(gateway))
        writer.write(b"GET /-/health/live HTTP/1.1\r\nHost: gateway\r\n\r\n")
        assert b"HTTP" not in await reader.read()
        writer.close()
        assert gateway.events("SessionOpened") == []

    async def test_a_session_says_that_it_was_encrypted(self, gateway: Gateway, ca: trustme.CA, tmp_path: Path) -> None:
        await self._with_own_pair(gateway, ca, tmp_path)
        await self._ask(f"https://localhost:{address(gateway)[1]}", gateway.token(), trusting(ca))
        await gateway.outcome()
        assert [session["tls"] for session in gateway.events("SessionOpened")] == [True]

    async def _with_own_pair(self, gateway: Gateway, ca: trustme.CA, where: Path) -> None:
        write_pair(ca, where)
        pair = {"cert": str(where / "cert.pem"), "key": str(where / "key.pem")}
        await gateway.boot(listen={"http": "127.0.0.1:0", "tls": pair})

    async def _presents_another(self, gateway: Gateway, context: ssl.SSLContext, old: bytes) -> bool:
        async with talking(gateway, context) as talk:
            return talk.certificate != old

    async def _ask(self, url: str, token: str, context: ssl.SSLContext) -> int:
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"{url}/vendor/v1", headers={"X-Api-Key": token}, ssl=context) as reply,
        ):
            return reply.status


def write_pair(ca: trustme.CA, where: Path) -> None:
    pair = ca.issue_cert("localhost", "127.0.0.1")
    pair.private_key_pem.write_to_path(where / "key.pem")
    (where / "cert.pem").write_bytes(b"".join(blob.bytes() for blob in pair.cert_chain_pems))


@asynccontextmanager
async def serving_tls(upstream: Upstream, context: ssl.SSLContext) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", upstream.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield f"https://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


class TestUpstream:
    """`connectors.*.tls`: verified, always."""

    @pytest.fixture
    async def secure(self, ca: trustme.CA, upstream: Upstream) -> AsyncIterator[str]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert("127.0.0.1").configure_cert(context)
        async with serving_tls(upstream, context) as url:
            yield url

    async def test_an_unknown_ca_is_refused_and_nothing_reaches_the_upstream(
        self, gateway: Gateway, secure: str
    ) -> None:
        await self._boot(gateway, secure)
        await self._is_refused(gateway)

    async def test_an_own_ca_bundle_is_trusted(
        self, gateway: Gateway, secure: str, ca: trustme.CA, tmp_path: Path
    ) -> None:
        await self._boot(gateway, secure, ca=bundle(ca, tmp_path))
        async with gateway.call("GET", "/vendor/v1") as reply:
            assert reply.status == 200
        assert gateway.upstream.seen[0].headers["Authorization"] == f"Bearer {CREDENTIAL}"

    async def test_the_own_bundle_is_the_only_one(self, gateway: Gateway, secure: str, tmp_path: Path) -> None:
        await self._boot(gateway, secure, ca=bundle(STRANGER, tmp_path))
        await self._is_refused(gateway)

    async def test_a_certificate_for_another_name_is_refused(
        self, gateway: Gateway, upstream: Upstream, ca: trustme.CA, tmp_path: Path
    ) -> None:
        async with self._named(upstream, ca) as url:
            await self._boot(gateway, url, ca=bundle(ca, tmp_path))
            await self._is_refused(gateway)

    async def test_server_name_says_which_name_to_expect(
        self, gateway: Gateway, upstream: Upstream, ca: trustme.CA, tmp_path: Path
    ) -> None:
        async with self._named(upstream, ca) as url:
            await self._boot(gateway, url, ca=bundle(ca, tmp_path), server_name="vendor.internal")
            async with gateway.call("GET", "/vendor/v1") as reply:
                assert reply.status == 200

    async def test_server_name_holds_for_websockets_too(
        self, gateway: Gateway, upstream: Upstream, ca: trustme.CA, tmp_path: Path
    ) -> None:
        async def echo(request: web.Request, _: bytes) -> web.WebSocketResponse:
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            async for message in socket:
                await socket.send_str(message.data)
            return socket

        upstream.answer = echo
        async with self._named(upstream, ca) as url:
            await self._boot(gateway, url, ca=bundle(ca, tmp_path), server_name="vendor.internal")
            headers = {"Authorization": f"Bearer {gateway.token()}"}
            assert gateway.http
            async with gateway.http.ws_connect(gateway.url + "/vendor/socket", headers=headers) as socket:
                await socket.send_str("hello")
                assert await socket.receive_str() == "hello"

    async def test_a_client_certificate_is_shown(
        self, gateway: Gateway, upstream: Upstream, ca: trustme.CA, tmp_path: Path
    ) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert("127.0.0.1").configure_cert(context)
        ca.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
        client = ca.issue_cert("gateway@example.com", common_name="gateway")
        client.private_key_and_cert_chain_pem.write_to_path(tmp_path / "client.pem")
        both = str(tmp_path / "client.pem")

        def who(request: web.Request, _: bytes) -> web.Response:
            assert request.transport
            subject = request.transport.get_extra_info("peercert")["subject"]
            return web.Response(text=dict(field for (field,) in subject)["commonName"])

        upstream.answer = who
        async with serving_tls(upstream, context) as url:
            await self._boot(gateway, url, ca=bundle(ca, tmp_path), cert=both, key=both)
            async with gateway.call("GET", "/vendor/v1") as reply:
                assert (reply.status, await reply.text()) == (200, "gateway")

    async def test_without_the_client_certificate_the_upstream_refuses(
        self, gateway: Gateway, upstream: Upstream, ca: trustme.CA, tmp_path: Path
    ) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert("127.0.0.1").configure_cert(context)
        ca.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
        async with serving_tls(upstream, context) as url:
            await self._boot(gateway, url, ca=bundle(ca, tmp_path))
            async with gateway.call("GET", "/vendor/v1") as reply:
                # In TLS 1.3 the server's alert comes after our handshake (RFC 8446, section 4.4.2.4): it just closes.
                assert (reply.status, (await reply.json())["error"]["code"]) == (502, "upstream_reset")
        assert gateway.upstream.seen == []

    async def test_an_upstream_that_speaks_no_tls_is_not_said_to_have_a_bad_certificate(
        self, gateway: Gateway, upstream: Upstream
    ) -> None:
        await self._boot(gateway, upstream.url.replace("http:", "https:"))
        async with gateway.call("GET", "/vendor/v1") as reply:
            error = (await reply.json())["error"]
        assert (reply.status, error["code"]) == (502, "upstream_tls")
        assert "certificate" not in error["message"]

    async def test_files_that_cannot_be_used_stop_the_start(
        self, gateway: Gateway, secure: str, tmp_path: Path
    ) -> None:
        with pytest.raises(SettingsError, match=r"connectors\.vendor\.tls: cannot be used: No such file"):
            await self._boot(gateway, secure, ca=str(tmp_path / "none.pem"))

    @asynccontextmanager
    async def _named(self, upstream: Upstream, ca: trustme.CA) -> AsyncIterator[str]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert("vendor.internal").configure_cert(context)
        async with serving_tls(upstream, context) as url:
            yield url

    async def _boot(self, gateway: Gateway, url: str, **tls: Any) -> None:
        inject = {"header": "Authorization", "value": f"Bearer {CREDENTIAL}"}
        await gateway.boot(connectors={"vendor": {"upstream": url, "inject": inject, "tls": tls}})

    async def _is_refused(self, gateway: Gateway) -> None:
        async with gateway.call("GET", "/vendor/v1") as reply:
            body = await reply.json()
        assert (reply.status, body["error"]["code"]) == (502, "upstream_tls")
        assert "could not be verified" in body["detail"]
        assert gateway.upstream.seen == []
        outcome = await gateway.outcome()
        assert outcome["outcome"] == "failed"
        assert CREDENTIAL not in str(outcome)


def bundle(ca: trustme.CA, where: Path) -> str:
    ca.cert_pem.write_to_path(where / "bundle.pem")
    return str(where / "bundle.pem")
