"""The report as its reader sees it: the command, and its page in a real browser at desktop and phone width."""

import re
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from src.tracking import Tracking
from tests.support.commands import run
from tests.support.tracked_sweep import INJECTED, NAME, leave

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

CHROMIUM = shutil.which("chromium")
SECTIONS = [
    *("result", "patients", "intervals", "folds", "groups", "comparison", "errors", "classes", "metrics"),
    *("slices", "calibration", "examples"),
    *("methods", "training", "audit", "notes", "checklists", "made"),
]
WIDTHS = {"desktop": (1280, 900), "phone": (390, 844)}

Swept = tuple[Path, Tracking, str]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Swept:
    """A sweep's page, written by the command, with its tracking."""
    folder = tmp_path_factory.mktemp("report")
    tracking, parent = leave(folder)
    file = folder / "page.html"
    wanted = [f"sweep={parent}", f"output={file}", f"files={folder}/files", "replicates=50", "track=true"]
    process = run("report", *wanted, workspace=folder)
    assert process.returncode == 0, process.stderr
    assert f"written to {file}" in process.stderr
    return file, tracking, parent


def test_the_page_is_an_artefact_where_asked(swept: Swept) -> None:
    file, tracking, parent = swept
    assert tracking.artifact(tracking.find(parent), "report.html") == file.read_bytes()


def test_tables_and_figures_are_files_for_a_paper(swept: Swept) -> None:
    file, *_ = swept
    files = sorted(path.name for path in (file.parent / "files").iterdir())
    text = file.read_text()
    tables = text.count("<table")
    assert [sum(name.endswith(ending) for name in files) for ending in (".csv", ".tex")] == [tables, tables]
    assert sum(name.endswith(".svg") for name in files) == text.count("data:image/svg+xml")
    assert "01-patients-01-from-images-to-judgement.csv" in files
    flow = (file.parent / "files" / "01-patients-01-from-images-to-judgement.csv").read_text()
    assert flow == "Step,Images,Cases,Patients\nLabelled,48,48,24\nJudged out of fold,48,48,24\n"
    again = run("report", f"sweep={swept[2]}", f"files={file.parent}/files", workspace=file.parent)
    assert "is a folder that is not empty: give another, or overwrite=true" in again.stderr


def test_the_page_holds_no_secret_and_is_small(swept: Swept) -> None:
    content = swept[0].read_bytes()
    assert b"secret" not in content
    assert b"http://***@server" in content
    assert len(content) < 5e6


def test_runs_that_are_named(swept: Swept, tmp_path: Path) -> None:
    file, tracking, parent = swept
    cells = tracking.children(parent)
    kfold = [cell.id for cell in cells if cell.params.get("protocol") == "kfold"]
    page = tmp_path / "page.html"
    process = run("report", f"runs=[{','.join(kfold)}]", f"output={page}", "replicates=20", workspace=file.parent)
    assert process.returncode == 0, process.stderr
    found = re.findall(r'<section id="(\w+)"', page.read_text())
    assert found == [name for name in SECTIONS if name != "groups"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["runs=[broken]"], "broken has no finished cells to report"),
        (["sweep=nothing", "output=missing/page.html"], "a file in a folder that exists"),
        (["sweep=nothing", "output=page.pdf"], "a report is a page, output=FILE.html, but got output=page.pdf"),
        (["-m", "sweep=one,two"], "-m makes sweeps, which `python -m src.report` has none of"),
    ],
    ids=str,
)
def test_a_mistake_is_told_in_a_line(swept: Swept, arguments: list[str], said: str) -> None:
    process = run("report", *arguments, workspace=swept[0].parent)
    assert process.returncode == 1
    assert said in process.stderr
    assert "Traceback" not in process.stderr


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """Debian's Chromium, without a window."""
    sync_api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("needs chromium")
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


Opened = tuple["Page", list[str]]


@pytest.fixture(scope="module", params=[(*size, scheme) for size in WIDTHS.values() for scheme in ("light", "dark")])
def opened(swept: Swept, browser: "Browser", request: pytest.FixtureRequest) -> Iterator[Opened]:
    """The page in a window, and what went wrong: messages of the console, errors, requests that left the page."""
    width, height, scheme = request.param
    wrong: list[str] = []

    def guard(route: "Route") -> None:
        if route.request.url.startswith(("file://", "data:")):
            route.continue_()
        else:
            wrong.append(f"request for {route.request.url}")
            route.abort()

    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    page = context.new_page()
    page.route("**/*", guard)
    page.on("console", lambda message: wrong.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    page.on("dialog", lambda dialog: wrong.append(f"dialog: {dialog.message}") or dialog.dismiss())
    page.goto(swept[0].as_uri(), timeout=120_000)
    yield page, wrong
    context.close()


@pytest.mark.slow
class TestPage:
    def test_nothing_goes_wrong(self, opened: Opened) -> None:
        assert opened[1] == []

    def test_nothing_runs_out_of_the_window(self, opened: Opened) -> None:
        page = opened[0]
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        beyond = page.evaluate(
            """[...document.querySelectorAll("h1, h2, h3, p, li, dl, pre, figcaption, summary, .scroll")]
            .filter(e => e.getBoundingClientRect().right > window.innerWidth + 0.5)
            .map(e => e.outerHTML.slice(0, 80))"""
        )
        assert beyond == []

    def test_no_table_is_cut_on_a_desktop(self, opened: Opened) -> None:
        page = opened[0]
        if page.viewport_size["width"] < WIDTHS["desktop"][0]:
            pytest.skip("tables scroll on a phone")
        cut = page.evaluate(
            """[...document.querySelectorAll(".shaded")].filter(e => e.scrollWidth > e.clientWidth + 1)
            .map(e => e.getAttribute("aria-label"))"""
        )
        assert cut == []

    def test_every_section_is_there_and_led_to(self, opened: Opened) -> None:
        page = opened[0]
        assert page.eval_on_selector_all("section", "all => all.map(e => e.id)") == SECTIONS
        assert page.eval_on_selector_all("nav a", "all => all.map(e => e.hash.slice(1))") == SECTIONS
        heights = page.eval_on_selector_all("section", "all => all.map(e => e.getBoundingClientRect().height)")
        assert min(heights) > 60

    def test_figures_are_loaded(self, opened: Opened) -> None:
        images = opened[0].eval_on_selector_all("img", "all => all.map(e => [e.complete, e.naturalWidth, e.alt])")
        assert len(images) > 12
        assert all(complete and width > 0 and alt for complete, width, alt in images)

    def test_names_are_text(self, opened: Opened) -> None:
        page = opened[0]
        assert page.inner_text("h1") == NAME
        assert INJECTED in page.inner_text("#notes")
        assert page.locator("script").count() == 0
        assert page.locator("main b, main i").count() == 0

    def test_it_can_be_told_by_a_screen_reader(self, opened: Opened) -> None:
        page = opened[0]
        levels = page.eval_on_selector_all("h1, h2, h3, h4", "all => all.map(e => +e.tagName[1])")
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after - before <= 1 for before, after in pairwise(levels))
        assert page.locator("th:not([scope])").count() == 0
        assert page.locator("table:not(:has(caption))").count() == 0
        assert page.locator("figure:not(:has(figcaption))").count() == 0
        identities = page.eval_on_selector_all("[id]", "all => all.map(e => e.id)")
        assert len(set(identities)) == len(identities)

    def test_letters_stand_out_from_what_is_behind_them(self, opened: Opened) -> None:
        ratios = opened[0].evaluate(CONTRAST)
        assert len(ratios) > 100
        assert min(ratio for _, ratio in ratios) >= 4.5, min(ratios, key=lambda pair: pair[1])


CONTRAST = """
() => {
  const parts = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const part = value => (value /= 255) <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const behind = element => {
    for (; element; element = element.parentElement) {
      const colour = parts(getComputedStyle(element).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const texts = "p, td, th, dt, dd, small, li, a, summary, figcaption, caption, h1, h2, h3, code";
  return [...document.querySelectorAll(texts)]
    .filter(element => element.innerText && !element.classList.contains("skip"))
    .map(element => {
      const [one, other] = [light(parts(getComputedStyle(element).color)), light(behind(element))];
      return [element.outerHTML.slice(0, 80), (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05)];
    });
}
"""


@pytest.mark.slow
def test_the_page_is_printed_whole(swept: Swept, browser: "Browser") -> None:
    page = browser.new_page(color_scheme="dark", viewport={"width": 690, "height": 980})  # A4
    page.goto(swept[0].as_uri(), timeout=120_000)
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    pages = len(re.findall(rb"/Type\s*/Page\b", page.pdf(format="A4")))
    assert 5 < pages < 40
    page.close()


@pytest.mark.slow
def test_a_real_sweep_with_views_training_and_cells_that_fail(tmp_path: Path) -> None:
    smaller = ["data=demo_mammograms", "data.cases=24", "protocol.folds=2", "encoder=squeezenet,handcrafted"]
    fewer = ["encoder.weights=random", "finetune.epochs=2", "finetune.warmup=0", "crop.size=64,16"]
    quick = ["finetune.batch=8", "finetune.validation=0", "replicates=50", "method.device=cpu", "name=real"]
    run("run", "experiment=yi2017", *smaller, *fewer, *quick, workspace=tmp_path, sweep=True)
    page = tmp_path / "page.html"
    process = run("report", "sweep=real", f"output={page}", "replicates=50", workspace=tmp_path)
    assert process.returncode == 0, process.stderr
    text = page.read_text()
    found = re.findall(r'<section id="(\w+)"', text)
    assert found == [name for name in SECTIONS if name != "groups"]
    for said in ("SqueezeNet-64 (mlo)", "mass_margins", "Without results: SqueezeNet-16 (FAILED)"):
        assert said in text
