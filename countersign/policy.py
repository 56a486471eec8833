"""`countersign policy`: check a policy file, test it against cases, put it in force.

Counterpart: services/policy, whose own functions do all three; every mistake is printed with its line and column.
"""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from countersign.errors import CommandError, Misuse
from countersign.policy_file import applier
from countersign.where import DataOption, data_dir
from services.policy.cases import run_cases
from services.policy.check import load as load_policy
from services.policy.document import PolicyRefused
from services.runtime.data_dir import DataDir
from services.runtime.nats.client import BusAddress, address
from services.runtime.settings import SettingsError, load
from services.runtime.settings.model import NatsSettings

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)

PolicyFile = Annotated[Path, typer.Argument(metavar="FILE", help="The policy, such as policy.yaml.")]
DEFAULT_CONFIG = Path("countersign.yaml")


@app.callback()
def _policy() -> None:
    """Check, test and apply a policy."""


@app.command()
def check(file: PolicyFile, data: DataOption = None) -> None:
    """Say what is wrong with a policy, or that nothing is."""
    try:
        policy = load_policy(file)
    except PolicyRefused as error:
        raise CommandError(*error.problems) from None
    rules = len(policy.rules)
    print(f"{file}: {rules} {'rule' if rules == 1 else 'rules'}, version {policy.version}")


@app.command("test")
def judge(
    file: PolicyFile,
    cases: Annotated[Path, typer.Argument(metavar="CASES", help="Operations in, decisions out, in YAML.")],
    data: DataOption = None,
) -> None:
    """Judge the cases by the policy, and say which came out differently."""
    try:
        report = run_cases(file, cases)
    except PolicyRefused as error:
        raise CommandError(*error.problems) from None
    print("\n".join(report.lines()))
    if not report.passed:
        raise typer.Exit(CommandError.status)


@app.command("apply")
def apply_(
    file: PolicyFile,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Settings that name the bus.", show_default=str(DEFAULT_CONFIG))
    ] = None,
    data: DataOption = None,
) -> None:
    """Put a policy in force, in all copies of the policy service at once."""
    version = asyncio.run(applier(bus_address(config, data_dir(data)))(file))
    print(f"{file}: in force, version {version}")


def bus_address(config: Path | None, data: DataDir) -> BusAddress:
    """The bus the settings name, as admin; without settings, that of the embedded instance. Raises Misuse."""
    try:
        if config is None and not DEFAULT_CONFIG.exists():
            return address("admin", NatsSettings(), data)
        return address("admin", load(config or DEFAULT_CONFIG).nats, data)
    except SettingsError as error:
        raise Misuse(str(error)) from None
