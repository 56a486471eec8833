"""How a command ends when it cannot do what it was asked: one line on stderr and a status."""


class CommandError(Exception):
    """A failed check or a refusal: status 1. One line for a person; a check may find several things, a line each."""

    status = 1

    def __init__(self, *lines: str) -> None:
        self.lines = lines
        super().__init__("; ".join(lines))


class Misuse(CommandError):
    """The command line, the settings or the environment are wrong: status 2."""

    status = 2


def one_line(text: object) -> str:
    """The text without line breaks, so that an error stays one line whatever a server answered."""
    return " ".join(str(text).split())
