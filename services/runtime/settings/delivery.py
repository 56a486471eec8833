"""`audit.deliver:` of `countersign.yaml`: who gets every finished operation as it is recorded, such as a SIEM."""

from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from schemas.base import Name
from services.runtime.settings.values import Seconds, Secret, Section, Size

#: Schemes of `to`, with the port each means.
SCHEMES = {"https": 443, "http": 80, "syslog+tls": 6514, "syslog+tcp": 601, "syslog+udp": 514}
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def _receiver(value: str) -> str:
    """An address of a kind we speak. Raises ValueError."""
    parts = urlsplit(value)
    if parts.scheme not in SCHEMES or not parts.hostname or parts.username or parts.fragment:
        raise ValueError("write https://host/path, syslog+tls://host, syslog+tcp://host or syslog+udp://host")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise ValueError("write https://; plain http:// is for this machine only")
    if parts.scheme.startswith("syslog") and (parts.path.strip("/") or parts.query):
        raise ValueError("write syslog+tls://host:port, without a path")
    _ = parts.port  # raises ValueError when it is none
    return value


Receiver = Annotated[str, AfterValidator(_receiver)]


class DeliverySettings(Section):
    """One receiver. What it has taken is remembered under its name."""

    name: Name
    to: Receiver
    #: `ocsf`: events of the Open Cybersecurity Schema Framework; `operations`: rows as the view has them.
    format: Literal["ocsf", "operations"] = "ocsf"
    #: `whsec_…`, with which POSTs are signed (Standard Webhooks).
    secret: Secret | None = None
    #: Fields of the POSTs' heads, such as the receiver's own token.
    headers: dict[str, Secret] = Field(default_factory=dict)
    #: PEM bundle to verify it with, instead of the system's.
    ca: Path | None = None
    #: Where a receiver begins that has taken nothing yet.
    start: Literal["now", "beginning"] = "now"
    #: Operations sent at once.
    batch: int = Field(default=200, ge=1, le=5000)
    #: Bytes of one operation; what is larger goes without its content, and says so.
    largest: Annotated[Size, Field(ge=2048, le=1024 * 1024)] = 64 * 1024
    #: To connect and be answered.
    timeout: Annotated[Seconds, Field(gt=0, le=300)] = 15

    @property
    def over_http(self) -> bool:
        """Whether it takes POSTs."""
        return self.to.startswith("http")

    @model_validator(mode="after")
    def _authenticated(self) -> Self:
        if self.over_http and self.secret is None:
            raise ValueError("set secret (whsec_…): what is posted is signed with it")
        if not self.over_http and (self.secret is not None or self.headers):
            raise ValueError("secret and headers are for https://; syslog has neither")
        return self
