"""A person goes through gathered requests in the stand-in's page, with a real browser."""

from playwright.async_api import Browser

from examples.slack_standin import SlackStandin
from services.approver.slack import gathered, review
from tests.approver.conftest import PATIENT, World
from tests.approver.test_slack import start
from tests.approver.test_slack_flow import deletes, gathered_in
from tests.browser import PATIENCE, browser  # noqa: F401 - a fixture


async def test_reviewing_in_a_browser(world: World, browser: Browser) -> None:  # noqa: F811
    async with SlackStandin(limits=PATIENT) as slack:
        await start(world, slack, "socket")
        asked = deletes(2)
        await gathered_in(world, slack, asked)
        page = await browser.new_page()
        page.set_default_timeout(PATIENCE)
        await page.goto(slack.viewer_url)
        await page.get_by_text("Approve all 2").wait_for()
        await page.click(f"button[data-action={gathered.REVIEW}]")
        await page.click(f"dialog button[data-action={review.APPROVE}] >> nth=1")
        await world.until_state(asked[1].approval_id, "approved", 60)
        await page.click(f"dialog button[data-action={review.DENY}]")
        await page.fill("dialog textarea", "not that one")
        await page.click("dialog button.primary >> nth=-1")
        await world.until_state(asked[0].approval_id, "denied", 60)
        await page.get_by_role("button", name="Close").click()
        await page.get_by_text("1 denied, 1 approved").first.wait_for()
