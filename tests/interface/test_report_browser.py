"""The report in a real browser: no error, no request, operated by keyboard, in dark and print."""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from landscape.data_store.store import Store
from landscape.reporter import report
from tests.support.reported import fill, keep

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
HOSTILE = "</script><img src=x onerror=document.title='run'><script>document.title='run'</script>"

pytestmark = pytest.mark.slow


def found(names: tuple[str, ...]) -> str:
    """The path of a program, or a skip that names what is missing."""
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip(f"no {names[0]} on this machine (Debian: apt install chromium chromium-driver)")
    return path


@pytest.fixture(scope="module")
def page(small_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with every section, and with names that strangers could have written."""
    if importlib.util.find_spec("plotly") is None:
        pytest.skip("plotly is not installed: pip install 'landscape-workbench[report]'")
    folder = tmp_path_factory.mktemp("browser")
    shutil.copytree(small_store.root, folder / "store")
    shutil.rmtree(folder / "store" / "results", ignore_errors=True)
    fill(folder / "store")
    keep(folder / "store", "barrier", ["imp@0", "imp@1"], task=HOSTILE, points=9)
    keep(folder / "store", "volume", [HOSTILE.replace(" ", "-")], task=HOSTILE, rays=9)
    report(Store(folder / "store"), folder / "report.html")
    return folder / "report.html"


@pytest.fixture(scope="module")
def driver(page: Path) -> Iterator[Any]:
    """A headless browser that logs its console and network."""
    if importlib.util.find_spec("selenium") is None:
        pytest.skip("selenium is not installed: pip install selenium")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = found(BROWSERS)
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(found(("chromedriver",)))
    opened = webdriver.Chrome(options=options, service=service)
    try:
        yield opened
    finally:
        opened.quit()


Open = Callable[..., None]


@pytest.fixture
def show(driver: Any, page: Path) -> Open:
    """Load the page anew, in a width and a scheme of colours."""

    def load(width: int = 1200, scheme: str = "light") -> None:
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": features})
        driver.get(page.as_uri())
        until(driver, "return document.querySelectorAll('.plot .main-svg').length > 0")

    return load


def until(driver: Any, script: str, seconds: float = 10.0) -> None:
    """Wait for a script to be true."""
    end = time.monotonic() + seconds
    while not driver.execute_script(script):
        assert time.monotonic() < end, script
        time.sleep(0.05)


def press(driver: Any, *keys: str) -> None:
    """Press keys where the focus is."""
    driver.switch_to.active_element.send_keys(*keys)


def focus(driver: Any, selector: str) -> None:
    """Give an element the focus as the keyboard would."""
    driver.execute_script(f"document.querySelector({json.dumps(selector)}).focus()")


def errors(driver: Any) -> list[str]:
    """What the console complains of."""
    return [entry["message"] for entry in driver.get_log("browser")]


def requests(driver: Any) -> set[str]:
    """Addresses that were asked for since the last look."""
    sent = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    return {
        event["params"]["request"]["url"]
        for event in sent
        if event["method"] == "Network.requestWillBeSent"
    }


def test_it_loads_in_silence(driver: Any, show: Open, page: Path) -> None:
    show()
    assert errors(driver) == []
    assert requests(driver) == {page.as_uri()}
    drawn = "return [...document.querySelectorAll('.drawn')].every("
    assert driver.execute_script(drawn + "box => box.querySelector('.main-svg'))")
    assert driver.execute_script(drawn + "box => box.querySelector('.legend button'))")


def test_names_of_strangers_do_nothing(driver: Any, show: Open) -> None:
    show()
    assert driver.title.startswith("Landscape report: imp")
    assert (
        driver.execute_script("return document.querySelectorAll('img, iframe, object').length") == 0
    )
    assert "onerror" in driver.page_source
    assert driver.execute_script(
        "return [...document.querySelectorAll('*')].every("
        "e => [...e.attributes].every(a => !a.name.startsWith('on')))"
    )


def test_a_script_from_elsewhere_is_refused(driver: Any, show: Open) -> None:
    show()
    driver.execute_script(
        "const s = document.createElement('script'); s.textContent = 'document.title = \"run\"';"
        "document.body.append(s);"
    )
    assert driver.title != "run"
    assert any("Content Security Policy" in message for message in errors(driver))


def test_numbers_open_by_keyboard(driver: Any, show: Open) -> None:
    from selenium.webdriver.common.keys import Keys

    show()
    focus(driver, "#barriers details.numbers summary")
    width = "return getComputedStyle(document.activeElement).outlineStyle"
    press(driver, Keys.ENTER)
    assert driver.execute_script("return document.activeElement.parentElement.open")
    assert driver.execute_script(width) != "none"
    cells = "return document.querySelectorAll('#barriers details.numbers[open] td').length"
    assert driver.execute_script(cells) > 10
    press(driver, Keys.ENTER)
    assert not driver.execute_script("return document.activeElement.parentElement.open")


def test_the_skip_link_is_first(driver: Any, show: Open) -> None:
    from selenium.webdriver.common.keys import Keys

    show()
    driver.find_element("tag name", "body").send_keys(Keys.TAB)
    place = "const r = document.activeElement.getBoundingClientRect(); return [r.left, r.top]"
    assert driver.execute_script("return document.activeElement.className") == "skip"
    assert min(driver.execute_script(place)) >= 0


def test_a_view_is_chosen_and_a_line_hidden_by_keyboard(driver: Any, show: Open) -> None:
    from selenium.webdriver.common.keys import Keys

    show()
    title = "return document.querySelector('#accuracy-1-plot .ytitle').textContent"
    assert driver.execute_script(title) == "test accuracy (%)"
    focus(driver, "#accuracy-1-view")
    press(driver, Keys.ARROW_DOWN, Keys.ARROW_DOWN)
    until(driver, f"{title} === 'test loss'")
    count = "return document.querySelectorAll('#accuracy-1-plot .scatterlayer .trace').length"
    assert driver.execute_script(count) == 2
    focus(driver, "#accuracy .legend button")
    press(driver, Keys.SPACE)
    until(driver, f"{count} === 1")
    state = "return document.querySelector('#accuracy .legend button').ariaPressed"
    assert driver.execute_script(state) == "false"
    press(driver, Keys.SPACE)
    until(driver, f"{count} === 2")


def test_buttons_copy_the_command_and_the_numbers(driver: Any, show: Open) -> None:
    show()
    driver.execute_script(
        "window.kept = []; navigator.clipboard.writeText = async (t) => { window.kept.push(t); };"
    )
    for selector in ('[data-copy="barriers-3-made"]', '[data-csv="barriers-3-numbers"]'):
        driver.execute_script(f"document.querySelector({json.dumps(selector)}).click()")
    until(driver, "return window.kept.length === 2")
    line, table = driver.execute_script("return window.kept")
    assert line == "landscape barrier imp --points 5\n"
    rows = table.splitlines()
    assert rows[0].startswith("pair,split,density_a")
    block = driver.execute_script(
        "return JSON.parse(document.getElementById('barriers-3-numbers').textContent)"
    )
    assert len(rows) == 1 + len(block["rows"])
    assert float(rows[1].split(",")[2]) == block["rows"][0][2]
    said = "[...document.querySelectorAll('#barriers .said')].map(e => e.textContent).join('')"
    until(driver, f"return {said} === 'Copied.Copied.'")


def test_no_button_sends_a_plot_anywhere(driver: Any, show: Open) -> None:
    show()
    titles = driver.execute_script(
        "return [...document.querySelectorAll('.modebar-btn')].map(b => b.dataset.title)"
    )
    assert titles
    assert not [t for t in titles if "hart Studio" in t or "loud" in t or "hare" in t]
    assert driver.execute_script("return document.querySelectorAll('.modebar a[href]').length") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_plots_follow_the_scheme(driver: Any, show: Open, scheme: str) -> None:
    show(scheme=scheme)
    ground, title = driver.execute_script(
        "return [getComputedStyle(document.body).backgroundColor,"
        " getComputedStyle(document.querySelector('.ytitle')).fill]"
    )
    dark = scheme == "dark"
    assert (brightness(ground) < 60) is dark
    assert (brightness(title) > 150) is dark
    assert len(colours(shot(driver))) > 30


def test_a_change_of_scheme_redraws(driver: Any, show: Open) -> None:
    show(scheme="light")
    fill_of = "return getComputedStyle(document.querySelector('.ytitle')).fill"
    before = driver.execute_script(fill_of)
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    until(driver, f"{fill_of} !== {json.dumps(before)}")


@pytest.mark.parametrize("width", [360, 800])
def test_a_narrow_window_has_no_sideways_scroll(driver: Any, show: Open, width: int) -> None:
    show(width=width)
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width


def test_it_is_printed_light_and_whole(driver: Any, show: Open) -> None:
    show(scheme="dark")
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    seen = "window.seen = []; addEventListener('beforeprint', () => { window.seen.push("
    seen += "getComputedStyle(document.querySelector('.ytitle')).fill); });"
    driver.execute_script(seen)
    printed = driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})
    content = base64.b64decode(printed["data"])
    assert content.startswith(b"%PDF")
    assert brightness(driver.execute_script("return window.seen[0]")) < 60
    fill_of = "getComputedStyle(document.querySelector('.ytitle')).fill"
    until(driver, f"return !['rgb(27, 31, 36)'].includes({fill_of})")


def shot(driver: Any) -> bytes:
    """A picture of the window."""
    return base64.b64decode(driver.get_screenshot_as_base64())


def colours(picture: bytes) -> set[tuple[int, ...]]:
    """The colours of a picture."""
    from PIL import Image

    with Image.open(io.BytesIO(picture)) as image:
        return {colour for _, colour in image.convert("RGB").getcolors(1 << 24) or ()}


def brightness(colour: str) -> float:
    """The mean of red, green and blue of ``rgb(…)``."""
    parts = colour.partition("(")[2].rstrip(")").split(",")[:3]
    return sum(map(float, parts)) / 3
