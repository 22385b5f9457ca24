"""The live page in a real browser: what it shows, and what a click does, without a network."""

import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from mlppa.dashboard import serve
from mlppa.dashboard.folder import Folder
from mlppa.simulate import write_filterbank
from mlppa.sinks.journal import Journal
from mlppa.wire import Message

from .daemon import until
from .messages import cov_message, detection_message
from .skies import SKY
from .test_wire import HEALTH

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium"),
    pytest.mark.slow,
]

PROGRAM = Path(sys.executable).with_name("mlppa")

#: Names are not looked up: what is not on this machine is not there.
ALONE = "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"
PATIENCE_MS = 30_000

#: What BokehJS says of itself when it has drawn.
DRAWN = re.compile(r"\[bokeh .*\] document idle at \d+ ms")


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", ALONE])
        yield browser
        browser.close()


@dataclass
class Seen:
    """A page, what it complained of, and what it asked for."""

    page: "Page"
    said: list[str] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)

    def open(self, url: str) -> None:
        self.page.on("console", lambda m: self.said.append(m.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: self.said.append(f"dialog {dialog.message}"))
        self.page.on("request", lambda r: self.asked.add(urlsplit(r.url).hostname or r.url[:5]))
        self.page.goto(url)
        self.page.wait_for_selector("html[data-ready=true]", timeout=PATIENCE_MS)

    @property
    def complaints(self) -> list[str]:
        return [line for line in self.said if not DRAWN.fullmatch(line)]

    def text(self, selector: str) -> str:
        return self.page.inner_text(selector)

    def rows(self, plot: str) -> int:
        """How many rows of data a plot has."""
        script = f"model('{plot}').get_length()"
        return int(self.page.evaluate(script) or 0)


@pytest.fixture
def seen(browser: "Browser") -> Iterator[Seen]:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(PATIENCE_MS)
    yield Seen(page)
    page.close()


@dataclass
class Served:
    """``mlppa dashboard`` in a process of its own."""

    process: subprocess.Popen[str]
    url: str
    up_s: float


@contextmanager
def dashboard(words: Sequence[str]) -> Iterator[Served]:
    """The page in a process of its own, as a shell starts it."""
    began_s = time.monotonic()
    process = subprocess.Popen(
        [*words, "--bind", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        try:
            assert process.stdout is not None
            url = re.search(r"http://127.0.0.1:\d+", process.stdout.readline())
            assert url is not None
            yield Served(process, url.group(), time.monotonic() - began_s)
            process.send_signal(signal.SIGINT)
            assert process.wait(40) == 130
            assert process.stderr is not None
            assert process.stderr.read() == ""
        finally:
            process.kill()


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A sky that is played to a daemon of its own, and the page that shows it."""
    folder = tmp_path_factory.mktemp("played")
    write_filterbank(SKY, folder / "sky.fil")
    program = [sys.executable, "-c", "from mlppa.cli import main; main()"]
    with dashboard([*program, "dashboard", "--play", str(folder / "sky.fil")]) as served:
        yield served


def test_the_demo_says_how_to_open_the_page_which_shows_it(tmp_path: Path, seen: Seen) -> None:
    words = [str(PROGRAM), "demo", "--seconds", "8", "-o", str(tmp_path / "demo out")]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    _, _, command = said.splitlines()[-1].partition(": ")
    with dashboard(shlex.split(command)) as page:
        assert page.up_s < 5
        seen.open(page.url)
        # those that the demo found, at once, and the same as they come from the telescope
        streams = "[...document.querySelectorAll('#cards small')].map(one => one.textContent)"
        until(lambda: {"demo: demo", "live: demo"} <= set(seen.page.evaluate(streams)))
        assert seen.complaints == []


def test_the_page_shows_what_is_found_as_it_is_found(played: Served, seen: Seen) -> None:
    assert played.up_s < 5
    seen.open(played.url)
    seen.page.wait_for_selector("#cards button")
    assert seen.text("#streams") == "live"
    until(lambda: seen.text("#verdict") == "KEEPS UP")
    until(lambda: int(seen.text("#count")) >= 2)
    before = int(seen.text("#count"))
    until(lambda: int(seen.text("#count")) > before)
    for plot in ("coverage", "dt", "histogram", "stages"):
        until(lambda plot=plot: seen.rows(plot) > 0)  # type: ignore[misc]
    assert re.match(
        r"needs [\d.]+\s% of real time · latency [\d.]+\s(ms|s)", seen.text("#pace-line")
    )
    assert "sky searched" in seen.text("#sense-line")
    assert seen.complaints == []
    assert seen.asked == {"127.0.0.1"}


def test_a_click_shows_the_whole_picture(played: Served, seen: Seen) -> None:
    seen.open(played.url)
    card = seen.page.locator("#cards button").last
    card.locator("img").wait_for()
    name = card.get_attribute("data-id")
    # of the picture, the frame shows the DM-time image alone
    assert card.evaluate("b => b.querySelector('img').naturalWidth") == 1000
    assert card.evaluate("b => b.querySelector('.thumb').clientWidth") < 200
    card.click()
    seen.page.wait_for_selector("#detail[open]")
    loaded = "document.getElementById('picture').naturalWidth"
    until(lambda: seen.page.evaluate(loaded) == 1000)
    assert str(name) in seen.text("#facts")
    seen.page.keyboard.press("Escape")
    seen.page.wait_for_selector("#detail", state="hidden")
    assert seen.complaints == []


def test_it_is_light_or_dark(played: Served, seen: Seen) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    ink = "model('figure dt').below[0].major_label_text_color"
    seen.page.emulate_media(color_scheme="dark")
    seen.open(played.url)
    dark = seen.page.evaluate(paper), seen.page.evaluate(ink)
    seen.page.click("#theme")
    light = seen.page.evaluate(paper), seen.page.evaluate(ink)
    assert seen.text("#theme") == "dark"
    brightness = [sum(map(int, re.findall(r"\d+", one[0]))) for one in (dark, light)]
    assert brightness[0] < 150 < 600 < brightness[1]
    assert dark[1] != light[1]
    assert seen.complaints == []


@pytest.mark.parametrize("size", [(1280, 800), (1920, 1080)])
def test_nothing_overlaps_or_is_cut_off(played: Served, seen: Seen, size: tuple[int, int]) -> None:
    seen.page.set_viewport_size({"width": size[0], "height": size[1]})
    seen.open(played.url)
    seen.page.wait_for_selector("#cards button")
    root = "document.documentElement"
    assert seen.page.evaluate(f"{root}.scrollWidth") <= size[0]
    assert seen.page.evaluate(f"{root}.scrollHeight") <= size[1]
    boxes = seen.page.eval_on_selector_all(
        "main > section", "all => all.map(one => one.getBoundingClientRect().toJSON())"
    )
    assert len(boxes) == 10
    for n, one in enumerate(boxes):
        assert one["height"] > 90
        for other in boxes[n + 1 :]:
            apart = one["right"] <= other["left"] or other["right"] <= one["left"]
            apart |= one["bottom"] <= other["top"] or other["bottom"] <= one["top"]
            assert apart
    # read from three metres: letters of a hundredth of the screen's width and more
    letters = seen.page.evaluate("parseFloat(getComputedStyle(verdict).fontSize)")
    assert letters >= 0.028 * size[0]


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The page of a folder, in a thread of this process."""
    source, urls = Folder(folder), list[str]()
    thread = threading.Thread(target=serve, args=([source], "127.0.0.1:0", urls.append))
    thread.start()
    try:
        until(lambda: urls)
        yield urls[0]
    finally:
        source.close()
        thread.join(10)
    assert not thread.is_alive()


HOSTILE = "<img src=x onerror=alert(1)>"


def test_what_messages_say_is_shown_as_text(tmp_path: Path, seen: Seen) -> None:
    pulse = detection_message().model_copy(update={"source_name": HOSTILE, "image": None})
    said = HEALTH.model_copy(update={"stream": "askap", "news": HOSTILE, "rung_name": HOSTILE})
    said = said.model_copy(update={"rung": 1, "failing": [HOSTILE], "queues": {HOSTILE: 1}})
    now = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
    looked = cov_message(1).model_copy(update={"model": HOSTILE, "created": now})
    messages: list[Message] = [said, looked, pulse]
    with Journal(tmp_path / "b0.sqlite", "askap", "run 1") as journal, served(tmp_path) as url:
        journal.record(messages)
        seen.open(url)
        seen.page.wait_for_selector("#cards button")
        assert HOSTILE in seen.text("#cards")
        assert HOSTILE in seen.text("#queues")
        assert HOSTILE in seen.text("#key-model")
        assert HOSTILE in seen.text("#pace-line")
        seen.page.click("#cards button")
        assert HOSTILE in seen.text("#facts")
        assert seen.page.locator("img[src=x]").count() == 0
        assert seen.complaints == []


def test_many_beams_have_a_row_each_and_one_can_be_chosen(tmp_path: Path, seen: Seen) -> None:
    names = [f"beam{n:02d}" for n in range(40)]
    for n, name in enumerate(names):
        with Journal(tmp_path / f"{name}.sqlite", name, "run 1") as journal:
            fresh = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
            update = {"stream": name, "created": fresh}
            state = "late" if n == 7 else "live"
            looked = [cov_message(k).model_copy(update=update) for k in range(n + 1)]
            pulse = detection_message().model_copy(update=update | {"id": f"{name}-1"})
            journal.record([HEALTH.model_copy(update=update | {"state": state}), *looked, pulse])
    with served(tmp_path) as url:
        seen.open(url)
        until(lambda: seen.page.locator("#streams button").count() == 40)
        assert seen.text("#verdict") == "LATE"
        assert int(seen.text("#count")) == 40
        assert "beam07: it needs" in seen.text("#pace-line")
        seen.page.click("[data-stream=beam03]")
        until(lambda: seen.text("#verdict") == "KEEPS UP")
        assert int(seen.text("#count")) == 1
        assert seen.page.locator("#cards button").count() == 1
        assert set(seen.page.evaluate("model('coverage').data.stream")) == {"beam03"}
        assert seen.page.get_attribute("[data-stream=beam03]", "aria-pressed") == "true"
        seen.page.click("[data-stream=beam03]")
        until(lambda: seen.text("#verdict") == "LATE")
        root = "document.documentElement"
        assert seen.page.evaluate(f"{root}.scrollWidth") <= 1280
    assert seen.complaints == []


@pytest.mark.parametrize("state", ["live", "late"])
@pytest.mark.parametrize(("recovered", "level"), [(0.9, "good"), (0.7, "warn"), (0.4, "bad")])
def test_a_lack_of_sense_catches_the_eye(
    tmp_path: Path, seen: Seen, state: str, recovered: float, level: str
) -> None:
    fresh = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
    update = {"created": fresh, "state": state, "recovered": recovered}
    with Journal(tmp_path / "b0.sqlite", "askap", "run 1") as journal:
        journal.record([HEALTH.model_copy(update=update)])
    with served(tmp_path) as url:
        seen.open(url)
        until(lambda: seen.text("#recovered").startswith(f"{100 * recovered:.0f}"))
        assert seen.page.get_attribute("#recovered", "data-level") == level


def test_a_page_whose_program_has_ended_says_so(tmp_path: Path, seen: Seen) -> None:
    with served(tmp_path) as url:
        seen.open(url)
        until(lambda: seen.text("#verdict") == "WAITING")
        assert not seen.page.is_visible("#trouble")
    until(lambda: seen.page.is_visible("#trouble"))
    assert "does not answer: what is here is old" in seen.text("#trouble")


def test_a_page_whose_program_stands_still_says_so(tmp_path: Path, seen: Seen) -> None:
    program = [sys.executable, "-c", "from mlppa.cli import main; main()", "dashboard"]
    with dashboard([*program, str(tmp_path)]) as page:
        seen.open(page.url)
        until(lambda: seen.text("#verdict") == "WAITING")
        page.process.send_signal(signal.SIGSTOP)
        try:
            until(lambda: seen.page.is_visible("#trouble"), 20)
            assert seen.page.get_attribute("html", "data-old") == "true"
        finally:
            page.process.send_signal(signal.SIGCONT)
        until(lambda: not seen.page.is_visible("#trouble"))


def test_what_has_the_focus_keeps_it_when_another_pulse_comes(tmp_path: Path, seen: Seen) -> None:
    with Journal(tmp_path / "b0.sqlite", "askap", "run 1") as journal, served(tmp_path) as url:
        journal.record([HEALTH, detection_message()])
        seen.open(url)
        seen.page.focus("#cards button")
        later = detection_message(sample=5.0).model_copy(
            update={"created": "2026-01-02T03:04:06.000Z"}
        )
        journal.record([later])
        until(lambda: seen.page.locator("#cards button").count() == 2)
        focused = seen.page.evaluate("document.activeElement.dataset.id")
        assert (
            focused == detection_message().id != seen.page.get_attribute("#cards button", "data-id")
        )
