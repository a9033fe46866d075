"""The page as a reader sees it: opened from a file in headless Chromium, with the network off."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sample_answers import CHOSEN, make_answer
from sample_study import make_study

from selector.reporting.page import render_page
from selector.reporting.words import catalog

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
Open = Callable[..., Any]

playwright = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser; pip install -e .[dev]")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine; apt-get install chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield started
        started.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The pages under test: one answer, the same in Chinese, and a comparison."""
    folder = tmp_path_factory.mktemp("pages")
    several = [make_answer(h, n, speed=s) for h, s in (("edge", 1.0), ("gpu", 0.05)) for n in (500, 5000)]
    made = {
        "one": render_page([make_answer()]),
        "zh": render_page([make_answer()], lang="zh"),
        "several": render_page(several),
        "study": render_page([make_answer()], study=make_study(folder)),
    }
    for name, text in made.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in made}


@pytest.fixture
def open_page(browser: Any, pages: dict[str, Path]) -> Iterator[Open]:
    """Opens a page and, at the end, holds it to silence: no error, no message, no request beyond its own file."""
    contexts, complaints = [], []

    def opened(name: str, fragment: str = "", **options: Any) -> Any:
        context = browser.new_context(offline=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(f"console {message.type}: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on("request", lambda r: r.url.startswith(("file:", "data:", "blob:")) or complaints.append(r.url))
        page.goto(pages[name].as_uri() + fragment)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not complaints


def column(page: Any, number: int) -> list[str]:
    """The first line of each row's cell."""
    cells = page.locator(f"tbody tr > :nth-child({number})")
    script = "(cells) => cells.filter((c) => c.closest('.sortable')).map((c) => c.innerText.split('\\n')[0])"
    return cells.evaluate_all(script)  # type: ignore[no-any-return]


def number(text: str) -> float | None:
    found = re.match(r"[\d,.]+", text)
    return float(found[0].replace(",", "")) if found else None


def heading(page: Any, name: str) -> Any:
    return page.locator(f"th[data-column={name}]")


@pytest.mark.parametrize("name", ["one", "zh", "several"])
def test_figures_are_drawn(open_page: Open, name: str) -> None:
    page = open_page(name)
    if name == "several":
        page.locator("#a1 > summary").click()
    for chart, marks in (("a1-pareto", ".scatterlayer .point"), ("a1-latency", ".barlayer .point path")):
        box = page.locator(f"#{chart} .main-svg").first.bounding_box()
        assert box["width"] > 300
        assert box["height"] > 200
        assert page.locator(f"#{chart} {marks}").count() >= 15
    if name == "several":
        assert page.locator("#compare-latency .scatterlayer .point").count() >= 20
        assert page.locator("#compare-accuracy .scatterlayer .point").count() == 4


def test_no_button_leads_out(open_page: Open) -> None:
    page = open_page("one")
    page.locator("#a1-pareto .nsewdrag").first.hover()
    titles = page.locator("#a1-pareto .modebar-btn").evaluate_all("(all) => all.map((b) => b.dataset.title)")
    assert titles == ["Download as an image", "Zoom", "Move", "Reset the axes"]
    assert page.locator("a[href^=http], a[href^='//']").count() == 0


def test_headings_sort(open_page: Open) -> None:
    page = open_page("one")
    latency = heading(page, "latency")
    latency.get_by_role("button").click()
    assert latency.get_attribute("aria-sort") == "ascending"
    values = [number(text) for text in column(page, 6)]
    known = [v for v in values if v is not None]
    assert len(known) == 29
    assert known == sorted(known)
    assert values[-1] is None  # what is not known comes last
    latency.get_by_role("button").press("Enter")  # keyboard
    assert latency.get_attribute("aria-sort") == "descending"
    values = [number(text) for text in column(page, 6)]
    assert [v for v in values if v is not None] == sorted(known, reverse=True)
    assert values[-1] is None
    heading(page, "accuracy").get_by_role("button").click()
    assert latency.get_attribute("aria-sort") is None
    accuracies = [number(text) for text in column(page, 5)]
    assert accuracies == sorted(accuracies, reverse=True, key=lambda v: v or 0)  # the best on top at the first click
    heading(page, "backbone").get_by_role("button").click()
    names = column(page, 2)
    assert names[:2] == ["efficientnet_b0", "efficientnet_b0"]
    assert names == sorted(names, key=names.index)


def test_filters_narrow_the_table(open_page: Open) -> None:
    page = open_page("one")
    assert page.locator(".count").inner_text() == "30 of 120 candidates shown"
    page.locator(".filter-text").fill("resnet50 onnx")
    assert set(column(page, 2)) == {"resnet50"}
    page.locator(".filter-depths").check()
    assert page.locator(".count").inner_text() == "4 of 120 candidates shown"
    page.locator(".filter-text").fill("")
    page.locator(".filter-feasible").check()
    assert page.locator(".count").inner_text() == "68 of 120 candidates shown"
    page.locator(".filter-family").select_option("mobilenet")
    assert all(name.startswith("mobilenet") for name in column(page, 2))
    page.locator(".filter-freeze").select_option("head")
    assert set(column(page, 3)) == {"head"}


def test_a_row_unfolds_its_sources(open_page: Open) -> None:
    page = open_page("one")
    button = page.locator(".sortable tbody th button", has_text="resnet50").first
    button.press("Enter")
    assert button.get_attribute("aria-expanded") == "true"
    told = page.locator("tr.sources").inner_text()
    assert 'MLPerf edge v3.0, open/cTuning <resnet50> & "others"' in told
    assert "another round says 61.6 ms" in told  # evidence that disagrees is shown, not averaged away
    button.press("Enter")
    assert page.locator("tr.sources").count() == 0


def test_readable_without_javascript(open_page: Open) -> None:
    """The script's rows say what the rows in the file say."""
    plain = open_page("one", java_script_enabled=False)
    script = open_page("one")
    assert plain.locator("noscript").inner_text()
    assert CHOSEN[0] in plain.locator(".sentence").inner_text()
    rows = ".sortable tbody tr:nth-child(-n + 25)"
    texts = [[" ".join(t.split()) for t in p.locator(rows).all_inner_texts()] for p in (plain, script)]
    assert len(texts[0]) == 25
    assert texts[0] == [text.replace("▸ ", "") for text in texts[1]]


@pytest.mark.parametrize("name", ["one", "zh", "several"])
def test_fits_a_phone(open_page: Open, name: str) -> None:
    page = open_page(name, viewport={"width": 390, "height": 844})
    for summary in page.locator("details > summary").all():
        summary.evaluate("(s) => s.parentElement.setAttribute('open', '')")
    page.wait_for_timeout(300)  # closed sections draw when they open
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_follows_the_readers_theme(open_page: Open) -> None:
    page = open_page("one", color_scheme="dark")
    colours = (
        "[getComputedStyle(document.body).backgroundColor, document.querySelector('#a1-pareto .xtick text').style.fill]"
    )
    dark = page.evaluate(colours)
    page.emulate_media(color_scheme="light")
    page.wait_for_timeout(300)
    light = page.evaluate(colours)
    assert all(a != b for a, b in zip(dark, light, strict=True))


def test_sections_of_a_comparison(open_page: Open) -> None:
    page = open_page("several")
    assert page.locator("table.summary tbody tr").count() == 4
    assert not page.locator("#a3-pareto .main-svg").count()
    page.locator("table.summary a").nth(2).click()
    page.wait_for_selector("#a3[open]")  # the browser follows the link after the click has returned
    page.wait_for_selector("#a3-pareto .main-svg")
    heading_of = page.locator("#a3 th[data-column=latency] button")
    heading_of.click()
    assert page.locator("#a3 th[data-column=latency]").get_attribute("aria-sort") == "ascending"
    assert page.locator("#a1 th[data-column=latency]").get_attribute("aria-sort") is None


def test_chinese_page_is_chinese(open_page: Open) -> None:
    page = open_page("zh")
    assert page.evaluate("document.documentElement.lang") == "zh-CN"
    shown = page.locator("body").evaluate("(body) => body.innerText") + " ".join(
        page.locator("[title]").evaluate_all("(all) => all.map((e) => e.title)")
    )
    english, chinese = catalog("en"), catalog("zh")
    left = []
    for key, sentence in english.items():
        pieces = [piece for piece in re.split(r"\{[^}]*\}|<[^>]*>", sentence) if len(piece.split()) > 2]
        left += [key for piece in pieces if piece in shown and piece not in chinese[key]]
    assert not left
    assert "为什么选它" in shown


def test_commands_can_be_copied(open_page: Open) -> None:
    page = open_page("one", permissions=["clipboard-read", "clipboard-write"])
    button = page.locator(".next button.copy").first
    command = button.get_attribute("data-copy")
    button.click()
    page.wait_for_function("document.querySelector('.next button.copy').textContent === 'Copied'")
    assert page.evaluate("navigator.clipboard.readText()") == command


def test_warnings_stand_out(open_page: Open) -> None:
    page = open_page("one")
    warning = page.locator(".warning", has_text="Random weights")
    red, green, blue = (
        int(part) for part in re.findall(r"\d+", warning.evaluate("(w) => getComputedStyle(w).color"))[:3]
    )
    assert red > 2 * max(green, blue)


def test_printing_opens_every_answer(open_page: Open) -> None:
    page = open_page("several")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details.answer[open]").count() == 4
    page.emulate_media(media="print")
    assert page.locator("#a1 .controls").is_hidden()
    assert page.locator("#a1-pareto").bounding_box()["height"] > 500  # what follows does not lie on the chart


def test_the_study_is_drawn_with_its_pictures(open_page: Open) -> None:
    page = open_page("study")
    for name in ("confusion", "history", "curves", "importances", "parallel"):
        page.wait_for_selector(f"#study-{name} .main-svg", state="attached")
    pictures = page.locator(".mistakes img")
    assert pictures.count() == 1
    assert pictures.first.evaluate("image => image.naturalWidth") > 0
