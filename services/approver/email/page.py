"""The page that a mailed link opens: it shows the question, and decides only when its form is sent.

    GET, HEAD   show how it stands; decide nothing, whoever opens it (link scanners, previews, prefetch)
    POST        decide, from our own page only: a random value in the form and in a cookie that only our page sends
                back, and Fetch Metadata where the browser tells it; then 303 to the GET

Works without scripts, which its Content-Security-Policy forbids together with everything from elsewhere.
"""

import hmac
import secrets
from base64 import b64encode
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import structlog
from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from schemas.approvals import Reviewer
from services.approver import pending
from services.approver.body import TooMuch, bounded
from services.approver.desk import Desk
from services.approver.email import links
from services.approver.email.form import FormRejected, decision
from services.approver.email.links import Link, LinkRejected
from services.approver.email.shown import shown, windows
from services.approver.inert import line
from services.approver.pending import Approve, BreakGlass, Refusal, Why
from services.approver.people import Known, reviewer
from services.approver.record import Held
from services.approver.store import StoreUnavailable

log = structlog.get_logger(__name__)

PATH = "/approvals/link/"
COOKIE = "countersign-form"
#: Bytes of a form: a reason of 2,000 characters, percent-encoded, and our own fields.
MAX_FORM = 32 * 1024
#: Characters of a statement on the page: the default inspection window, so that an approver can read all of it.
STATEMENT = 256 * 1024
#: After the question's own end the page shows it for so long; later an old mail in a wrong hand tells nothing new.
LINGER = timedelta(hours=24)
#: Seconds for which the cookie counts: as long as somebody may think about it.
COOKIE_AGE = 3600

_TEMPLATES = Environment(
    loader=PackageLoader("services.approver.email"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_CSS = _TEMPLATES.get_template("page.css").render()
_STYLE = b64encode(sha256(_CSS.encode()).digest()).decode()
_HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_STATUS = {Why.UNKNOWN: 404, Why.EXPIRED: 410, Why.NOT_ALLOWED: 403, Why.OWN_OPERATION: 403, Why.NO_REASON: 422}
_NOT_OURS = "This link is not one of ours, or was changed on the way. Open it from the mail, whole."
_GONE = "There is no such request any more."
_OLD = "This question ended more than a day ago. `countersign approvals show` and the audit know how."
_LATER = "It cannot be read or written now. Nothing was done; try again in a moment."
_STALE = "This page was open for long, or twice. Nothing was done; look at it again, then decide."


@dataclass(frozen=True)
class Page:
    """The page, for the people who are known by address."""

    desk: Desk
    people: Known
    base_url: str

    def url(self, approval: Held, address: str) -> str:
        """The link for one person to one approval."""
        token = links.sign(approval.approval_id, address, approval.request.terms.expires_at, self.desk.key)
        return f"{self.base_url}{PATH}{token}"

    def register(self, app: web.Application) -> None:
        """Serve it."""
        app.router.add_get(PATH + "{token}", self._get)
        app.router.add_post(PATH + "{token}", self._post)

    async def _get(self, request: web.Request) -> web.Response:
        try:
            return await self._show(request, links.verify(request.match_info["token"], self.desk.key))
        except LinkRejected:
            return self._refused("not_ours", 404, _NOT_OURS)
        except StoreUnavailable:
            return self._refused("unavailable", 503, _LATER)

    async def _post(self, request: web.Request) -> web.Response:
        try:
            link = links.verify(request.match_info["token"], self.desk.key)
            fields = await _fields(request)
            if not self._from_our_page(request, fields.get("form", "")):
                return await self._show(request, link, _STALE, 403)
            return await self._decide(request, link, fields)
        except LinkRejected:
            return self._refused("not_ours", 404, _NOT_OURS)
        except StoreUnavailable:
            return self._refused("unavailable", 503, _LATER)

    async def _decide(self, request: web.Request, link: Link, fields: dict[str, str]) -> web.Response:
        person = self.people.get(link.address.casefold())
        if person is None:
            return await self._show(request, link)
        try:
            action = decision(fields, reviewer(person, "email"))
        except FormRejected as rejected:
            return await self._show(request, link, str(rejected), 400)
        result = await self.desk.decide(link.approval_id, action)
        if isinstance(result, Refusal):
            return await self._show(request, link, result.words, _STATUS.get(result.why, 409))
        # Relative, so that a proxy may serve us under a path of its own.
        return web.Response(status=303, headers=_HEADERS | {"Location": request.match_info["token"]})

    async def _show(self, request: web.Request, link: Link, notice: str = "", status: int = 200) -> web.Response:
        record = await self.desk.approvals.load(link.approval_id)
        if record is None:
            return self._refused("gone", 404, _GONE)
        now = self.desk.clock()
        if now > link.expires_at + LINGER:
            return self._refused("old", 410, _OLD)
        person = self.people.get(link.address.casefold())
        deciding = emergency = False
        if person is None:
            notice = notice or f"{link.address} is no longer among the people who decide; ask whoever runs Countersign."
        else:
            by = reviewer(person, "email")
            refusal = pending.refused(record, Approve(by), now)
            deciding = refusal is None
            emergency = _needs_emergency(record, by, now)
            if refusal and record.open and not emergency:
                notice = notice or refusal.words
        nonce = request.cookies.get(COOKIE, "")
        nonce = nonce if len(nonce) == 43 and nonce.isascii() else secrets.token_urlsafe(32)
        view = shown(record, now, STATEMENT)
        page = _page(
            status,
            title=f"{view.state}: {view.what}",
            address=line(link.address),
            notice=line(notice, 1000),
            shown=view,
            deciding=deciding,
            emergency=emergency,
            windows=windows(record),
            form=nonce,
        )
        if deciding or emergency:
            secure = self.base_url.startswith("https:")
            path = f"{urlsplit(self.base_url).path}{PATH}{request.match_info['token']}"
            page.set_cookie(
                COOKIE, nonce, max_age=COOKIE_AGE, path=path, httponly=True, samesite="Strict", secure=secure
            )
        return page

    def _from_our_page(self, request: web.Request, nonce: str) -> bool:
        """Whether a browser sends this from our page (Fetch Metadata; Origin is `null` by our Referrer-Policy)."""
        parts = urlsplit(self.base_url)
        if request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
            return False
        if request.headers.get("Origin", "null") not in ("null", f"{parts.scheme}://{parts.netloc}"):
            return False
        cookie = request.cookies.get(COOKIE, "")
        plain = nonce.isascii() and cookie.isascii()
        return plain and len(nonce) == 43 and hmac.compare_digest(cookie, nonce)

    def _refused(self, error: str, status: int, words: str) -> web.Response:
        self.desk.metrics.channel_errors.labels("email", f"link_{error}").inc()
        return _page(status, title="Nothing to decide here", notice=words)


def _needs_emergency(record: Held, by: Reviewer, now: datetime) -> bool:
    """Whether they may break glass, and their approval alone would not do."""
    if pending.refused(record, BreakGlass(by, "?"), now):
        return False
    approved = pending.move(record, Approve(by), now)
    return isinstance(approved, Refusal) or approved.open


def _page(status: int, **words: Any) -> web.Response:
    nothing = {"address": "", "shown": None, "deciding": False, "emergency": False, "form": "", "windows": ()}
    text = _TEMPLATES.get_template("page.html").render(nothing | {"css": Markup(_CSS)} | words)  # noqa: S704 - our own file
    headers = _HEADERS | ({"Retry-After": "5"} if status == 503 else {})
    return web.Response(status=status, text=text, content_type="text/html", charset="utf-8", headers=headers)


async def _fields(request: web.Request) -> dict[str, str]:
    """The form's fields; none when it is not one, or too large."""
    if request.content_type != "application/x-www-form-urlencoded":
        return {}
    try:
        return dict(parse_qsl((await bounded(request, MAX_FORM)).decode(), max_num_fields=16))
    except (TooMuch, ValueError):
        return {}
