"""Handles as a browser shows them: `make handle-pages`.

Starts a node, opens its pages in Debian's Chromium, wide and narrow, in Chinese and English, uses
the form as a person would, and fails on any error in the console, any request to elsewhere,
anything that is wider than the window. Pictures of the pages are left behind.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tests.interop.conftest import Stand, stand, url
from tests.interop.foreign_wire import Value
from tests.nodes import ADDRESS, make_node, running

LOCALES = {"zh-CN": "未找到", "en-GB": "Not found"}
WIDTHS = (1280, 390)
HEIGHT = 800
EVIL = "产品 <script>document.title='evil'</script>"
# What Chromium says of a page with status 404: that it is one.
EXPECTED = "Failed to load resource: the server responded with a status of 404"


def main() -> int:
    """Look at the pages; return 0 when nothing is wrong with them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=Path, default=Path("handle-pages"))
    pictures: Path = parser.parse_args().pictures
    chromium = shutil.which("chromium")
    if chromium is None:
        print("error: there is no chromium\n  try: sudo apt-get install chromium")
        return 1
    pictures.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, running(make_node(Path(folder) / "node")) as node:
        handle, alias = make_handles(stand(node))
        paths = {
            "front": "/",
            "values": f"/{handle}?noredirect",
            "alias": f"/{alias}?noredirect",
            "missing": "/88/MISSING/",
        }
        origin = f"http://{ADDRESS}:{node.http_port}"
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=chromium,
                args=["--no-sandbox", f"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE {ADDRESS}"],
            )
            troubles = [
                trouble
                for locale in LOCALES
                for trouble in look_at(browser, origin, paths, locale, pictures)
            ]
            browser.close()
    for trouble in troubles:
        print(f"error: {trouble}")
    print(f"{len(troubles)} things are wrong; pictures are in {pictures}")
    return 1 if troubles else 0


def make_handles(place: Stand) -> tuple[str, str]:
    """A handle with values of many kinds, and another one that stands for it."""
    long = Value(5, b"LONG", b"0123456789" * 30)
    handle = place.make(url(), Value(3, b"DESC", EVIL.encode()), Value(4, b"X", bytes(256)), long)
    return handle.decode(), place.make(Value(1, b"HS_ALIAS", handle)).decode()


def look_at(
    browser: Browser, origin: str, paths: dict[str, str], locale: str, pictures: Path
) -> list[str]:
    """Open every page in one language and return what is wrong."""
    page = browser.new_context(locale=locale).new_page()
    troubles: list[str] = []
    page.on("console", lambda said: troubles.append(said.text))
    page.on("request", lambda made: troubles.extend(_elsewhere(made.url, origin)))
    for name, path in paths.items():
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": HEIGHT})
            page.goto(origin + path)
            page.screenshot(path=pictures / f"{name}-{locale}-{width}.png", full_page=True)
            troubles += _on_page(page, f"{name} in {locale} at {width}")
    page.goto(origin)
    page.fill("input[name=handle]", "88/MISSING")
    page.click("button")
    if page.url != f"{origin}/88/MISSING" or page.title() != LOCALES[locale]:
        troubles.append(f"the form leads to {page.url}, {page.title()!r}")
    page.close()
    return [each for each in troubles if not each.startswith(EXPECTED)]


def _on_page(page: Page, where: str) -> list[str]:
    wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    troubles = [f"{where} is {wide} pixels too wide"] if wide > 0 else []
    if page.title() == "evil":
        troubles.append(f"{where} ran what a record holds")
    return troubles


def _elsewhere(address: str, origin: str) -> list[str]:
    is_ours = address.startswith((f"{origin}/", "data:"))
    return [] if is_ours else [f"{address} was asked for"]


if __name__ == "__main__":
    sys.exit(main())
