"""`countersign up …` with stand-ins for the four services; NATS, supervisor and command line are the real ones."""

import sys

from countersign import __main__, instance, supervisor


def command(name: str, config: str, data: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "tests.cli.standin", name, "--config", config, "--data", data)


if __name__ == "__main__":
    supervisor.CRASH_WINDOW = 600.0  # five starts take a while where the machine is busy
    instance.command = command
    __main__.main()
