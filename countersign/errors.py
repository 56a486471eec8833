"""How a command ends when it cannot do what it was asked: one line on stderr and a status."""


class CommandError(Exception):
    """A failed check or a refusal: status 1. Its text is one line for a person."""

    status = 1


class Misuse(CommandError):
    """The command line, the settings or the environment are wrong: status 2."""

    status = 2


def one_line(text: object) -> str:
    """The text without line breaks, so that an error stays one line whatever a server answered."""
    return " ".join(str(text).split())
