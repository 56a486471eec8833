"""docs/operators.md against the code: every setting with its default, every metric it names, every file it mentions."""

import re
import subprocess
import sys

from prometheus_client import CollectorRegistry

from services.approver.metrics import Metrics as ApproverMetrics
from services.ingress.metrics import Metrics as IngressMetrics
from services.policy.metrics import Metrics as PolicyMetrics
from services.recorder.metrics import make_metrics
from services.runtime.settings.yaml_source import parse
from tests.deploy.conftest import ROOT
from tests.deploy.settings_keys import every_key

TEXT = (ROOT / "docs/operators.md").read_text()
ROW = re.compile(r"^\| `([^`]+)` \| `([^`]+)` \| (.+) \|$", re.MULTILINE)


def test_every_setting_is_documented_with_its_default() -> None:
    documented = [(key, default) for key, default, _ in ROW.findall(TEXT)]
    assert sorted(documented) == sorted(every_key())


def test_every_metric_it_names_exists() -> None:
    registries = [CollectorRegistry() for _ in range(4)]
    for registry, make in zip(registries, (IngressMetrics, PolicyMetrics, ApproverMetrics, make_metrics), strict=True):
        make(registry)
    known = {
        name
        for registry in registries
        for family in registry.collect()
        for name in (family.name, f"{family.name}_total" if family.type == "counter" else family.name)
    }
    assert set(re.findall(r"countersign_\w+", TEXT)) <= known


def test_its_anchors_lead_somewhere() -> None:
    headings = {re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^#+ (.+)$", TEXT, re.M)}
    assert set(re.findall(r"\]\(#([^)]+)\)", TEXT)) <= headings


def test_the_files_it_mentions_are_there() -> None:
    for path in re.findall(r"`((?:deploy|docs)/[\w./-]+\.\w+)`", TEXT):
        assert (ROOT / path).exists(), path


def test_its_examples_are_yaml_that_the_loader_takes(tmp_path_factory: object) -> None:
    from services.policy.rules import parse_policy
    from services.runtime.settings.load import from_source

    settings, policy = re.findall(r"```yaml\n(.+?)```", TEXT, re.DOTALL)
    assert from_source(parse(settings)).connectors.keys() == {"openai"}
    assert len(parse_policy(policy).rules) == 1


def test_the_commands_it_names_exist() -> None:
    for command in sorted(
        set(re.findall(r"`countersign ((?:up|token|approvals|audit|policy)(?: (?:list|sql|apply|test))?)\b", TEXT))
    ):
        asked = subprocess.run(
            [sys.executable, "-m", "countersign", *command.split(), "--help"],
            cwd=ROOT,
            capture_output=True,
            check=False,
        )
        assert asked.returncode == 0, command
