"""Run the demo; exit 1 if anything differs from what it announces."""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from examples.demo import screen
from examples.demo.stage import set_stage
from examples.demo.story import tell


async def demo() -> None:
    """Set the stage in a directory of its own, play the story, clear up."""
    with tempfile.TemporaryDirectory(prefix="countersign-demo-") as directory:
        async with set_stage(Path(directory)) as stage:
            if stage.slack:
                screen.say(f"A stand-in for Slack runs here; look at it while it lasts: {stage.slack.viewer_url}")
            await tell(stage)


def main() -> int:
    """Exit status."""
    started = time.monotonic()
    try:
        asyncio.run(demo())
    except screen.Different as difference:
        screen.failed(str(difference))
        return 1
    screen.say("")
    screen.say(f"That was it, in {time.monotonic() - started:.0f} seconds. Next: README.md, `make up`.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
