"""Run the stand-in on its own: `python -m examples.slack_standin [--port N] [--viewer-port N] [--json]`."""

import argparse
import asyncio
import json
import signal

from examples.slack_standin.limits import Limits
from examples.slack_standin.server import SlackStandin


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.slack_standin", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="of the Slack side; 0 takes a free one")
    parser.add_argument("--viewer-port", type=int, default=0, help="of the page and the control surface")
    parser.add_argument("--request-url", help="send interactions there, signed, instead of over Socket Mode")
    parser.add_argument("--lenient", action="store_true", help="enforce none of Slack's limits")
    parser.add_argument("--json", action="store_true", help="print the addresses as one JSON line")
    return parser.parse_args()


async def run(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    limits = Limits.off() if options.lenient else Limits()
    standin = SlackStandin(
        options.port, viewer_port=options.viewer_port, limits=limits, request_url=options.request_url
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
