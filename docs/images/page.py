"""Takes the pictures of the live page anew: .venv/bin/python docs/images/page.py.

A sky with pulses and interference is simulated, and played to a daemon at the telescope's pace;
after two minutes the page is photographed at both sizes, light and dark, and the screen for a
terminal, too. It needs Chromium.
"""

import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, Playwright, sync_playwright

from mlppa.dashboard import follow
from mlppa.dashboard.terminal import Terminal

HERE = Path(__file__).parent
SIZES = ((1280, 800), (1920, 1080))

#: So long the sky is played before: a curve of what was put in takes its time.
WATCH_S = 150.0

PROGRAM = (sys.executable, "-c", "from mlppa.cli import main; main()")


def main() -> None:
    """Play, wait, and take the pictures."""
    with tempfile.TemporaryDirectory() as folder:
        demo = Path(folder) / "demo-out"
        subprocess.run([*PROGRAM, "demo", "--quiet", "-o", demo, "--seconds", "60"], check=True)
        words = [*PROGRAM, "dashboard", "--play", str(demo / "demo.fil"), "--bind", "127.0.0.1:0"]
        there = os.environ | {"TMPDIR": folder}
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=there) as served:
            assert served.stdout is not None, "it is a pipe"
            found = re.search(r"http://\S+", served.stdout.readline())
            assert found is not None, "it says where the page is"
            time.sleep(WATCH_S)
            (played,) = Path(folder).glob("mlppa-play-*")
            screen = asyncio.run(drawn(played))
            with sync_playwright() as play:
                take_all(play, found.group(), screen)
            served.terminate()


def take_all(play: Playwright, url: str, screen: str) -> None:
    """Take every picture."""
    browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
    for size in SIZES:
        for theme in ("light", "dark"):
            take(browser, f"{url}/?theme={theme}", size, theme)
    page = browser.new_page(viewport={"width": 1360, "height": 740})
    # the picture names a font of elsewhere: it is not asked for
    page.set_content(re.sub(r"@font-face {.*?}", "", screen, flags=re.DOTALL))
    page.locator("svg").first.screenshot(path=HERE / "terminal.png")
    browser.close()


async def drawn(folder: Path) -> str:
    """Give the screen for a terminal as SVG."""
    screen = Terminal([follow(str(folder))])
    async with screen.run_test(size=(110, 28)):
        await asyncio.sleep(4)
        return screen.export_screenshot()


def take(browser: Browser, url: str, size: tuple[int, int], theme: str) -> None:
    """Take one picture, when all that is on the page is there."""
    page = browser.new_page(viewport={"width": size[0], "height": size[1]})
    page.goto(url)
    page.wait_for_selector("#cards img")
    # pictures of detections are drawn, and the plots have been filled a few times
    time.sleep(4)
    page.screenshot(path=HERE / f"page-{size[0]}x{size[1]}-{theme}.png")
    page.close()


if __name__ == "__main__":
    main()
