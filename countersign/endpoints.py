"""Where an instance listens: what `up` writes to `endpoints.json`, and what it prints for people.

Keys as under `listen`, plus `nats`. Fronts that speak HTTP are base URLs (`http://127.0.0.1:8080`), NATS is
`nats://…`; PostgreSQL's front is `host:port`.
"""

from collections.abc import Mapping, Sequence

from services.runtime.settings import Address, Settings

Endpoints = dict[str, str]

#: Where a process that listens everywhere is reached from this machine.
_LOCAL = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - recognised, not bound


def url(address: str, scheme: str = "http") -> str:
    """The base URL of a listening `host:port`, as this machine reaches it; without a scheme, `host:port` again."""
    parsed = Address.parse(address)
    reached = str(Address(host=_LOCAL.get(parsed.host, parsed.host), port=parsed.port))
    return f"{scheme}://{reached}" if scheme else reached


def of(listening: Mapping[str, str], settings: Settings, nats: str) -> Endpoints:
    """All endpoints of an instance, from what its services announced."""
    schemes = {"http": "https" if settings.listen.tls else "http", "postgres": ""}
    found = {name: url(address, schemes.get(name, "http")) for name, address in listening.items()}
    order = [name for name in type(settings.listen).model_fields if name in found]
    return {name: found[name] for name in order} | {"nats": nats}


def summary(endpoints: Endpoints, settings: Settings, data: str, ca: str | None, reviewers: Sequence[str]) -> str:
    """What a person needs next: where everything listens, and lines to copy for agent, `reviewers` and auditor."""
    option = "" if data == "data" else f" --data {data}"
    lines = ["Countersign is ready.", ""]
    lines += [f"  {name:<11}{address}{_note(name)}" for name, address in endpoints.items()]
    lines += ["", *_agent(endpoints, settings, option, ca), "", *_people(endpoints, option, reviewers)]
    return "\n".join(lines)


def _note(name: str) -> str:
    notes = {"http": "agents connect here", "postgres": "and here, to databases"}
    notes |= {"clickhouse": "the audit, read-only SQL"}
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
    if others := [name for name in _named(settings, "http") if name != _model_provider(settings)]:
        lines.append(f"  other connectors: {', '.join(f'/{name}/' for name in others)}")
    if "postgres" in endpoints:
        host, _, port = endpoints["postgres"].rpartition(":")
        place = f"host={host.strip('[]')} port={port} dbname={_named(settings, 'postgres')[0]} user=my-agent"
        lines += ["To a database, with the token as the password:"]
        lines += [f'  PGPASSWORD="$OPENAI_API_KEY" psql "{place}"']
    return lines


def _people(endpoints: Endpoints, option: str, reviewers: Sequence[str]) -> list[str]:
    groups = f" --groups {','.join(reviewers)}" if reviewers else ""
    lines = [
        "To decide what waits for a person:",
        f'  export COUNTERSIGN_TOKEN="$(countersign token --subject you --kind human{groups}{option})"',
        f"  countersign approvals list{option}",
    ]
    if "clickhouse" in endpoints:
        query = "SELECT started_at, subject, action, decision, outcome FROM operations ORDER BY started_at"
        lines += ["To read the audit:", f'  countersign audit sql "{query}" --format PrettyCompact{option}']
    return lines


def _model_provider(settings: Settings) -> str:
    """The connector most likely to be the model's: the one called openai, else the first."""
    found = _named(settings, "http")
    return "openai" if "openai" in found else next(iter(found), "CONNECTOR")


def _named(settings: Settings, protocol: str) -> list[str]:
    """The connectors that speak this protocol."""
    return [name for name, connector in settings.connectors.items() if connector.protocol == protocol]
