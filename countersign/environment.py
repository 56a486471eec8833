"""What each child may see of our environment: its own secrets and nobody else's (G3).

A service gets what any program needs, its own NATS user, and the variables that `${env:NAME}` names in the sections
of the settings it reads. So the policy service never holds a model provider's key, nor the ingress Slack's.
"""

import os
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from services.runtime.settings import Secret, Settings

#: Where programs, certificates, locales, zones and temporary files are. No credential belongs in these.
_BASICS = frozenset(
    (
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP", "VIRTUAL_ENV"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "NO_COLOR", "FORCE_COLOR", "TERM", "COLUMNS"),
    )
)
#: Locale categories, Python's own switches, and OpenTelemetry's exporter (services/runtime/telemetry.py).
_BASIC_PREFIXES = ("LC_", "PYTHON", "OTEL_")
#: Proxies may carry credentials in their address: only for services that dial out over HTTP.
_PROXIES = frozenset(
    name for upper in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY") for name in (upper, upper.lower())
)


def basics(service: str, environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a child of any kind gets. `environment` is ours by default."""
    ours = os.environ if environment is None else environment
    allowed = _BASICS if service == "policy" else _BASICS | _PROXIES
    return {name: value for name, value in ours.items() if name in allowed or name.startswith(_BASIC_PREFIXES)}


def secrets(service: str, settings: Settings, environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables named by the sections this service reads, as far as they are set."""
    ours = os.environ if environment is None else environment
    return {name: ours[name] for name in sorted(names(_sections(service, settings))) if name in ours}


def names(value: Any) -> frozenset[str]:
    """Environment variables that the secrets anywhere inside a settings value need."""
    return frozenset(name for secret in _secrets_in(value) for name in secret.environment)


def _sections(service: str, settings: Settings) -> Any:
    return {"ingress": settings.connectors, "approver": settings.approvals, "recorder": settings.audit}.get(service)


def _secrets_in(value: Any) -> Iterator[Secret]:
    match value:
        case Secret():
            yield value
        case BaseModel():
            for name in type(value).model_fields:
                yield from _secrets_in(getattr(value, name))
        case Mapping():
            for inner in value.values():
                yield from _secrets_in(inner)
        case tuple() | list() | set() | frozenset():
            for inner in value:
                yield from _secrets_in(inner)
