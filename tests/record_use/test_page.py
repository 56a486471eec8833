"""The page of a replay in a real browser: watched, scrubbed, printed, and deaf to what was recorded."""

import base64
import hashlib
import re
from pathlib import Path

import pytest
from playwright.async_api import Browser

from countersign.replay import page
from countersign.replay.content import Text
from countersign.replay.moments import Moment
from countersign.replay.reading import Recording
from tests.browser import Watched, browser, watched  # noqa: F401 - a fixture
from tests.record_use.conftest import ARTEFACTS, Asking
from tests.record_use.world import ESCAPES, OTHER_TRACE, SCRIPT, World

VENDOR = Path(page.__file__).parent / "vendor"


async def opened(browser: Browser, cli: Asking, identifier: str, *, scripts: bool = True) -> Watched:  # noqa: F811
    """The page of a session, in a browser that notes whatever goes wrong."""
    path = cli.directory / "replay.html"
    assert cli.ok("replay", identifier, "--format", "html", "-o", str(path)) == f"{path}\n"
    seen = await watched(browser, scripts=scripts, width=1200)
    await seen.page.goto(path.as_uri())
    return seen


def untouched(seen: Watched) -> None:
    """Nothing of the record ran, nothing was fetched, and our own policy was not in our own way."""
    assert (seen.console, seen.ran) == ([], [])
    assert [url for url in seen.requests if not url.startswith("file:")] == []
    assert len(seen.requests) == 1


async def test_a_session_can_be_watched(browser: Browser, cli: Asking, world: World) -> None:  # noqa: F811
    seen = await opened(browser, cli, world.ids["db"])
    moments = seen.page.locator(".moment")
    assert await moments.count() == 16
    assert await seen.page.locator(".moment.later").count() == 0
    table = seen.page.locator("table")
    assert await table.locator("th").all_inner_texts() == ["id", "email", "total"]
    assert await table.locator("tbody tr").nth(1).locator("td").all_inner_texts() == ["4712", "<b>bold</b>", "NULL"]
    answered = seen.page.locator(".moment.answered").first
    assert "Approved by dana@example.com" in await answered.inner_text()
    assert "checked the return" in await answered.inner_text()
    ARTEFACTS.mkdir(exist_ok=True)
    await seen.page.screenshot(path=ARTEFACTS / "replay.png", full_page=True)
    untouched(seen)


async def test_scrubbing_hides_what_has_not_happened_yet(browser: Browser, cli: Asking, world: World) -> None:  # noqa: F811
    seen = await opened(browser, cli, world.ids["db"])
    await seen.page.locator("#scrub").fill("0")
    assert await seen.page.locator(".moment:visible").count() == 1
    await seen.page.locator("#skip").uncheck()
    await seen.page.locator("#scrub").fill("500")
    shown = await seen.page.locator(".moment:visible").all_inner_texts()
    assert "Held for a person" in shown[-1]
    assert await seen.page.locator("#clock").inner_text() == "0:45.5 / 1:31.0"
    await seen.page.locator("#scrub").fill("1000")
    assert await seen.page.locator(".moment.later").count() == 0
    untouched(seen)


async def test_playing_tells_one_moment_after_the_other(browser: Browser, cli: Asking, world: World) -> None:  # noqa: F811
    seen = await opened(browser, cli, world.ids["chat"])
    await seen.page.locator("#speed").select_option("16")
    await seen.page.locator("#play").click()
    await seen.page.locator("#play[aria-pressed=false]").wait_for()
    assert await seen.page.locator(".moment.later").count() == 0
    assert await seen.page.locator("#play").inner_text() == "▶ Play"
    await seen.page.locator("#speed").select_option("0.5")
    await seen.page.keyboard.press("Tab")
    await seen.page.locator("#play").click()
    await seen.page.locator(".moment.later").first.wait_for(state="attached")
    await seen.page.locator("#play").click()
    assert await seen.page.locator("#play-word").inner_text() == "Play"
    untouched(seen)


async def test_what_was_recorded_is_inert(browser: Browser, cli: Asking, world: World) -> None:  # noqa: F811
    for name in ("db", "chat"):
        seen = await opened(browser, cli, world.ids[name])
        text = await seen.page.locator("main").inner_text()
        assert SCRIPT in text
        assert await seen.page.locator("main script, main img, main b, main iframe").count() == 0
        assert await seen.page.title() == "Session of refund-agent · Countersign replay"
        assert not {char for char in text if char in ESCAPES and not char.isprintable()}
        untouched(seen)


async def test_a_terminal_is_drawn_by_the_player(browser: Browser, cli: Asking, world: World) -> None:  # noqa: F811
    seen = await opened(browser, cli, world.ids["shell"])
    await seen.page.locator(".ap-player").wait_for()
    await seen.page.locator("#play").click()
    await seen.page.locator(".ap-player .ap-term-text:has-text('report.csv')").wait_for()
    untouched(seen)


async def test_without_scripts_all_of_it_can_be_read(browser: Browser, cli: Asking, world: World) -> None:  # noqa: F811
    seen = await opened(browser, cli, world.ids["db"], scripts=False)
    assert await seen.page.locator(".moment:visible").count() == 16
    assert await seen.page.locator(".player").is_hidden()


async def test_it_prints_whole(browser: Browser, cli: Asking, world: World) -> None:  # noqa: F811
    seen = await opened(browser, cli, world.ids["db"])
    await seen.page.locator("#scrub").fill("0")
    await seen.page.emulate_media(media="print", color_scheme="dark")
    assert await seen.page.locator(".moment:visible").count() == 16
    assert await seen.page.locator(".player").is_hidden()


async def test_the_run_is_beside_it(browser: Browser, cli: Asking, world: World) -> None:  # noqa: F811
    seen = await opened(browser, cli, world.ids["db"])
    aside = seen.page.locator("aside")
    assert await aside.locator("h2").all_inner_texts() == ["Run nightly-refunds", f"Run {OTHER_TRACE}"]
    assert f"countersign replay {world.ids['chat']}" in await aside.inner_text()
    await seen.page.locator("#scrub").fill("0")
    await aside.locator("a", has_text="orders sql.drop").click()
    await seen.page.locator(f"#op-{world.ids['drop']}:not(.later)").wait_for()


def test_the_policy_names_our_own_parts_alone(cli: Asking, world: World) -> None:
    for name, wasm in (("db", False), ("shell", True)):
        made = cli.ok("replay", world.ids[name], "--format", "html")
        policy = re.search(r'Content-Security-Policy" content="([^"]*)"', made)
        assert policy
        sources = policy[1].replace("&#39;", "'")
        assert sources.startswith("default-src 'none'; ")
        assert "unsafe-inline" not in sources
        assert ("'wasm-unsafe-eval'" in sources) is wasm
        for kind in ("script", "style"):
            for body in re.findall(rf"<{kind}>(.*?)</{kind}>", made, re.DOTALL):
                assert base64.b64encode(hashlib.sha256(body.encode()).digest()).decode() in sources


def test_the_player_is_only_in_pages_that_need_it(cli: Asking, world: World) -> None:
    assert len(cli.ok("replay", world.ids["db"], "--format", "html")) < 60_000
    assert "AsciinemaPlayer" in cli.ok("replay", world.ids["shell"], "--format", "html")


def test_the_vendored_player_is_the_one_its_page_names() -> None:
    named = dict(re.findall(r"\| `(\S+)` \| `([0-9a-f]{64})` \|", (VENDOR / "README.md").read_text()))
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in VENDOR.glob("asciinema-player.*s")}
    assert found == named


def test_a_page_that_would_be_too_large_says_what_is_left_out() -> None:
    block = Text("x" * (page.MAX_CONTENT // 2))
    moments = [Moment(float(number), "response", "Reply", block=block) for number in range(3)]
    made = "".join(page.pieces(Recording(None, (), (), (), "s"), moments))
    assert made.count(page.LEFT_OUT.replace("`", "`")) == 1
    assert len(made) < page.MAX_CONTENT + 200_000


@pytest.mark.parametrize("hostile", ["</script><script>alert(1)</script>", "<!--", "\u2028", "&lt;"])
def test_a_terminals_data_cannot_leave_its_block(hostile: str) -> None:
    made = str(page._data({"op": hostile}))
    assert "<" not in made
    assert "&" not in made
