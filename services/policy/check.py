"""`countersign policy check`: what is wrong with a policy file, and where. Counterpart: countersign's command line."""

from pathlib import Path

from services.policy.document import PolicyRefused
from services.policy.rules import Policy, parse_policy
from services.runtime.settings.yaml_source import SourceError


def check(path: Path) -> list[str]:
    """Every problem as `file:line:column: message`, in the file's order; empty when the policy can be applied."""
    try:
        load(path)
    except PolicyRefused as refused:
        return refused.problems
    return []


def load(path: Path) -> Policy:
    """Read and compile a policy file. Raises PolicyRefused, also when it cannot be read."""
    return parse_policy(read_text(path), str(path))


def read_text(path: Path) -> str:
    """The file's text. Raises PolicyRefused when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise PolicyRefused([SourceError(str(path), None, "there is no such file")]) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise PolicyRefused([SourceError(str(path), None, f"cannot be read: {reason}")]) from None
