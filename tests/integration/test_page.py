"""The page in a real browser: plots are drawn, nothing is asked of anybody, and nothing that is told can run."""

from __future__ import annotations

import base64
import functools
import http.server
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from machine.command import Greenrun
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from unit.data import logs, training

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)
EVIL = "<script>alert(1)</script>"
TIMED = ("power", "intensity", "grams")
Browser = webdriver.Chrome
Write = Callable[..., str]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Give a headless Chromium with a profile of its own; Debian's packages chromium and chromium-driver."""
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    assert binary is not None, "chromium is not installed (Debian: chromium)"
    assert driver is not None, "chromedriver is not installed (Debian: chromium-driver)"
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    found = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield found
    found.quit()


@pytest.fixture
def write(greenrun: Greenrun, tmp_path: Path) -> Write:
    """Write the page of runs that have these events, by the command; give its path."""

    def make(*runs: list[logs.Event]) -> str:
        run_dirs = []
        for number, events in enumerate(runs):
            run_dir = tmp_path / f"run-{number}"
            run_dir.mkdir()
            (run_dir / "run.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
            run_dirs.append(str(run_dir))
        page = tmp_path / "page.html"
        done = greenrun("report", *run_dirs, "--format", "html", "-o", str(page))
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        return str(page)

    return make


def show(browser: Browser, page: str, width: int = 1200, scheme: str = "light") -> None:
    """Open the page anew at a width, in light or dark, and wait until its plots are drawn."""
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    scheme_feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme_feature]})
    browser.get("about:blank")
    for log in ("browser", "performance"):
        browser.get_log(log)  # what was before is read away
    browser.get(page if page.startswith("http") else f"file://{page}")
    WebDriverWait(browser, 30).until(lambda one: one.execute_script("return document.documentElement.dataset.drawn"))
    frames = "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => done()))"
    browser.execute_async_script(frames)


def inked(browser: Browser) -> dict[str, int]:
    """Give for each plot how many of its pixels, of the inner part where no axis is, are not empty."""
    program = """
        const out = {};
        for (const place of document.querySelectorAll("[data-plot]")) {
          const canvas = place.querySelector("canvas"), over = place.querySelector(".u-over");
          const ratio = devicePixelRatio, box = over.getBoundingClientRect(), all = canvas.getBoundingClientRect();
          const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
          copy.drawImage(canvas, 0, 0);
          const pixels = copy.getImageData(
            (box.left - all.left) * ratio, (box.top - all.top) * ratio, box.width * ratio, box.height * ratio).data;
          let count = 0;
          for (let at = 0; at < pixels.length; at += 4) {
            const [r, g, b, a] = pixels.subarray(at, at + 4);
            if (a > 0 && Math.max(r, g, b) - Math.min(r, g, b) > 24) count += 1; // the grid is grey
          }
          out[`${place.dataset.plot} ${place.dataset.run}`] = count;
        }
        return out;"""
    found: dict[str, int] = browser.execute_script(program)
    return found


def complaints(browser: Browser) -> list[str]:
    """Give what the browser wrote to its console: errors, warnings and breaches of the page's policy."""
    return [entry["message"] for entry in browser.get_log("browser")]


def requests(browser: Browser) -> list[str]:
    """Give the addresses that were asked for since the page was opened, data: among them not."""
    entries = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [entry for entry in entries if entry["method"] == "Network.requestWillBeSent"]
    addresses = [entry["params"]["request"]["url"] for entry in sent]
    return [address for address in addresses if not address.startswith(("data:", "about:"))]


def image(browser: Browser) -> bytes:
    """Give a picture of what is seen."""
    return base64.b64decode(browser.get_screenshot_as_base64())


def background(browser: Browser) -> str:
    """Give the colour of the page's ground."""
    colour: str = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    return colour


def test_all_plots_are_drawn(browser: Browser, write: Write) -> None:
    """Power, CO2e, devices and predictions leave colours on their canvases, and the intensity its line."""
    page = write(training.events(7200.0, samples=300))
    show(browser, page)
    drawn = inked(browser)
    predicted = [f"predicted-{key} 1" for key in ("energy_joules", "co2e_grams", "duration_seconds")]
    assert set(drawn) == {*(f"{plot} 1" for plot in TIMED), "devices 1", *predicted}
    assert drawn["power 1"] > 50_000
    assert drawn["devices 1"] > 10_000
    assert min(drawn[one] for one in predicted) > 500
    assert drawn["grams 1"] > 300
    with_plots = image(browser)
    browser.execute_script(
        "document.querySelectorAll('canvas').forEach((one) => one.getContext('2d').clearRect(0, 0, 9999, 9999))"
    )
    assert image(browser) != with_plots
    assert inked(browser) == dict.fromkeys(drawn, 0)
    assert complaints(browser) == []


def test_nothing_is_asked_of_anybody(browser: Browser, write: Write) -> None:
    """Served by a web server, the page is the one thing that is asked for, no icon either."""
    page = Path(write(training.events(600.0, samples=50, epochs=3)))
    asked: list[str] = []

    class Counting(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  its name there
            asked.append(self.path)

    handler = functools.partial(Counting, directory=str(page.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/{page.name}"
        show(browser, address)
        assert requests(browser) == [address]
        assert asked == [f"/{page.name}"]
        assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
        server.shutdown()
    assert complaints(browser) == []


def hostile() -> list[logs.Event]:
    """Give a run in which all that comes from outside tries to become a part of the page."""
    devices = [logs.device(EVIL, name=f"</script>{EVIL}", note=EVIL), logs.device("b", name="<!--<script>")]
    told = logs.start(
        *devices,
        name=f"{EVIL}\u202e\x00\x1b[31m",
        command=[EVIL, "</script><script>alert(2)</script>", "<!--<script>", "]]>", "a" * 500],
        host="<img src=x onerror=alert(3)>",
        user="'\" onmouseover=alert(4) x='<svg onload=alert(5)>",
        environment={"SLURM_JOB_NAME": EVIL},
        findings=[{"source": EVIL, "subject": EVIL, "status": "ok", "sentence": EVIL, "remedy": EVIL}],
    )
    samples = [logs.sample(float(t), 10.0 * t, 5.0 * t) for t in range(61)]
    source = logs.intensity(100.0, source=EVIL, note=EVIL, how=EVIL, zone=EVIL, country=EVIL)
    metric = {"event": "metric", "t": 50.0, "name": f"</td>{EVIL}", "value": 0.5}
    phase = [{"event": "phase", "t": t, "name": EVIL, "mark": mark} for t, mark in ((51.0, "start"), (52.0, "end"))]
    warned = logs.warning(55.0, EVIL, f"</li></ul>{EVIL}")
    inside = sorted([*samples, metric, *phase, warned], key=lambda event: event["t"])
    return [told, logs.spawned(0.0), source, *inside, logs.exited(60.0), logs.end(60.0)]


def test_nothing_that_is_told_can_run(browser: Browser, write: Write) -> None:
    """No script, no element and no attribute comes of a command line, a name, a metric, a warning or a source."""
    show(browser, write(hostile(), hostile()))
    kinds = browser.execute_script("return [...document.scripts].map((one) => one.type)")
    assert kinds == ["application/json", "text/plain", "", ""]
    assert (
        browser.execute_script("return document.querySelectorAll('img, svg, iframe, [onload], [onerror]').length") == 0
    )
    text = browser.find_element(By.ID, "run-1").text
    assert text.count(EVIL) >= 7
    assert "\u202e" not in text
    assert complaints(browser) == []  # an alert would have failed the next command


def test_a_script_that_came_in_all_the_same_would_not_run(browser: Browser, write: Write, tmp_path: Path) -> None:
    """The policy allows the page's own scripts by their hashes, and no other, no handler and no style."""
    page = Path(write(hostile()))
    text = page.read_text()
    assert "unsafe" not in text.partition("Content-Security-Policy")[2].partition(">")[0]
    added = "<script>window.ran = 1</script><p id=styled style='color: red' onclick='window.ran = 2'>x</p></main>"
    page.write_text(text.replace("</main>", added))
    show(browser, str(page))
    browser.execute_script("document.getElementById('styled').click()")
    assert browser.execute_script("return window.ran") is None
    assert browser.execute_script("return document.getElementById('styled').style.color") == ""
    assert len(complaints(browser)) == 3


def test_dark_where_it_is_asked_for(browser: Browser, write: Write) -> None:
    """The ground and the plots are of other colours; a change while it is open is followed."""
    page = write(training.events(600.0, samples=50, epochs=3))
    axis = "return document.querySelector('[data-plot=power] canvas').toDataURL()"
    show(browser, page)
    light, plot = background(browser), browser.execute_script(axis)
    show(browser, page, scheme="dark")
    assert background(browser) == "rgb(15, 20, 24)" != light
    assert browser.execute_script(axis) != plot
    feature = {"name": "prefers-color-scheme", "value": "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    WebDriverWait(browser, 20).until(lambda one: one.execute_script(axis) == plot)
    assert complaints(browser) == []


@pytest.mark.parametrize("width", [320, 360, 768])
def test_a_narrow_screen_needs_no_scrolling_to_the_side(browser: Browser, write: Write, width: int) -> None:
    """Nothing is wider than the screen, however long the names; only tables scroll within themselves."""
    long = training.events(
        600.0, samples=50, epochs=3, gpus=2, name="n" * 300, command=["c" * 2000, "--x"], host="h" * 99
    )
    show(browser, write(long, hostile()), width)
    across, text = browser.execute_script(
        "return [document.documentElement.scrollWidth, getComputedStyle(document.body).fontSize]"
    )
    assert across <= width
    assert text == "16px"
    assert all(count > 0 for plot, count in inked(browser).items() if not plot.startswith("intensity"))


def test_it_is_read_by_keys_and_aloud(browser: Browser, write: Write) -> None:
    """Each plot is reached by Tab, has a name and words, says what an arrow key shows, and zooms with its siblings."""
    show(browser, write(training.events(7200.0, samples=300)))
    places = browser.find_elements(By.CSS_SELECTOR, "[data-plot]")
    for place in places:
        assert place.get_attribute("tabindex") == "0"
        for attribute in ("aria-labelledby", "aria-describedby"):
            described = (place.get_attribute(attribute) or "").split()
            assert described
            assert all(browser.find_elements(By.ID, identifier) for identifier in described)
    power = places[0]
    said = power.parent.find_element(By.CSS_SELECTOR, "figure.of-power [aria-live]")
    power.send_keys(Keys.END)
    WebDriverWait(browser, 20).until(lambda _: "together" in (said.get_attribute("textContent") or ""))
    assert "2\u00a0h\u00a00\u00a0min" in (said.get_attribute("textContent") or "").replace(" ", "\u00a0")
    seen = image(browser)
    for key in (Keys.HOME, "+", "+"):
        power.send_keys(key)
    WebDriverWait(browser, 20).until(lambda one: image(one) != seen)
    devices = next(place for place in places if place.get_attribute("data-plot") == "devices")
    devices.send_keys(Keys.ARROW_DOWN)
    spoken = browser.find_element(By.CSS_SELECTOR, "figure.of-devices [aria-live]").get_attribute("textContent") or ""
    assert "package-0" in spoken
    (first, *_) = browser.find_elements(By.CSS_SELECTOR, ".legend button")
    before = inked(browser)["power 1"]
    first.click()
    assert first.get_attribute("aria-pressed") == "false"
    browser.execute_async_script(
        "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => done()))"
    )
    assert inked(browser)["power 1"] < before
    assert complaints(browser) == []


def test_siblings_zoom_together(browser: Browser, write: Write) -> None:
    """A stretch that is chosen in one plot over time is shown by the others too; Escape shows all again."""
    show(browser, write(training.events(7200.0, samples=300)))
    axis = "return document.querySelector('[data-plot=grams] canvas').toDataURL()"
    whole = browser.execute_script(axis)
    power = browser.find_element(By.CSS_SELECTOR, "[data-plot=power]")
    power.send_keys("+")
    WebDriverWait(browser, 20).until(lambda one: one.execute_script(axis) != whole)
    power.send_keys(Keys.ESCAPE)
    WebDriverWait(browser, 20).until(lambda one: one.execute_script(axis) == whole)


def test_it_prints(browser: Browser, write: Write) -> None:
    """On paper it is light also where the screen is dark, with its plots; afterwards all is as it was."""
    show(browser, write(training.events(600.0, samples=50, epochs=3)), scheme="dark")
    browser.execute_script(
        "addEventListener('beforeprint', () => { window.paper = getComputedStyle(document.querySelector('[data-plot]'))"
        ".color; window.open = document.querySelectorAll('details[open]').length; })"
    )
    printed = base64.b64decode(browser.print_page())
    assert printed.startswith(b"%PDF")
    drawn = printed.count(b"/Subtype /Image") + printed.count(b"/Subtype /Form")  # a canvas, or what was drawn on it
    assert drawn >= 4
    assert browser.execute_script("return [window.paper, window.open]") == ["rgb(22, 32, 42)", 2]
    assert browser.execute_script("return document.documentElement.className") == ""
    assert browser.find_elements(By.CSS_SELECTOR, "details[open]") == []
    assert complaints(browser) == []


def test_a_week_opens_at_once(browser: Browser, write: Write) -> None:
    """18,000 samples of eleven devices and 300 epochs: a few hundred kB, drawn long before ten seconds are over."""
    page = write(training.events(7 * 86400.0, gpus=7, epochs=300, samples=18_000))
    assert 100_000 < Path(page).stat().st_size < 400_000
    show(browser, page)
    milliseconds = browser.execute_script("return performance.getEntriesByType('navigation')[0].loadEventEnd")
    assert milliseconds < 10_000  # a second on a machine that does nothing else; docs/page.md has the figure
    assert inked(browser)["power 1"] > 50_000
    assert complaints(browser) == []


def test_a_command_that_never_ran_has_a_page(browser: Browser, write: Write) -> None:
    """No plots, no figures, and no complaint."""
    events = [
        logs.start(logs.device("a")),
        {"event": "not-started", "t": 0.1, "exit_code": 127, "reason": "No such file."},
    ]
    show(browser, write([*events, logs.end(0.1, "not-started")]))
    assert inked(browser) == {}
    text = browser.find_element(By.TAG_NAME, "main").text
    assert "not started" in text
    assert "No such file." in text
    assert complaints(browser) == []
