"""Log lines: JSON with the operation and session they are about, pretty on a terminal, one form for all libraries."""

import json
import os
import pty
import subprocess
import sys
from typing import Any

SCRIPT = """
import contextvars, logging, structlog
from services.runtime import logs
logs.configure("policy", {form!r}, {level!r})
log = structlog.get_logger("here")
def told():
    logs.about.set({{"operation_id": "op-1", "session_id": "se-1"}})
    log.info("judged", rules=["a"])
    logging.getLogger("nats").warning("from a %s", "library")
contextvars.copy_context().run(told)  # as a task does
log.info("outside")
log.debug("quiet")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("failed")
"""


def lines(form: str = "json", level: str = "info") -> list[dict[str, Any]]:
    script = SCRIPT.format(form=form, level=level)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == ""  # stdout belongs to the supervisor
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_a_line_is_json_and_names_the_operation_and_the_session() -> None:
    judged, library, outside, failed = lines("auto")  # a pipe is no terminal
    assert judged["event"] == "judged"
    assert (judged["operation_id"], judged["session_id"], judged["rules"]) == ("op-1", "se-1", ["a"])
    assert (judged["service"], judged["level"]) == ("policy", "info")
    assert judged["timestamp"].endswith("Z")
    assert (library["event"], library["level"], library["operation_id"]) == ("from a library", "warning", "op-1")
    assert "operation_id" not in outside
    assert "ZeroDivisionError" in failed["exception"]


def test_the_level_is_a_setting() -> None:
    assert [line["event"] for line in lines(level="debug")] == [
        "judged",
        "from a library",
        "outside",
        "quiet",
        "failed",
    ]
    assert [line["event"] for line in lines(level="warning")] == ["from a library", "failed"]


def test_on_a_terminal_it_is_for_people() -> None:
    ours, theirs = pty.openpty()
    try:
        script = SCRIPT.format(form="auto", level="info")
        subprocess.run([sys.executable, "-c", script], stderr=theirs, stdout=subprocess.DEVNULL, check=True)
        shown = os.read(ours, 65536).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert "judged" in shown
    assert not shown.startswith("{")
