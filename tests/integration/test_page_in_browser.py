"""The page in a real headless Chromium: nothing runs but our own script, nothing leaves, the graph works."""

import asyncio
import shutil
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.integration.conftest import missing_package
from tests.unit.desk.conftest import World, walked
from tests.unit.desk.payloads import PAYLOADS

from threatwalk.analysis.analysis import Analysis
from threatwalk.desk.page import page
from threatwalk.sample import Kind, Sample


def finished(walk: Coroutine[Any, Any, Analysis]) -> Analysis:
    """In a thread of its own: Playwright keeps this one's event loop running."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, walk).result()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        missing_package("Chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def visit(browser: Any, tmp_path: Path) -> Iterator[Any]:
    tab = browser.new_page(viewport={"width": 1400, "height": 900})
    tab.said, tab.asked = [], []
    tab.on("console", lambda message: tab.said.append(message.text))
    tab.on("pageerror", lambda error: tab.said.append(str(error)))
    tab.on("dialog", lambda dialog: tab.said.append(dialog.message))
    tab.on("request", lambda request: tab.asked.append(request.url))

    def go(text: str) -> Any:
        path = tmp_path / "report.html"
        path.write_text(text, encoding="utf-8")
        tab.goto(path.as_uri())
        return tab

    yield go
    tab.close()


@pytest.fixture(scope="module")
def hostile_page() -> str:
    hostile = [Sample(Kind.FILENAME, text) for text in PAYLOADS]
    hostile += [Sample(Kind.URL, "http://evil.example.com/" + text) for text in PAYLOADS]
    return page(finished(walked(World(2, hostile), budget=200)), author=PAYLOADS[0], note="".join(PAYLOADS))


def test_no_payload_runs_and_no_request_leaves(visit: Any, hostile_page: str) -> None:
    tab = visit(hostile_page)
    tab.locator("#unfold").click()
    for node in tab.locator("g.node[data-node]").all()[:60]:
        node.dispatch_event("click")
    tab.locator("#find").fill("<script>")

    assert tab.title() == "start[.]evil[.]example[.]com · threatwalk"
    assert tab.said == []
    assert len(tab.asked) == 1
    assert tab.locator("a:not([href^='#'])").count() == 0
    assert tab.locator("script").count() == 2


def test_an_injected_script_would_be_refused(visit: Any, hostile_page: str) -> None:
    tab = visit(hostile_page.replace("<main>", "<main><script>document.title = 'owned'</script>"))

    assert tab.title() != "owned"
    assert any("Content Security Policy" in said for said in tab.said)


def test_a_chosen_sample_shows_its_chain_to_the_trailhead(visit: Any, hostile_page: str) -> None:
    tab = visit(hostile_page)
    tab.locator("g.node[data-node]").last.dispatch_event("click")

    chain = tab.locator("#why li:not(.by)").all_inner_texts()
    assert chain[0] == "start[.]evil[.]example[.]com"
    assert len(chain) >= 2
    assert tab.locator("g.node.on").count() == len(chain)


def test_bunches_unfold_and_samples_are_found(visit: Any) -> None:
    analysis = finished(walked(World(4), budget=300, steps=4))
    tab = visit(page(analysis, author="CERT"))
    tab.locator("#unfold").click()
    drawn = tab.locator("g.node[data-node]").count()
    tab.locator("#find").fill("h125[.]")

    assert drawn == len(analysis.samples) > 200
    assert tab.locator("g.node.hit").count() == sum("h125." in s.value for s in analysis.samples)


def test_questions_are_sifted_by_outcome_and_text(visit: Any, hostile_page: str) -> None:
    tab = visit(hostile_page)
    rows = tab.locator("#questions tbody tr:visible")
    before = rows.count()
    tab.locator("button[data-outcome=found]").click()
    without_found = rows.count()
    tab.locator("#filter").fill("failed")

    assert before > without_found > rows.count() > 0
    assert set(rows.evaluate_all("all => all.map(row => row.dataset.outcome)")) == {"failed"}
