"""Run the stand-in on its own: `python -m examples.slack_standin --port 0 --json`.

Without --user and --channel there are alice and bob (@example.com), #agent-approvals and #db-approvals.
"""

import argparse
import asyncio
import json
import signal

from examples.slack_standin.limits import Limits
from examples.slack_standin.records import Channel, User
from examples.slack_standin.server import CHANNELS, USERS, SlackStandin


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.slack_standin", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="of the Slack side; 0 takes a free one")
    parser.add_argument("--viewer-port", type=int, default=0, help="of the page and the control surface")
    parser.add_argument("--user", type=user, action="append", metavar="NAME=EMAIL", help="somebody who can click")
    parser.add_argument("--channel", type=channel, action="append", metavar="NAME", help="where the app can post")
    parser.add_argument("--request-url", help="send interactions there, signed, instead of over Socket Mode")
    parser.add_argument("--lenient", action="store_true", help="enforce none of Slack's limits")
    parser.add_argument("--json", action="store_true", help="print the addresses as one JSON line")
    return parser.parse_args()


def user(text: str) -> User:
    name, _, email = text.partition("=")
    return User(f"U0{name.upper()}", name, email or None, name.title())


def channel(text: str) -> Channel:
    name = text.removeprefix("#")
    return Channel(f"C0{name.upper()}", name)


async def run(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    limits = Limits.off() if options.lenient else Limits()
    standin = SlackStandin(
        options.port,
        viewer_port=options.viewer_port,
        limits=limits,
        request_url=options.request_url,
        users=options.user or USERS,
        channels=options.channel or CHANNELS,
    )
    async with standin:
        announce(standin, as_json=options.json)
        await stop.wait()


def announce(standin: SlackStandin, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(standin.addresses()), flush=True)
        return
    for name, value in standin.addresses().items():
        print(f"{name:15} {value}", flush=True)


if __name__ == "__main__":
    asyncio.run(run(arguments()))
