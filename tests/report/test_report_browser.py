"""The report in a real browser, opened from disk."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autodistill_rfdetr_seg.report import write_page
from helpers.report_data import EVIL_CLASS, EVIL_IMAGE, evaluation_errors, page_data

pytestmark = pytest.mark.browser
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
NAMES = [EVIL_CLASS, "W" * 200, *(f"class {at}" for at in range(40))]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = [path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))]
    if not found:
        pytest.skip("no system Chromium was found")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found[0], args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module", params=[True, False], ids=["gold", "no gold"])
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    data = page_data(NAMES, gold=request.param, image_name=EVIL_IMAGE)
    metrics = {**data.metrics, "sets": {"a": {"base": data.metrics["base"], "target": data.metrics["target"]}}}
    errors = evaluation_errors(NAMES)
    metrics["target"] = {**metrics["target"], "errors": errors}
    config = f"images: {'very/long/path/' * 30}\n{data.config_text}"
    write_page(path, dataclasses.replace(data, metrics=metrics, config_text=config, title="x" * 300))
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_opens_from_disk_and_fits(browser: Any, report: Path, width: int, scheme: str) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    requests: list[str] = []
    problems: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", lambda dialog: problems.append(dialog.message))
    page.goto(report.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")

    assert problems == []
    assert requests and all(url.startswith(("file:", "data:")) for url in requests)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("document.scripts.length") == 0
    assert page.locator(".bar-name .name").first.inner_text() in (EVIL_CLASS, "W" * 200)
    assert page.locator(".bar-name .name", has_text=EVIL_CLASS).first.is_visible()
    assert page.locator(".sample h3").first.inner_text() == EVIL_IMAGE
    sizes = page.evaluate("[...document.images].map(one => one.naturalWidth)")
    assert len(sizes) == page.locator(".panels figure").count() >= 4 and min(sizes) == 120
    brightness = page.evaluate("Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])")
    assert (brightness > 128) == (scheme == "light")
    page.close()


def test_panels_stand_side_by_side_on_a_desk_and_stack_on_a_phone(browser: Any, tmp_path: Path) -> None:
    write_page(tmp_path / "report.html", page_data(["date", "fig"], samples=1))
    for width, columns in ((1280, 3), (390, 1)):
        page = browser.new_page(viewport={"width": width, "height": 800})
        page.goto((tmp_path / "report.html").as_uri())
        lefts = page.evaluate("[...document.images].map(one => one.getBoundingClientRect().left)")
        assert len(lefts) == 3 and len(set(lefts)) == columns
        page.close()
