"""`countersign sessions list`: filters, for people and as JSON."""

import json
from typing import Any

import pytest

from tests.record_use.conftest import SINCE, Asking
from tests.record_use.world import OTHER_TRACE, RUN, World


def listed(cli: Asking, *arguments: str) -> list[dict[str, Any]]:
    found = json.loads(cli.ok("sessions", "list", "--since", SINCE, "--json", *arguments))
    assert isinstance(found, list)
    return found


def names(world: World, rows: list[dict[str, Any]]) -> list[str]:
    known = {identifier: name for name, identifier in world.ids.items()}
    return [known[row["session_id"]] for row in rows]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ["door", "shell", "db", "chat"]),
        (["--subject", "refund-agent"], ["db", "chat"]),
        (["--subject", "refunds@example.com", "--protocol", "http"], ["chat"]),
        (["--connector", "orders"], ["db"]),
        (["--denied"], ["door", "db"]),
        (["--outcome", "forwarded", "--connector", "orders"], ["db"]),
        (["--outcome", "failed"], []),
        (["--run", RUN], ["db", "chat"]),
        (["--run", OTHER_TRACE], ["db"]),
        (["--until", "2026-11-20T14:01"], ["db", "chat"]),
        (["--until", "2026-11-20T15:01:30+01:00"], ["db", "chat"]),
    ],
)
def test_filters(cli: Asking, world: World, arguments: list[str], expected: list[str]) -> None:
    assert names(world, listed(cli, *arguments)) == expected


def test_what_a_session_says(cli: Asking) -> None:
    (row,) = listed(cli, "--connector", "orders")
    assert (row["subject"], row["email"], row["protocol"]) == ("refund-agent", "refunds@example.com", "postgres")
    assert (row["operations"], row["denied"], row["rows"]) == (4, 1, 4)
    assert (row["outcomes"], row["started_at"]) == (["denied", "forwarded"], "2026-11-20 14:00:04")


def test_the_list_for_people(cli: Asking, world: World) -> None:
    heading, *lines = cli.ok("sessions", "list", "--since", SINCE).splitlines()
    assert heading.split()[:3] == ["session_id", "started_at", "subject"]
    assert [line.split()[0] for line in lines] == [world.ids[name] for name in ("door", "shell", "db", "chat")]


def test_a_list_that_is_cut_says_so(cli: Asking, world: World) -> None:
    ended = cli.run("sessions", "list", "--since", SINCE, "--limit", "2")
    assert [line.split()[0] for line in ended.stdout.splitlines()[1:]] == [world.ids["door"], world.ids["shell"]]
    assert ended.stderr == "countersign: the newest 2 are shown; --limit shows more\n"


def test_nothing_found_says_where_it_looked(cli: Asking) -> None:
    said = cli.ok("sessions", "list", "--since", "2026-10-01", "--until", "2026-10-02")
    assert said == "No sessions between 2026-10-01 00:00:00.000 and 2026-10-02 00:00:00.000 UTC.\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--since", "yesterday"], "--since: a time such as"),
        (["--denied", "--outcome", "failed"], "--denied: contradicts --outcome"),
        (["--limit", "0"], "limit"),
    ],
)
def test_misuse(cli: Asking, arguments: list[str], words: str) -> None:
    ended = cli.refused("sessions", "list", *arguments)
    assert ended.returncode == 2
    assert words in ended.stderr


def test_a_filter_is_a_value_never_sql(cli: Asking) -> None:
    assert listed(cli, "--subject", "x' OR 1=1 --\n\t\\") == []
