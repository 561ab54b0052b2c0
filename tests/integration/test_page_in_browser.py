"""The page in a real headless Chromium: nothing runs but our own script, nothing leaves, the graph works."""

import asyncio
import os
import random
import shutil
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.integration.conftest import missing_package
from tests.unit.desk.conftest import FILTERS, MOMENT, World, walked
from tests.unit.desk.payloads import PAYLOADS

from threatwalk.analysis.analysis import Analysis, Question, Step, Stopped
from threatwalk.desk.page import page
from threatwalk.pivot import Answer, Outcome, Pivot
from threatwalk.reports.report import Pap, Tlp
from threatwalk.sample import Kind, Sample, sample


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
    tab.locator("g.node[data-node]").first.dispatch_event("click")
    assert tab.locator("#why .lost").first.inner_text().startswith("Without asking ")


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


ADDED = (40, 300, 700, 959)  # with the trailhead two thousand


def made_up(number: int) -> Sample:
    match number % 4:
        case 0:
            return sample(Kind.IPV4, f"198.51.{number // 250}.{number % 250}")
        case 1:
            return sample(Kind.HOSTNAME, f"h{number}.evil.example.com")
        case 2:
            return sample(Kind.URL, f"http://h{number}.evil.example.com/gate.php?id={number}")
        case _:
            return sample(Kind.MD5, f"{number:032x}")


@pytest.fixture(scope="module")
def large() -> Analysis:
    """Two thousand samples in four steps; every sample is asked about at all sources, some name what was known."""
    rng, held, steps = random.Random(1), [sample(Kind.HOSTNAME, "start.evil.example.com")], []
    asked = list(held)
    for count in ADDED:
        added = [made_up(len(held) + i) for i in range(count)]
        found: dict[tuple[Sample, str], list[Sample]] = {(s, name): [] for s in asked for name in FILTERS}
        for some in found.values():
            some.extend(rng.sample(held, min(len(held), rng.randint(0, 2))))
        for s in added:
            found[rng.choice(asked), rng.choice(FILTERS)].append(s)
        questions = [
            Question(name, s, Answer(Outcome.FOUND, tuple(Pivot(s, name, f) for f in some if f != s), MOMENT))
            for (s, name), some in found.items()
        ]
        steps.append(Step(15, FILTERS, tuple(questions), tuple(added), ((FILTERS, 0.3),)))
        held += added
        asked = added
    return Analysis(
        held[0],
        "run_everything",
        tuple(steps),
        tuple(held),
        Stopped.POLICY,
        Tlp.AMBER,
        Pap.GREEN,
        MOMENT,
        MOMENT,
    )


def test_the_graph_of_two_thousand_samples_answers_within_two_seconds(
    visit: Any, large: Analysis, capsys: pytest.CaptureFixture[str]
) -> None:
    """The best of three, and in processor time, which holds however busy the machine is. The figures are printed."""
    text, seen = page(large, author="CERT"), []
    for _ in range(3):
        tab = visit("")
        metrics = tab.context.new_cdp_session(tab)
        metrics.send("Performance.enable", {"timeDomain": "threadTicks"})  # counted anew for each page
        visit(text)
        values = {one["name"]: one["value"] for one in metrics.send("Performance.getMetrics")["metrics"]}
        work_s = values["TaskDuration"]
        metrics.detach()
        tab.locator("g.node[data-node]").nth(1).click()
        assert tab.locator("#why li:not(.by)").count() == 2
        wall_s = tab.evaluate("performance.getEntriesByName('graph')[0].startTime / 1000")
        seen.append((wall_s, work_s, tab.locator("#stage *").count()))
    with capsys.disabled():
        print(f"\n2,000 samples, {len(text) / 1e6:.1f} MB, load {os.getloadavg()[0]:.1f}:")
        for wall_s, work_s, drawn in seen:
            print(
                f"  graph after {wall_s:.2f} s, {work_s:.2f} s of processor time for the whole page, {drawn} elements"
            )

    assert len(large.samples) == 2000
    assert min(wall_s for wall_s, _, _ in seen) <= 2
    assert 0 < min(work_s for _, work_s, _ in seen) <= 0.8
    assert max(drawn for _, _, drawn in seen) <= 2500
    assert tab.said == []


def test_a_large_graph_is_folded_searched_and_stepped_through(visit: Any, large: Analysis) -> None:
    tab = visit(page(large, author="CERT"))
    nodes = tab.locator("g.node[data-node]")
    folded = nodes.count()
    deepest = large.steps[-1].added[-1].value.removeprefix("http://").partition(".")[0]
    tab.locator("#find").fill(deepest)
    hits = sum(deepest in s.value for s in large.samples)

    assert folded < 300
    assert tab.locator("g.node.hit").count() == hits > 0
    assert tab.locator("#hits").inner_text() == f"{hits} found"

    tab.locator("#find").fill("")
    bunch = tab.locator("g.node:not([data-node])").first
    bunch.click()
    assert nodes.count() > folded

    tab.locator("#unfold").click()
    assert nodes.count() == len(large.samples)
    tab.locator("#until").fill("2")
    assert nodes.count() == 1 + sum(ADDED[:2])
    tab.locator("#until").fill("0")
    assert nodes.count() == 1
    assert tab.said == []
