"""An operation as a syslog message (RFC 5424), and messages on a stream (RFC 6587, octet counting). Pure.

<PRI>1 TIMESTAMP HOSTNAME countersign - OUTCOME - BOM JSON
"""

import re
from datetime import UTC, datetime
from typing import Final

from services.recorder.delivery.messages import Message

#: RFC 5424, table 1: log audit.
FACILITY: Final = 13
#: Table 2: what went through is informational, everything else a warning.
INFORMATIONAL, WARNING = 6, 4
_FINE: Final = frozenset({"forwarded", "deferred", ""})
#: Section 6: PRINTUSASCII without spaces, with each field's greatest length.
_HOSTNAME_LENGTH, _MSGID_LENGTH = 255, 32
_NOT_PRINTABLE: Final = re.compile(r"[^!-~]")
#: Section 6.4: a MSG in UTF-8 begins with the byte order mark.
_BOM: Final = b"\xef\xbb\xbf"


def formatted(message: Message, hostname: str) -> bytes:
    """One message."""
    severity = INFORMATIONAL if message.outcome in _FINE else WARNING
    moment = datetime.fromtimestamp(message.started_ms / 1000, UTC)
    head = (
        f"<{FACILITY * 8 + severity}>1 {moment.strftime('%Y-%m-%dT%H:%M:%S')}.{message.started_ms % 1000:03}Z "
        f"{_field(hostname, _HOSTNAME_LENGTH)} countersign - {_field(message.outcome, _MSGID_LENGTH)} - "
    )
    return head.encode() + _BOM + message.body


def counted(message: bytes) -> bytes:
    """The message with its length before it (RFC 6587, section 3.4.1; RFC 5425, section 4.3)."""
    return str(len(message)).encode() + b" " + message


def _field(text: str, longest: int) -> str:
    return _NOT_PRINTABLE.sub("_", text)[:longest] or "-"
