"""Where an instance listens: what `up` writes to `endpoints.json`, and what it prints for people.

Keys as under `listen`, plus `nats`. Fronts that speak HTTP are base URLs (`http://127.0.0.1:8080`), NATS is
`nats://…`; another protocol's front would be `host:port`.
"""

from collections.abc import Mapping

from services.runtime.settings import Address, Settings

Endpoints = dict[str, str]

#: Where a process that listens everywhere is reached from this machine.
_LOCAL = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - recognised, not bound


def url(address: str, scheme: str = "http") -> str:
    """The base URL of a listening `host:port`, as this machine reaches it."""
    parsed = Address.parse(address)
    return f"{scheme}://{Address(host=_LOCAL.get(parsed.host, parsed.host), port=parsed.port)}"


def of(listening: Mapping[str, str], settings: Settings, nats: str) -> Endpoints:
    """All endpoints of an instance, from what its services announced."""
    http = "https" if settings.listen.tls else "http"
    found = {name: url(address, http if name == "http" else "http") for name, address in listening.items()}
    order = [name for name in type(settings.listen).model_fields if name in found]
    return {name: found[name] for name in order} | {"nats": nats}


def summary(endpoints: Endpoints, settings: Settings, data: str, ca: str | None) -> str:
    """What a person needs next: where everything listens, and lines to copy for an agent and an auditor."""
    option = "" if data == "data" else f" --data {data}"
    lines = ["Countersign is ready.", ""]
    lines += [f"  {name:<11}{address}{_note(name)}" for name, address in endpoints.items()]
    lines += ["", *_agent(endpoints, settings, option, ca), "", *_people(endpoints, option)]
    return "\n".join(lines)


def _note(name: str) -> str:
    notes = {"http": "agents connect here", "clickhouse": "the audit, read-only SQL"}
    return f"   {notes[name]}" if name in notes else ""


def _agent(endpoints: Endpoints, settings: Settings, option: str, ca: str | None) -> list[str]:
    lines = ["An agent needs no key, only a token and this address:"]
    if settings.identity.accepts_local:
        lines.append(f'  export OPENAI_API_KEY="$(countersign token --subject my-agent --groups agents{option})"')
    else:
        lines.append('  export OPENAI_API_KEY="a token of your identity provider"')
    lines += [f"  export OPENAI_BASE_URL={endpoints['http']}/{_model_provider(settings)}/v1"]
    if ca:
        lines.append(f"  export SSL_CERT_FILE={ca}")
    if others := [name for name in settings.connectors if name != _model_provider(settings)]:
        lines.append(f"  other connectors: {', '.join(f'/{name}/' for name in others)}")
    return lines


def _people(endpoints: Endpoints, option: str) -> list[str]:
    lines = [
        "To decide what waits for a person:",
        f'  export COUNTERSIGN_TOKEN="$(countersign token --subject you --kind human --groups reviewers{option})"',
        f"  countersign approvals list{option}",
    ]
    if "clickhouse" in endpoints:
        query = "SELECT started_at, subject, action, decision, outcome FROM operations ORDER BY started_at"
        lines += ["To read the audit:", f'  countersign audit sql "{query}" --format PrettyCompact{option}']
    return lines


def _model_provider(settings: Settings) -> str:
    """The connector most likely to be the model's: the one called openai, else the first."""
    return "openai" if "openai" in settings.connectors else next(iter(settings.connectors), "CONNECTOR")
