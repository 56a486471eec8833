"""An approval as mails: the question, what follows it in the same thread, and how mailboxes are told it is a machine's.

Pure: the same mail every time for the same moment. Message-IDs are made from the approval and the address, so that a
follow-up finds its thread without anything stored (RFC 5322, section 3.6.4), and a mail that had to be sent again is
the same mail to mailboxes that know one when they see it twice.
"""

from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from hashlib import sha256

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from services.approver.email.shown import Shown

#: Characters of a statement in a mail: two screens. The page shows all of it.
STATEMENT = 8000
#: Characters of a subject; mailboxes show fewer.
SUBJECT = 180
_TEMPLATES = Environment(
    loader=PackageLoader("services.approver.email"),
    autoescape=select_autoescape(("html",)),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
#: Strangers' lines stand behind a bar, so that none of them passes for a line of ours.
_TEMPLATES.filters["quoted"] = lambda text: "\n".join(f"| {line}" for line in text.split("\n"))


@dataclass(frozen=True)
class Letter:
    """What one mail says, to one address."""

    to: str
    shown: Shown
    #: The first line: why this mail comes.
    lead: str
    #: `question`, or what follows it: `outcome`, `reminder.1`, …
    purpose: str
    #: The page that decides, for somebody who may.
    link: str = ""
    loud: bool = False


def compose(letter: Letter, sender: str, at: datetime) -> EmailMessage:
    """The mail, text and HTML alike. Raises ValueError for addresses that are none."""
    domain = parseaddr(sender)[1].rpartition("@")[2]
    question = message_id(letter.shown.approval_id, letter.to, "question", domain)
    mail = EmailMessage(policy=SMTP)
    mail["From"] = sender
    mail["To"] = letter.to
    mail["Subject"] = _subject(letter)
    mail["Date"] = format_datetime(at)
    mail["Message-ID"] = message_id(letter.shown.approval_id, letter.to, letter.purpose, domain)
    if letter.purpose != "question":
        mail["In-Reply-To"] = mail["References"] = question
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no vacation notes to us
    mail["X-Auto-Response-Suppress"] = "All"  # the same for Exchange
    if letter.loud:
        mail["Importance"], mail["X-Priority"] = "high", "1"
    words = {"shown": letter.shown, "lead": letter.lead, "link": letter.link}
    mail.set_content(_TEMPLATES.get_template("letter.txt").render(words), cte="quoted-printable")
    html = _TEMPLATES.get_template("letter.html").render(words)
    mail.add_alternative(html, subtype="html", cte="quoted-printable")
    return mail


def message_id(approval_id: str, address: str, purpose: str, domain: str) -> str:
    """The Message-ID of one mail; it names neither the person nor anything else that the mail does not show."""
    whose = sha256(f"{address.casefold()} {purpose}".encode()).hexdigest()[:16]
    return f"<{approval_id}.{whose}@{domain}>"


def _subject(letter: Letter) -> str:
    """Mail programs that thread by subject want the question's own; a loud mail wants to be seen."""
    shown = letter.shown
    about = f"Approval needed: {shown.what}, asked by {shown.who} [{shown.approval_id[-6:]}]"
    if letter.loud:
        about = f"{shown.state.upper()}: {shown.what}, asked by {shown.who} [{shown.approval_id[-6:]}]"
    return (about if letter.purpose == "question" or letter.loud else f"Re: {about}").replace("\n", " ")[:SUBJECT]
