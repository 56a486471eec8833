"""Values that only the words beside them give away: `password=…`, `"client_secret": "…"`, `Bearer …`.

A quoted value ends at its quote, a bare one at white space or a delimiter. Values that read as code (a call,
an attribute, a template, an environment reference), as a type or as a placeholder are not secrets.
"""

from __future__ import annotations

from collections.abc import Iterator

from services.ingress.masking.detectors.checks import ENTROPY_FLOOR, credentials, entropy
from services.ingress.masking.detectors.detector import Check, Detector, accept, when
from services.ingress.masking.linear import compile_linear

_SUFFIX = r"(?:[_-]?(?:confirmation|confirm|again|repeat|new|old|prod|dev|test))?\d{0,2}"
_PASSWORD = rf"(?i:password|passwd|passphrase|passcode|passwort|kennwort|contrase(?:n|\xc3\xb1)a){_SUFFIX}"
_PWD = rf"(?i:pwd){_SUFFIX}"
# `pass` and `pin` are words of their own; `secret` is as often the name of one as its value.
_SHORT = r"(?:(?:\b|_)(?i:pass)|[a-z]Pass)"
_PIN = r"(?:\b|_)(?i:pin)"
_HIDDEN = r"(?i:secret)(?:[_-]?(?i:key))?"
_TELLING = r"(?i:secret|token|key|credential|authorization)s?(?:[_-][A-Za-z0-9]{1,12}){0,2}"

_CLOSE = r"(?:\\{0,3}[\"'])?[ \t]{0,3}"
# A form's `user[password]=`, and code's `user["password"] =`.
_INDEX = r"(?:\\{0,3}[\"'])?\]?[ \t]{0,3}"
_EQUALS = _INDEX + r"(?:=>|:=|=)"
_COLON = _CLOSE + r":"

# How a quoted value opens, and what may stand in it. A quote may itself be escaped, for JSON inside JSON
# strings (an LLM's tool-call arguments) is common; so may a letter stand before it (Python's b"", f"").
_QUOTES: tuple[tuple[str, str], ...] = (
    (r"[bBfFrRuU]{0,2}\\{1,3}\"", r"[^\"\\\r\n]{1,256}"),
    (r"[bBfFrRuU]{0,2}\\{1,3}'", r"[^'\\\r\n]{1,256}"),
    (r"[bBfFrRuU]{0,2}\"", r"(?:[^\"\\\r\n]|\\[^\r\n]){1,256}"),
    (r"[bBfFrRuU]{0,2}'", r"(?:[^'\\\r\n]|\\[^\r\n]){1,256}"),
)
_BARE_CHARS = r"[^\s\"'`,;&<>\\]"
_BARE = rf"(?![bBfFrRuU]{{1,2}}[\"'\\]){_BARE_CHARS}{{1,256}}"
#: A list of passwords: its first.
_LIST = r"(?:\[\s{0,12})?"
_SPACE = r"\s{0,12}"
_NUMBER_END = r"(?![A-Za-z0-9_.])"
_DENSE = r"[A-Za-z0-9+/_.~-]{16,2048}={0,2}"

_NOT_VALUES = frozenset(
    b"none null nil true false undefined str string bytes int integer bool boolean any optional object text "
    b"varchar char required optional must should may is was are the a an and or not for with your yes no "
    b"empty unset missing invalid incorrect wrong expired changed redacted masked hidden removed secret "
    b"password passwd passphrase passcode pwd secretstr self this input prompt getpass env stdin "
    b"example placeholder changeme-please todo tbd".split()
)
_CODE = compile_linear(
    r"[A-Za-z_$][\w$]*(?:\.[A-Za-z_]\w*|->\w+|::\w+|\?\.\w+)*[(\[].*"  # a call or an index
    r"|(?:self|this|os|req|request|config|settings|env|process|args|options|ctx|user|params|data|body|form)"
    r"(?:\.[A-Za-z_]\w*)+"
    r"|\$[A-Z_][A-Z0-9_]*|\$[a-z_]+|\$[({].*|%[sdr]|%\(\w+\)s|%\w+%|\{\{.*|\{.*\}|<.*>"
    r"|:[A-Za-z_]\w*|\?|[*.\-_=xX#]+"
)
_UUID = compile_linear(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_WORDS = compile_linear(r"(?:[A-Za-z]{2,}|\d{1,4})(?:[._/+~-]+(?:[A-Za-z]{2,}|\d{1,4}))*=*")
_CAMEL = compile_linear(r"[A-Za-z]?[a-z]+(?:[A-Z][a-z]+|\d{1,2}[A-Za-z])*\d{0,2}")
_PATH = compile_linear(r"(?:~|\.{0,2})/.*|[A-Za-z]:.*")
_SYMBOL_INSIDE = compile_linear(r"[A-Za-z][!@#$%^&*+=~]\S")
_LETTER = compile_linear(r"[A-Za-z]")


def _is_value(value: bytes) -> bool:
    return value.lower() not in _NOT_VALUES and not _CODE.fullmatch(value)


def _bare(value: bytes) -> int:
    """A bare value without the brackets and full stops that close a sentence or a call around it."""
    if not value.strip(b"[]{}()"):
        return 0  # a list or an object, not a value
    kept = value.rstrip(b".:")
    while kept and kept[-1:] in b")]}" and kept.count(_OPENING[kept[-1:]]) < kept.count(kept[-1:]):
        kept = kept[:-1]
    return len(kept) if kept and _is_value(kept) and _is_value(value) else 0


_OPENING = {b")": b"(", b"]": b"[", b"}": b"{"}


def _quoted(value: bytes) -> int:
    return len(value) if _is_value(value) else 0


def _stated(value: bytes) -> int:
    """A bare value in prose: letters alone are a word of the sentence, not a password."""
    length = _bare(value)
    return length if _made_up(value[:length]) else 0


def _made_up(value: bytes) -> bool:
    """Letters with digits or symbols among them, six at least."""
    mixed = any(48 <= byte <= 57 for byte in value) or _SYMBOL_INSIDE.search(value)
    return bool(mixed and _LETTER.search(value)) and len(value) >= 6


def _pass(value: bytes) -> int:
    """What `pass` is set to: a count, a state and the name of a test case are no passwords."""
    return 0 if _WORDS.fullmatch(value) else _stated(value)


def _secret(value: bytes) -> int:
    """What `secret` is set to, when it is not the name or the place of one."""
    named = _WORDS.fullmatch(value) or _CAMEL.fullmatch(value) or _UUID.fullmatch(value) or _PATH.fullmatch(value)
    return _stated(value) if not named and len(value) >= 8 and any(48 <= byte <= 57 for byte in value) else 0


def _not_path(value: bytes) -> int:
    return 0 if _PATH.fullmatch(value) else _bare(value)


def _user_password(value: bytes) -> int:
    """The second half of `user:password`; numbers are a group id (`docker run -u 1000:1000`)."""
    return 0 if value.isdigit() or b"/" in value[:1] else _bare(value)


def looks_secret(value: bytes) -> bool:
    """Random enough for a value that already stands beside a telling word."""
    if _UUID.fullmatch(value) or _WORDS.fullmatch(value) or _CAMEL.fullmatch(value):
        return False
    return any(48 <= byte <= 57 for byte in value) and entropy(value) >= ENTROPY_FLOOR


def _not_a_path(value: bytes) -> bool:
    return not _PATH.fullmatch(value) and _is_value(value)


def _password(anchor: str, context: str, value: str, check: Check) -> Detector:
    return Detector("PASSWORD", anchor, value, check, context=context)


def _in_quotes(anchor: str, check: Check = _quoted) -> Iterator[Detector]:
    for opening, value in _QUOTES:
        yield _password(anchor, rf"{anchor}[ \t]{{0,3}}{_LIST}{opening}", value, check)


def _passwords() -> Iterator[Detector]:
    equals, colon = _PASSWORD + _EQUALS, _PASSWORD + _COLON
    yield from _in_quotes(equals)
    yield from _in_quotes(colon)
    yield _password(equals, rf"{equals}[ \t]{{0,3}}", _BARE, _bare)
    yield _password(colon, colon, rf"(?!=){_BARE}", _bare)
    # After a colon and a blank: prose unless it looks made up, or ends the line as in YAML.
    yield _password(colon, rf"{colon}[ \t]{{1,3}}", _BARE, _stated)
    yield _password(colon, rf"{colon}[ \t]{{1,3}}", rf"{_BARE}(?=[\r\n]|\Z)", _bare)
    # Digits alone: as a value of JSON, or six at least.
    yield _password(colon, _PASSWORD + r"\\{0,3}[\"'][ \t]{0,3}:[ \t]{0,3}", rf"\d{{3,32}}{_NUMBER_END}", accept)
    yield _password(colon, rf"{colon}[ \t]{{0,3}}", rf"\d{{6,32}}{_NUMBER_END}", accept)
    # Typed in code: `password: SecretStr = "…"`.
    yield from _in_quotes(rf"{_PASSWORD}:[ \t]?[A-Za-z_][\w\[\]|. ]{{0,40}}=")
    # `pwd` is as often the working directory.
    yield from _in_quotes(_PWD + _EQUALS, when(_not_a_path))
    yield from _in_quotes(_PWD + _COLON, when(_not_a_path))
    yield _password(_PWD + _EQUALS, rf"{_PWD}{_EQUALS}[ \t]{{0,3}}", _BARE, _not_path)


def _ambiguous() -> Iterator[Detector]:
    """After words that stand beside other things as well: only what looks made up."""
    for words, check in ((_SHORT, _pass), (_HIDDEN, _secret)):
        for sign in (_EQUALS, _COLON):
            yield from _in_quotes(words + sign, check)
            yield _password(words + sign, rf"{words}{sign}[ \t]{{0,3}}", rf"(?!=){_BARE}", check)
    pin = _PIN + _INDEX + "[=:]"
    yield _password(pin, rf"{pin}[ \t]{{0,3}}[\"'\\]{{0,4}}", rf"\d{{4,8}}{_NUMBER_END}", accept)


def _elsewhere() -> Iterator[Detector]:
    """Passwords on a command line, in SQL, in XML, in a sentence, and for curl."""
    option, stated = rf"--{_PASSWORD}[ ]", _PASSWORD + r"(?i: is| was)"
    yield _password(option, option, rf"[^\s\"'-]{_BARE_CHARS}{{0,256}}", _bare)
    sql = r"(?i:password|identified by)\s{1,3}'"
    yield _password(sql, sql, r"[^'\r\n]{1,256}", _quoted)
    tag = rf"(?:{_PASSWORD}|(?i:pwd|secret))>"
    yield Detector("PASSWORD", tag, r"[^<\s]{1,256}", context=tag + _SPACE, after=_SPACE + "</")
    pin = _PIN + ">"
    yield Detector("PASSWORD", pin, r"\d{4,8}", context=pin + _SPACE, after=_SPACE + "</")
    yield _password(stated, rf"{stated}:?[ ][\"']?", _BARE, _stated)
    user = r"(?:-u|--user)[ =][\"']?[^\s:\"'/]{1,64}:"
    yield _password(user, user, _BARE, _user_password)


# RFC 3986 section 3.2.1: user:password before the @ of a URL's authority.
_USER = r"://[^\s/?#@:\"'<>`]{0,128}:"
_DENSE_ANCHOR = _TELLING + _CLOSE + r"(?:=>|:=|=|:)"
# Tokens and keys that are no secrets, and that an agent has to send back: pages of a list, idempotency, caches, tables.
_PUBLIC = (
    "page|next|sync|skip|sort", "cache|delta", "paging|cursor|resume|public", "primary|foreign", "partition",
    "pagination", "idempotency", "continuation",
)  # fmt: skip
_NOT_PUBLIC = "".join(rf"(?<!(?i:{same_length}))(?<!(?i:{same_length})[_. -])" for same_length in _PUBLIC)
# An element's name; `<Key>` alone is that of any map.
_TAG_WORDS = r"(?i:secret|token|credential|authorization)s?"
_TAG_KEY = r"(?i:key)s?"
_SCHEMES = r"(?i:bearer|basic|apikey|api-key) "
_BASIC = r"(?i:basic) "

DETECTORS: tuple[Detector, ...] = (
    Detector("URL_PASSWORD", _USER + r"[^\s/]", r"[^\s/?#\"'<>`]{1,256}", _quoted, context=_USER, after="@"),
    *_passwords(),
    *_ambiguous(),
    *_elsewhere(),
    Detector(
        "HIGH_ENTROPY",
        _DENSE_ANCHOR,
        _DENSE,
        when(looks_secret),
        context=_NOT_PUBLIC + _DENSE_ANCHOR + r"[ \t]{0,3}[\"'\\]{0,4}",
    ),
    Detector(
        "HIGH_ENTROPY",
        rf"(?:{_TAG_WORDS}|{_TAG_KEY})>",
        _DENSE,
        when(looks_secret),
        context=rf"{_NOT_PUBLIC}(?:{_TAG_WORDS}|(?<![<;:/]){_TAG_KEY})>{_SPACE}",
        after=_SPACE + "</",
    ),
    Detector("HIGH_ENTROPY", _SCHEMES, _DENSE, when(looks_secret), context=_SCHEMES),
    Detector(
        "HIGH_ENTROPY", _BASIC, r"[A-Za-z0-9+/_-]{4,2048}={0,2}(?![A-Za-z0-9+/=])", when(credentials), context=_BASIC
    ),
)
