"""MLflow's pages on a sweep, in a real browser: what a person must see there."""

import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from src.tracking import SWEEP, Tracking
from tests.support.commands import QUICK, run
from tests.support.servers import free_port, process, wait

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = Path("/usr/bin/chromium")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium (apt-get install chromium)"),
    pytest.mark.skipif(importlib.util.find_spec("playwright") is None, reason="needs playwright"),
]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of two cells."""
    folder = tmp_path_factory.mktemp("pages")
    swept = run("run", *QUICK, "crop.size=32,48", "name=two sizes", workspace=folder, sweep=True)
    assert swept.returncode == 0, swept.stderr
    return folder


@pytest.fixture(scope="module")
def ids(workspace: Path) -> dict[str, str]:
    """The runs by name."""
    tracking = Tracking(uri=f"sqlite:///{workspace}/mlflow.db", artifacts=f"{workspace}/artifacts")
    parent = tracking.find("two sizes", SWEEP)
    return {each.name: each.id for each in [parent, *tracking.children(parent.id)]}


@pytest.fixture(scope="module")
def address(workspace: Path) -> Iterator[str]:
    """MLflow's pages, as `make ui` opens them."""
    port = free_port()
    command = [str(Path(sys.executable).parent / "mlflow"), "ui", "--backend-store-uri"]
    command += [f"sqlite:///{workspace}/mlflow.db", f"--port={port}", "--workers=1"]
    with process(command, workspace / "ui.log", cwd=workspace) as running:
        wait(running, f"http://127.0.0.1:{port}/health", workspace / "ui.log")
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def page(address: str) -> "Iterator[Page]":
    """A browser that was never here; of the assistant only its panel is closed."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1500, "height": 1000})
        context.add_init_script("localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')")
        context.set_default_timeout(30_000)
        page = context.new_page()
        page.goto(address)
        yield page
        browser.close()


def see(page: "Page", *texts: str | re.Pattern[str]) -> None:
    """Wait until each of the texts can be read."""
    for text in texts:
        page.get_by_text(text).first.wait_for()


def loaded(page: "Page", name: str) -> bool:
    """Whether a picture of a run's is there, with its pixels."""
    picture = f"img[src*='path={name}.png']"
    page.locator(picture).first.wait_for()
    width = f'document.querySelector("{picture}").naturalWidth'
    page.wait_for_function(f"{width} > 0")
    return int(page.evaluate(width)) > 300


def test_the_list_shows_the_sweep_with_its_cells_data_and_models(page: "Page", address: str) -> None:
    # As `make ui` says: MLflow's own first choice are the pages of language models.
    page.goto(f"{address}/#/experiments/1/runs?workflowType=machine_learning")
    row = page.get_by_role("link", name="two sizes", exact=True)
    row.locator("xpath=ancestor::div[contains(@class, 'ag-cell')][1]").locator(".anticon, svg").first.click()
    for cell in ("SqueezeNet-32", "SqueezeNet-48"):
        assert page.get_by_role("link", name=cell, exact=True).count() >= 1
        page.get_by_role("link", name=cell, exact=True).nth(1).wait_for()  # the run, and its model
    see(page, re.compile(r"^demo \(\w{8}"), "run.py", "Model registry")


def test_the_sweep_opens_with_the_fused_table_and_its_figures(page: "Page", address: str, ids: dict[str, str]) -> None:
    page.goto(f"{address}/#/experiments/1/runs/{ids['two sizes']}")
    see(page, "Child runs", "SqueezeNet-32", "SqueezeNet-48", "Finished", re.compile(r"^demo \("))
    see(page, re.compile(r"Accuracy 0\.\d{3} \(95 %: [\d.]+ to [\d.]+\), balanced accuracy"))
    page.get_by_text("Show more").click()
    see(page, "Model fusion", "std over models")
    assert loaded(page, "roc")
    assert loaded(page, "confusion")


def test_a_cell_shows_params_metrics_with_intervals_data_and_model(
    page: "Page", address: str, ids: dict[str, str]
) -> None:
    page.goto(f"{address}/#/experiments/1/runs/{ids['SqueezeNet-48']}")
    see(page, "Parent run", "two sizes", re.compile(r"^demo \("), "accuracy_low", "accuracy_high", "Logged models (1)")
    names = page.locator("text=/^(data|protocol|encoder|crop|crop.size)$/")
    names.first.wait_for()
    shown = names.all_inner_texts()
    assert shown[:2] == ["data", "protocol"]  # the choices before the values
    page.get_by_role("link", name="SqueezeNet-48", exact=True).last.click()  # the others open another tab
    page.wait_for_url(re.compile(r"/models/m-"))
    see(page, "Source run", f"python -m src.predict model={ids['SqueezeNet-48']}")


def test_a_figure_is_shown_among_the_artefacts(page: "Page", address: str, ids: dict[str, str]) -> None:
    page.goto(f"{address}/#/experiments/1/runs/{ids['SqueezeNet-48']}/artifacts/roc.png")
    see(page, "predictions.parquet", "splits.csv", "config.yaml")
    page.wait_for_function("[...document.images].some(image => image.naturalWidth > 300)")


def test_cells_side_by_side_show_in_which_params_they_differ(page: "Page", address: str, ids: dict[str, str]) -> None:
    chosen = ",".join(f'"{ids[name]}"' for name in ("SqueezeNet-32", "SqueezeNet-48"))
    page.goto(f'{address}/#/compare-runs?runs=[{chosen}]&experiments=["1"]')
    see(page, "Show diff only", "protocol.folds")
    page.get_by_text("Show diff only").first.click()
    page.get_by_text("protocol.folds", exact=True).first.wait_for(state="hidden")
    see(page, "crop.size")
