"""`countersign COMMAND`: finds the command's module, and turns every error into one line on stderr.

A command's module is imported when it is named, so that `countersign token` does not wait for what `up` needs.
Exit 2 for misuse, 1 for a failed check or a refusal, 130 for Ctrl-C.
"""

import importlib
import os
import sys
from typing import NoReturn

from typer import Abort, Typer
from typer._click.core import Command, Context
from typer._click.exceptions import ClickException, UsageError
from typer.core import TyperGroup
from typer.main import get_command

from countersign.errors import CommandError, Misuse, one_line

#: Command to module; the module's `app` is a Typer application.
MODULES = {
    "up": "countersign.up",
    "token": "countersign.token",
    "approvals": "countersign.approvals",
    "grants": "countersign.grants",
    "audit": "countersign.audit",
    "sessions": "countersign.sessions",
    "replay": "countersign.replay.command",
    "policy": "countersign.policy",
}


class Commands(TyperGroup):
    """The commands, each imported when it is asked for."""

    def list_commands(self, ctx: Context) -> list[str]:
        """Names in the order of the help text."""
        return list(MODULES)

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:
        """The command of that name, or None."""
        if cmd_name not in MODULES:
            return None
        command = get_command(importlib.import_module(MODULES[cmd_name]).app)
        command.name = cmd_name
        return command


app = Typer(cls=Commands, no_args_is_help=True, add_completion=False, rich_markup_mode=None)


@app.callback()
def _countersign() -> None:
    """The gate between AI agents and everything they touch.

    `--data DIR` names an embedded instance (./data by default); COUNTERSIGN_URL and COUNTERSIGN_TOKEN a remote one.
    """


def main() -> NoReturn:
    """Run the command line and exit."""
    try:
        sys.exit(_run())
    except Exception as error:  # the last resort: whatever it is, a user gets one line
        if os.environ.get("COUNTERSIGN_DEBUG"):
            raise
        _complain(f"{type(error).__name__}: {error} (COUNTERSIGN_DEBUG=1 shows where)")
        sys.exit(1)


def _run() -> int:
    try:
        status = get_command(app)(prog_name="countersign", standalone_mode=False)
    except CommandError as error:
        for line in error.lines:
            _complain(line)
        return error.status
    except ClickException as error:
        return _refuse(error)
    except (KeyboardInterrupt, Abort):
        return 130
    except BrokenPipeError:
        # Whoever read our output has seen enough (`countersign audit sql … | head`).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        _complain(error)
        return 1
    return status if isinstance(status, int) else 0


def _refuse(error: ClickException) -> int:
    """The parser's own error in one line, with where to read more. Without arguments it is the help itself."""
    context = error.ctx if isinstance(error, UsageError) else None
    message = error.format_message()
    if context is not None and message == context.get_help():
        print(message, file=sys.stderr)
    else:
        _complain(f"{message} See `{context.command_path if context else 'countersign'} --help`.")
    return Misuse.status


def _complain(error: object) -> None:
    print(f"countersign: {one_line(error)}", file=sys.stderr)


if __name__ == "__main__":
    main()
