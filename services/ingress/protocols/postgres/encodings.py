"""The session's `client_encoding` as Python reads it: what is judged must be what the server will read.

In some encodings a byte below 0x80 may be half of a character (`0x5c` in SJIS is a backslash or not), so that a text
read in another encoding has its quotes in other places. Those are only taken as plain ASCII. Counterpart: PostgreSQL
documentation, "Character Set Support"; the server tells the encoding by ParameterStatus.
"""

from collections.abc import Mapping

from services.ingress.errors import AgentError

_ISO = {1: 1, 2: 2, 3: 3, 4: 4, 5: 9, 6: 10, 7: 13, 8: 14, 9: 15, 10: 16}
#: Encodings in which every byte below 0x80 is that ASCII character, by PostgreSQL's names.
_CODECS: Mapping[str, str] = {
    "UTF8": "utf-8",
    "SQL_ASCII": "utf-8",
    "EUC_JP": "euc_jp",
    "EUC_KR": "euc_kr",
    "EUC_CN": "gb2312",
    "KOI8R": "koi8_r",
    "KOI8U": "koi8_u",
    **{f"LATIN{latin}": f"iso8859_{iso}" for latin, iso in _ISO.items()},
    **{f"ISO_8859_{iso}": f"iso8859_{iso}" for iso in (5, 6, 7, 8)},
    **{f"WIN{page}": f"cp{page}" for page in (866, 874, *range(1250, 1259))},
}


class Unreadable(AgentError):
    """A text that the gateway cannot be sure to read as the server does."""


def decode(data: bytes, settings: Mapping[str, str]) -> str:
    """A text of the session. Raises Unreadable."""
    codec = _CODECS.get(settings.get("client_encoding", "UTF8").upper(), "ascii")
    try:
        return data.decode(codec)
    except UnicodeDecodeError:
        raise Unreadable(400, "unreadable", "the text is not valid in this session's client_encoding") from None


def encode(text: str, settings: Mapping[str, str]) -> bytes:
    """Our own words, and what was masked, in the session's encoding; what it lacks becomes `?`."""
    codec = _CODECS.get(settings.get("client_encoding", "UTF8").upper(), "ascii")
    return text.encode(codec, "replace")


def lossy(data: bytes, settings: Mapping[str, str]) -> str:
    """A text of the server's, for masking and the record; what is not valid is shown as such."""
    codec = _CODECS.get(settings.get("client_encoding", "UTF8").upper(), "ascii")
    return data.decode(codec, "replace")
