"""`make bench`: what identification, judgement and a full, durable audit cost per request.

Direct to the upstream, through a bare aiohttp proxy, and through the whole pipeline (`countersign up` with all four
services and NATS), in turn within one run, with one and with 32 clients; a 600-byte POST. The table gives medians
over the rounds and ratios, since a shared machine's absolute numbers drift; under it stands how much processor time
each service took for a request.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from bench.load import Result, run
from bench.processors import Services

BODY = json.dumps({"note": "x" * 540, "amount": 4200, "currency": "EUR"}).encode()
POLICY = """\
rules:
  - name: agents-may-call
    when: connector.name == "vendor" && "agents" in identity.groups
    allow: true
  - name: refunds-need-a-person
    when: connector.name == "vendor" && operation.path.startsWith("/v1/refunds")
    approve: {by: [support]}
  - name: never-delete
    when: action == "http.delete"
    deny: deletions are not for agents
"""


def settings(upstream: str, sync: str) -> str:
    """The settings file of the measured instance."""
    return f"""\
listen: {{http: "127.0.0.1:0", clickhouse: "127.0.0.1:0", policy: "127.0.0.1:0", approver: "127.0.0.1:0",
         recorder: "127.0.0.1:0"}}
connectors:
  vendor: {{protocol: http, upstream: "{upstream}", inject: {{header: Authorization, value: Bearer vendor-key}}}}
nats: {{sync: {sync}}}
telemetry: {{log: json, level: warning}}
"""


#: The path through the services.
PIPELINE = "countersign, full audit"


@dataclass
class Measured:
    """What the rounds gave by path and clients; by clients, the services' processor seconds for so many requests."""

    results: dict[tuple[str, int], list[Result]] = field(default_factory=dict)
    seconds: dict[int, dict[str, float]] = field(default_factory=dict)
    requests: dict[int, int] = field(default_factory=dict)

    def add(self, name: str, clients: int, result: Result, seconds: dict[str, float]) -> None:
        """One round of one path; `seconds` are empty where it leads past the services."""
        self.results.setdefault((name, clients), []).append(result)
        if seconds:
            total = self.seconds.setdefault(clients, dict.fromkeys(seconds, 0.0))
            for service, spent in seconds.items():
                total[service] += spent
            self.requests[clients] = self.requests.get(clients, 0) + len(result.latencies)


@contextmanager
def process(*arguments: str) -> Iterator[str]:
    """A child process; yields its first line of output, ends it afterwards."""
    child = subprocess.Popen([sys.executable, "-m", *arguments], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout
        line = child.stdout.readline().strip()
        if not line:
            raise SystemExit(f"{arguments[0]} did not start")
        yield line
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(30)


def token(data: Path) -> str:
    """An agent's token of the measured instance."""
    command = [sys.executable, "-m", "countersign", "token", "--subject", "bench", "--groups", "agents"]
    done = subprocess.run([*command, "--data", str(data)], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def measure(targets: dict[str, str], bearer: str, services: Services, rounds: int, seconds: float) -> Measured:
    """Every target in turn, `rounds` times, after one short warm-up each."""
    measured = Measured()
    for url in targets.values():
        uvloop.run(run(url, bearer, 4, 1.0, BODY))
    for number in range(rounds):
        for clients in (1, 32):
            for name, url in targets.items():
                services.settle()
                before = services.seconds()
                result = uvloop.run(run(url, bearer, clients, seconds, BODY))
                if result.errors:
                    raise SystemExit(f"{name}: {result.errors} of {len(result.latencies)} requests failed")
                if name == PIPELINE:
                    services.settle()
                after = services.seconds() if name == PIPELINE else {}
                measured.add(name, clients, result, {each: after[each] - before[each] for each in after})
                print(f"round {number + 1}: {name}, {clients} clients: {result.per_second:,.0f}/s", file=sys.stderr)
    return measured


def table(results: dict[tuple[str, int], list[Result]], names: list[str]) -> str:
    """Medians over the rounds, as Markdown."""
    lines = ["| path | clients | p50 ms | p99 ms | requests/s | added p50 ms | share of the bare proxy |", "|---|" * 1]
    lines[1] = "|---|---:|---:|---:|---:|---:|---:|"
    for clients in (1, 32):
        for name in names:
            rounds = results[name, clients]
            p50, p99 = _median(rounds, 0.5), _median(rounds, 0.99)
            added = statistics.median(
                each.percentile(0.5) - direct.percentile(0.5)
                for each, direct in zip(rounds, results["direct", clients], strict=True)
            )
            share = statistics.median(
                each.per_second / bare.per_second
                for each, bare in zip(rounds, results["bare aiohttp proxy", clients], strict=True)
            )
            rate = statistics.median(each.per_second for each in rounds)
            lines.append(f"| {name} | {clients} | {p50:.2f} | {p99:.2f} | {rate:,.0f} | {added:+.2f} | {share:.2f} |")
    return "\n".join(lines)


def processors(measured: Measured) -> str:
    """Milliseconds of processor time a request, by service."""
    lines = ["| clients | " + " | ".join(sorted(measured.seconds[1])) + " |"]
    lines.append("|---:" * (len(measured.seconds[1]) + 1) + "|")
    for clients, seconds in sorted(measured.seconds.items()):
        each = (f"{seconds[name] / measured.requests[clients] * 1000:.3f}" for name in sorted(seconds))
        lines.append(f"| {clients} | " + " | ".join(each) + " |")
    return "\n".join(lines)


def _median(rounds: list[Result], share: float) -> float:
    return statistics.median(result.percentile(share) for result in rounds)


def main() -> None:
    """Run it all and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="per target, client count and round")
    parser.add_argument("--sync", choices=["default", "always"], default="default", help="JetStream's sync_interval")
    given = parser.parse_args()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="countersign-bench-")))
        upstream = stack.enter_context(process("bench.servers", "upstream"))
        bare = stack.enter_context(process("bench.servers", "proxy", upstream))
        (directory / "countersign.yaml").write_text(settings(upstream, given.sync))
        (directory / "policy.yaml").write_text(POLICY)
        data = directory / "data"
        config = str(directory / "countersign.yaml")
        up = stack.enter_context(process("countersign", "up", "--json", "--config", config, "--data", str(data)))
        gateway = json.loads(up)["http"]
        targets = {
            "direct": f"{upstream}/v1/charges",
            "bare aiohttp proxy": f"{bare}/v1/charges",
            PIPELINE: f"{gateway}/vendor/v1/charges",
        }
        measured = measure(targets, token(data), Services.find(), given.rounds, given.seconds)
    print(
        f"600-byte POST, {os.cpu_count()} cores for everything, {given.rounds} rounds of {given.seconds:g} s, "
        f"JetStream sync {given.sync}\n"
    )
    print(table(measured.results, list(targets)))
    print("\nProcessor time a request, ms (the recorder's with what it does after the load has ended):\n")
    print(processors(measured))


if __name__ == "__main__":
    main()
