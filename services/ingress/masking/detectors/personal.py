"""E-mail addresses, telephone numbers and IP addresses."""

from __future__ import annotations

import ipaddress
import re

from services.ingress.masking.detectors.detector import Detector, when

# RFC 5321 section 4.5.3.1 bounds: 64 characters before the @, 63 per label; quoted local parts are not looked for.
_LOCAL = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._%+'-"
_START = r"[A-Za-z0-9_][A-Za-z0-9._%+'-]{0,63}@"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
# What follows tells a place (`git@host:path`) from an address.
_EMAIL = rf"{_START}{_LABEL}(?:\.{_LABEL}){{1,6}}[:/]?"
_FORGES = re.compile(rb"(?i)(?:ssh\.)?(?:git|bitbucket|codeberg)")
# o'brien, sean.d'arcy; any other quote is one, as in `b'bob@example.com'`.
_ELIDED = re.compile(rb"(?:\A|['._%+-])[DLMNOTdlmnot]\Z")
_FILES = frozenset(b"png jpg jpeg gif svg webp ico css js ts html htm json map py md".split())

_PHONE_WORDS = r"(?i:phone|mobile|telephone|tel|cell|fax|whatsapp|sms|call(?: me)?(?: at| on)?)"


def _address(run: bytes) -> int:
    """Where in what precedes an @ the address begins: after two dots, and after a quote that is no name's."""
    start = run.rfind(b"..") + 2 if b".." in run else 0
    quote = run.rfind(b"'")
    if quote >= start:
        is_name = _ELIDED.search(run[start:quote])
        start = max(start, run.rfind(b"'", 0, quote) + 1) if is_name else quote + 1
    return len(run) - len(run[start:].lstrip(b".%+-"))


def _mailbox(value: bytes) -> int:
    """The address up to its last label that can be a top-level domain: letters, at least two."""
    address = value.rstrip(b":/")
    labels = address.split(b".")
    local, _, _ = address.partition(b"@")
    while len(labels) > 1 and not (labels[-1].isalpha() and len(labels[-1]) > 1):
        labels.pop()
    kept = b".".join(labels)
    domain = kept[len(local) + 1 :]
    if b"." not in domain or (local == b"git" and (address != value or _FORGES.match(domain))):
        return 0
    return 0 if labels[-1].lower() in _FILES and re.match(rb"\d", domain) else len(kept)


def _digits(value: bytes) -> int:
    return sum(48 <= byte <= 57 for byte in value)


def _phone(value: bytes) -> bool:
    """E.164: at most fifteen digits. Fewer than eight are an extension or a code."""
    return 8 <= _digits(value) <= 15 and len({byte for byte in value if 48 <= byte <= 57}) > 2


def _local_phone(value: bytes) -> bool:
    return 7 <= _digits(value) <= 15 and not re.fullmatch(rb"(?:19|20)\d\d-?\d\d-?\d\d", value)


def _ipv4(value: bytes) -> bool:
    """An address of a host: not the loopback, a mask, or a version that merely has four numbers."""
    try:
        address = ipaddress.IPv4Address(value.decode("ascii"))
    except ValueError:
        return False
    return not (address.is_loopback or address.is_unspecified or address.is_multicast or value[:4] == b"255.")


def _ipv6(value: bytes) -> bool:
    """Global (2000::/3), unique local or link local: the ranges that hosts have; `dead::beef` is code."""
    try:
        address = ipaddress.IPv6Address(value.decode("ascii"))
    except ValueError:
        return False
    first = int(address) >> 112
    return 0x2000 <= first <= 0x3FFF or 0xFC00 <= first <= 0xFDFF or 0xFE80 <= first <= 0xFEBF


DETECTORS: tuple[Detector, ...] = (
    Detector(
        "EMAIL",
        r"[A-Za-z0-9._%+-]@[A-Za-z0-9]",
        _EMAIL,
        _mailbox,
        back=_LOCAL,
        begin=_address,
        opening=_START,
    ),
    Detector(
        "PHONE",
        r"\+[1-9][\d ().-]{7}",
        r"(?<![A-Za-z0-9_+])\+[1-9](?:[ ().-]{0,2}\d){7,14}(?![A-Za-z0-9_])",
        when(_phone),
    ),
    # North American: an area code in brackets or set off by the same sort of mark as the exchange.
    Detector(
        "PHONE",
        r"[2-9]\d{2}[.-][2-9]\d{2}[ .-]\d{4}",
        r"(?<![_.-])[2-9]\d{2}[.-][2-9]\d{2}[ .-]\d{4}(?![A-Za-z0-9_-])",
        when(_phone),
        whole_word=True,
    ),
    Detector(
        "PHONE",
        r"\([2-9]\d{2}\) ?[2-9]\d{2}[ .-]\d{4}",
        r"\([2-9]\d{2}\) ?[2-9]\d{2}[ .-]\d{4}(?![A-Za-z0-9_-])",
        when(_phone),
    ),
    Detector(
        "PHONE",
        r"\b" + _PHONE_WORDS + r"[^A-Za-z]",
        r"\(?\d(?:[ ().-]{0,2}\d){6,14}(?![A-Za-z0-9_])",
        when(_local_phone),
        context=r"\b" + _PHONE_WORDS + r"(?i: ?(?:number|no|nr|is))?[^A-Za-z0-9\n(+]{1,6}",
    ),
    Detector(
        "IP_ADDRESS",
        r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d",
        r"(?<![_.-])(?<!ersion )(?<!ersion: )(?<!ersion=)\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?![A-Za-z0-9_-])",
        when(_ipv4),
        after=r"(?:\.(?!\d)|(?!\.))",
        whole_word=True,
    ),
    Detector(
        "IP_ADDRESS",
        r"[23fF][0-9A-Fa-f]{3}:[0-9A-Fa-f]{0,4}:",
        r"(?<![_:.])[23fF][0-9A-Fa-f]{3}:(?:[0-9A-Fa-f]{0,4}:){1,7}[0-9A-Fa-f]{0,4}(?![A-Za-z0-9_:])",
        when(_ipv6),
        whole_word=True,
    ),
)
