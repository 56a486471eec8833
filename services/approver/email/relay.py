"""Mails to the relay: SMTP (RFC 5321) over TLS that is verified, and what its answers mean for another attempt.

the relay says                      raised       another attempt
4xx, no connection, cut, too slow   MailTrouble  soon
5xx to the login, to MAIL           MailTrouble  later: an operator has to mend it
5xx to RCPT or the mail itself      Refused      none: this mail does not get there
"""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import parseaddr
from platform import node

import aiosmtplib
from aiosmtplib import SMTP, SMTPDataError, SMTPException, SMTPRecipientsRefused, SMTPResponseException

from services.approver.channels import ChannelTrouble
from services.runtime.settings import SettingsError, reveal
from services.runtime.settings.approvals import SmtpSettings

#: Seconds before another attempt when an operator has to mend something.
MEND = 30.0
#: Characters of a relay's answer that are logged.
MAX_ANSWER = 300


class MailTrouble(ChannelTrouble):
    """The relay did not take the mail; `at_least` is seconds before another attempt makes sense."""

    def __init__(self, code: str, words: str, at_least: float = 0) -> None:
        super().__init__(f"{code}: {words}"[:MAX_ANSWER])
        self.code = code
        self.at_least = at_least


class Away(MailTrouble):
    """There is no conversation with the relay at all, whatever the mail."""


class Refused(Exception):
    """The relay will never take this mail for this address."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(f"{code} {words}"[:MAX_ANSWER])
        self.code = code


@dataclass(frozen=True)
class Line:
    """An open conversation."""

    smtp: SMTP

    async def send(self, mail: EmailMessage) -> None:
        """Hand over one mail. Raises Refused, MailTrouble."""
        sender, to = (parseaddr(str(mail[name]))[1] for name in ("From", "To"))
        try:
            await self.smtp.sendmail(sender, [to], mail.as_bytes())
        except SMTPRecipientsRefused as refused:
            first = refused.recipients[0]
            raise _verdict(first.code, first.message) from None
        except SMTPDataError as error:
            raise _verdict(error.code, error.message) from None
        except ValueError as error:
            raise Refused(553, str(error)) from None
        except (SMTPException, OSError) as error:
            raise trouble(error) from None


class Relay:
    """The relay of the settings."""

    def __init__(self, settings: SmtpSettings) -> None:
        """Raises SettingsError when the account or the CA bundle cannot be read."""
        self._settings = settings
        self._context = None if settings.tls == "none" else _context(settings)
        self._user = reveal(settings.user, "approvals.email.smtp.user") if settings.user else None
        self._password = reveal(settings.password, "approvals.email.smtp.password") if settings.password else None
        #: What was in the way of the last conversation, or True.
        self.reached: bool | str = True

    @asynccontextmanager
    async def line(self) -> AsyncIterator[Line]:
        """A conversation, for several mails. Raises Away."""
        settings = self._settings
        smtp = SMTP(
            hostname=settings.host,
            port=settings.port,
            username=self._user,
            password=self._password,
            # Looked up, the name would cost a DNS query that blocks everything.
            local_hostname=_own_name(),
            timeout=settings.timeout,
            use_tls=settings.tls == "tls",
            # Required where it is asked for: a relay that does not offer it gets neither account nor mail.
            start_tls=settings.tls == "starttls",
            tls_context=self._context,
        )
        try:
            await smtp.connect()
        except (SMTPException, OSError, ssl.SSLError) as error:
            smtp.close()
            why = trouble(error)
            self.reached = f"the relay is away ({why.code})"
            raise Away(why.code, str(error), why.at_least) from None
        self.reached = True
        try:
            yield Line(smtp)
        finally:
            with suppress(SMTPException, OSError):
                await smtp.quit()
            smtp.close()


def trouble(error: BaseException) -> MailTrouble:
    """What went wrong, in a word for the metric and in the relay's words for the log."""
    if isinstance(error, SMTPResponseException):
        return MailTrouble(str(error.code), error.message, MEND if error.code >= 500 else 0)
    mend = isinstance(error, aiosmtplib.SMTPNotSupported | ssl.SSLCertVerificationError) or (
        isinstance(error.__cause__, ssl.SSLCertVerificationError)
    )
    return MailTrouble(type(error).__name__, str(error), MEND if mend else 0)


def _verdict(code: int, words: str) -> MailTrouble | Refused:
    return Refused(code, words) if code >= 500 else MailTrouble(str(code), words)


def _own_name() -> str:
    """For EHLO (RFC 5321, section 4.1.1.1)."""
    name = node()
    return name if name.isascii() and name.replace("-", "").replace(".", "").isalnum() else "localhost"


def _context(settings: SmtpSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=None if settings.ca is None else str(settings.ca))
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"countersign.yaml: approvals.email.smtp.ca: {settings.ca}: {error}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
