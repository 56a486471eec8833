"""What an operator sees of the policy service on `/-/metrics`."""

from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from schemas.verdicts import Verdict

#: From 10 µs (a small policy) to the gate's patience of about a second.
_BUCKETS = (1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 5e-3, 2.5e-2, 0.1, 0.5, 1.0)


class Metrics:
    """The service's own metrics; FastStream adds those of the bus."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, words: str, *labels: str) -> Counter:
            return Counter(f"countersign_policy_{name}", words, labels, registry=registry)

        def gauge(name: str, words: str, *labels: str) -> Gauge:
            return Gauge(f"countersign_policy_{name}", words, labels, registry=registry)

        self._verdicts = counter("verdicts", "Verdicts, by decision and by each rule that decided.", "decision", "rule")
        self._count = cache(self._verdicts.labels)  # looking a label set up costs more than counting
        self._rule_errors = counter("rule_errors", "Rules that could not be evaluated, and so denied.", "rule")
        self.malformed = counter("malformed_attempts", "Attempts that could not be read; they get no verdict.")
        self.unasked = counter("unasked", "Holds without a verdict: the question for people was not stored.")
        self.refused = counter("refused_documents", "Policies and grants in the buckets that could not be used.")
        self.seconds = Histogram(
            "countersign_policy_evaluation_seconds", "Time to judge one attempt.", buckets=_BUCKETS, registry=registry
        )
        self._info = gauge("info", "1 for the version of the policy in force.", "version")
        self.rules = gauge("rules", "Rules in the policy in force.")
        self.grants = gauge("grants", "Time-boxed approvals in force.")

    def count(self, verdict: Verdict, failed: tuple[str, ...]) -> None:
        """Count one verdict."""
        for rule in verdict.rules or ("none",):
            self._count(verdict.decision.value, rule).inc()
        for rule in failed:
            self._rule_errors.labels(rule).inc()

    def in_force(self, version: str | None, rules: int) -> None:
        """Another policy is in force, or none."""
        self._info.clear()
        if version is not None:
            self._info.labels(version).set(1)
        self.rules.set(rules)
