"""The kinds of value that stand in `countersign.yaml`: durations, sizes, addresses and secrets."""

import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

_DURATION = re.compile(r"^(\d{1,15}(?:\.\d{1,15})?)(ms|s|m|h|d)$")
_DURATION_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZE = re.compile(r"^(\d{1,19})\s*(B|KiB|MiB|GiB)?$")
#: Ten years, in seconds: more is a slip of the pen, and beyond what timers and JetStream take.
LONGEST = 3650 * 86400
#: What a signed 64-bit number holds.
LARGEST = 2**63 - 1
_SIZE_UNITS = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_PORT = re.compile(r"^[0-9]{1,5}$")
_REFERENCE = re.compile(r"\$\{(env|file):([^}]+)\}")


class Section(BaseModel):
    """Base of every part of the settings: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


def seconds(value: Any) -> float:
    """`300s`, `15m`, `1h`, `250ms` or a number of seconds, as seconds. Raises ValueError."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LONGEST:
        return float(value)
    if isinstance(value, str) and (found := _DURATION.match(value.strip())):
        return seconds(float(found[1]) * _DURATION_UNITS[found[2]])
    raise ValueError("write a duration such as 250ms, 30s, 15m, 1h or 7d")


def size(value: Any) -> int:
    """`256KiB`, `10MiB` or a number of bytes, as bytes. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST:
        return value
    if isinstance(value, str) and (found := _SIZE.match(value.strip())):
        return size(int(found[1]) * _SIZE_UNITS[found[2] or "B"])
    raise ValueError("write a size such as 65536, 256KiB, 10MiB or 1GiB")


Seconds = Annotated[float, BeforeValidator(seconds)]
Size = Annotated[int, BeforeValidator(size)]


class Address(Section):
    """`host:port`; port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, value: Any) -> Any:
        """`127.0.0.1:8080` or `[::1]:8080` to an Address. Raises ValueError."""
        if isinstance(value, cls):
            return value
        host, colon, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
        if not colon or not _PORT.match(port) or int(port) > 65535:
            raise ValueError("write an address such as 127.0.0.1:8080")
        return cls(host=host.strip("[]") or "127.0.0.1", port=int(port))


ListenAddress = Annotated[Address, BeforeValidator(Address.parse)]


class SecretMissing(Exception):
    """A `${env:…}` or `${file:…}` that leads nowhere; the message says what to do, never a value."""


class Secret:
    """Text that may hold `${env:NAME}` and `${file:/path}`; read only when and where it is needed (G3).

    Its repr and str show the references, never what they stand for.
    """

    __slots__ = ("template",)

    def __init__(self, template: str) -> None:
        self.template = template

    def reveal(self) -> str:
        """The text with every reference replaced. Raises SecretMissing."""
        return _REFERENCE.sub(lambda found: _lookup(found[1], found[2]), self.template)

    @property
    def environment(self) -> frozenset[str]:
        """Names of the environment variables it needs."""
        return frozenset(name for kind, name in _REFERENCE.findall(self.template) if kind == "env")

    def __repr__(self) -> str:
        return f"Secret({_REFERENCE.findall(self.template)!r})"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.template == self.template

    def __hash__(self) -> int:
        return hash(self.template)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        from_text = core_schema.no_info_after_validator_function(cls, core_schema.str_schema())
        return core_schema.union_schema([core_schema.is_instance_schema(cls), from_text])


def _lookup(kind: str, name: str) -> str:
    if kind == "env":
        if (value := os.environ.get(name)) is not None:
            return value
        raise SecretMissing(f"the environment variable {name} is not set; export it and start again")
    try:
        return Path(name).read_text(encoding="utf-8").rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise SecretMissing(f"the secret file {name} cannot be read ({reason}); create it or mend its rights") from None
