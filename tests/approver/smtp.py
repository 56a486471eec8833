"""A real SMTP server for tests: aiosmtpd on the test's own loop, with STARTTLS and an account, and faults on demand."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from pathlib import Path
from typing import Any

import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from tests.conftest import until

USER, PASSWORD = "countersign", "correct horse"
LINK = re.compile(r"^  (https?://\S+/approvals/link/\S+)$", re.MULTILINE)


class Mailboxes:
    """Takes mails as a relay does; `fault` may answer instead of taking one, `hang` never answers."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        #: Address to an SMTP answer for its RCPT.
        self.refuse: dict[str, str] = {}
        #: Answers given to the next mails' ends, in order, instead of taking them.
        self.faults: list[str] = []
        #: Takes the next mail, but drops the connection before saying so.
        self.drop_after_taking = 0
        self.logins: list[tuple[str, bool]] = []
        self.port = 0

    async def handle_RCPT(self, server: Any, session: Session, envelope: Envelope, address: str, _: Any) -> str:
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.faults:
            return self.faults.pop(0)
        assert isinstance(envelope.content, bytes)
        mail = BytesParser(policy=default).parsebytes(envelope.content)
        assert isinstance(mail, EmailMessage)
        assert envelope.rcpt_tos == [mail["To"]]
        self.mails.append(mail)
        if self.drop_after_taking:
            self.drop_after_taking -= 1
            assert server.transport
            server.transport.abort()
        return "250 OK"

    def authenticate(self, server: Any, session: Session, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        good = (data.login, data.password) == (USER.encode(), PASSWORD.encode())
        self.logins.append((mechanism, good))
        return AuthResult(success=good, handled=False)

    def of(self, address: str) -> list[EmailMessage]:
        return [mail for mail in self.mails if mail["To"] == address]

    async def wait(self, address: str, count: int = 1) -> EmailMessage:
        """The last of at least `count` mails to this address."""
        found: list[EmailMessage] = await until(lambda: len(self.of(address)) >= count and self.of(address))
        return found[-1]


def text(mail: EmailMessage) -> str:
    part = mail.get_body(("plain",))
    assert part
    return str(part.get_content()).replace("\r\n", "\n")


def html(mail: EmailMessage) -> str:
    part = mail.get_body(("html",))
    assert part
    return str(part.get_content()).replace("\r\n", "\n")


def link(mail: EmailMessage) -> str:
    """The link in the mail's text."""
    found = LINK.search(text(mail))
    assert found, text(mail)
    return found[1]


class Relay:
    """The server, which can be stopped and started again on its port."""

    def __init__(self, directory: Path) -> None:
        self.boxes = Mailboxes()
        authority = trustme.CA()
        self.ca = directory / "relay-ca.pem"
        authority.cert_pem.write_to_path(self.ca)
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("localhost").configure_cert(self._context)
        self._server: asyncio.Server | None = None
        self.port = 0
        #: As a relay that was set up wrong, or a machine in the middle that strips it.
        self.offers_tls = True

    async def start(self) -> None:
        self._server = await asyncio.get_running_loop().create_server(self._smtp, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def _smtp(self) -> SMTP:
        return SMTP(
            self.boxes,
            hostname="localhost",
            tls_context=self._context if self.offers_tls else None,
            require_starttls=self.offers_tls,
            auth_required=self.offers_tls,
            authenticator=self.boxes.authenticate,
            enable_SMTPUTF8=True,
        )

    async def stop(self) -> None:
        if self._server:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    def settings(self, **more: Any) -> dict[str, Any]:
        """`approvals.email.smtp`."""
        account = {"user": USER, "password": PASSWORD, "ca": str(self.ca)}
        return {"host": "localhost", "port": self.port, "timeout": "10s"} | account | more


@asynccontextmanager
async def relay(directory: Path) -> AsyncIterator[Relay]:
    """A running one."""
    running = Relay(directory)
    await running.start()
    try:
        yield running
    finally:
        await running.stop()
