"""The page at /api/docs as a browser shows it, every other address cut off.

Fails on any request to elsewhere, any violation of the page's Content-Security-Policy, any error in
the console. `make docs-page` leaves pictures of it behind.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

from tests.nodes import ADDRESS, make_node, running

CHROMIUM = shutil.which("chromium")
PICTURES = "BIAOSHI_PICTURES"  # a folder
OPERATION = "#operations-node-get_site"
CUT_OFF = f"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE {ADDRESS}"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[str]:
    with running(make_node(tmp_path / "node")) as node:
        yield f"http://{ADDRESS}:{node.http_port}"


@pytest.fixture
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        args = [CUT_OFF, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=args)
        yield browser
        browser.close()


def test_the_page_can_be_used_without_any_other_server(
    origin: str, browser: Browser, tmp_path: Path
) -> None:
    page = browser.new_page(viewport={"width": 1_280, "height": 1_600})
    troubles = watch(page, origin)
    page.goto(f"{origin}/api/docs")
    page.wait_for_selector(".opblock")
    pictures = Path(os.environ.get(PICTURES, tmp_path))
    page.screenshot(path=pictures / "docs-page.png")
    page.click(f"{OPERATION} .opblock-summary")
    page.click(f"{OPERATION} .try-out__btn")
    page.click(f"{OPERATION} .execute")
    answer = page.wait_for_selector(f"{OPERATION} .live-responses-table .microlight")
    assert answer is not None
    page.screenshot(path=pictures / "docs-page-tried.png")
    assert '"responseCode": 1' in answer.inner_text()
    assert troubles == []


def watch(page: Page, origin: str) -> list[str]:
    """Return a list that fills with what goes wrong on a page."""
    troubles: list[str] = []

    def on_request(request: Request) -> None:
        if not request.url.startswith((origin, "data:", "blob:")):
            troubles.append(f"asked {request.url}")

    def on_console(message: ConsoleMessage) -> None:
        if message.type == "error":
            troubles.append(f"console: {message.text}")

    page.on("request", on_request)
    page.on("console", on_console)
    page.on("pageerror", lambda error: troubles.append(f"script: {error}"))
    return troubles
