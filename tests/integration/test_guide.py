"""The analyst's guide: its pictures are taken here, of the pages as they are, and age with them.

`THREATWALK_PICTURES=1 pytest tests/integration/test_guide.py` takes them anew, and notes of which pages. Whoever changes a
page of the desk takes them again; otherwise this test says so.
"""

import asyncio
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.integration.conftest import missing_package
from tests.integration.desk_server import ANALYST, CHIEF, application, finish, opened, serving
from tests.unit.desk.conftest import AsksAll, Doubts, World, walked

from threatwalk.desk.actions import Actions
from threatwalk.desk.allowance import Allowance
from threatwalk.desk.queue import Wanted
from threatwalk.desk.verdicts import Decision
from threatwalk.reports.report import Pap, Tlp
from threatwalk.sample import Kind, Sample, sample

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs/analysts.md"
PICTURES = ROOT / "docs/pictures"
NOTES = PICTURES / "desk.json"
PAGES = ("queue", "night", "indicator", "compare", "report")
ANEW = "THREATWALK_PICTURES" in os.environ  # a test itself sees none of our variables
WEB = ROOT / "src/threatwalk/desk/web"
TYPED = (
    "hxxps://login[.]example[.]org/x\n203[.]0[.]113[.]9\nnot an indicator\n44d88612fea8a8f36de82e1278abb02f"
)


def made_of() -> str:
    """A digest of all that the pictures show but the data."""
    files = [*sorted(WEB.rglob("*.html")), WEB / "desk.css", WEB / "desk.js"]
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()


def test_the_guide_shows_the_pages_as_they_are() -> None:
    noted = json.loads(NOTES.read_text(encoding="utf-8"))
    shown = set(re.findall(r"\(pictures/(desk-[a-z]+\.png)\)", GUIDE.read_text(encoding="utf-8")))

    assert shown == {f"desk-{name}.png" for name in PAGES}
    for name in shown:
        digest = hashlib.sha256((PICTURES / name).read_bytes()).hexdigest()
        assert noted["pictures"][name] == digest
    assert noted["made_of"] == made_of(), "a page of the desk changed: take the pictures anew (see above)"


@pytest.fixture
def desk(tmp_path: Path) -> tuple[Actions, list[int]]:
    """A desk in the middle of a night, with two runs of one indicator."""
    made = opened(tmp_path)
    with ThreadPoolExecutor(1) as pool:  # Playwright keeps this thread's event loop running
        walks = [
            pool.submit(asyncio.run, walked(World(seed), policy, budget=60, steps=3)).result()
            for seed, policy in ((4, AsksAll()), (4, Doubts()))
        ]
    numbers = []
    for run, walk in zip(("scheduled 1 May", "scheduled 2 May"), walks, strict=True):
        known = tuple((s, "on MISP's warning list cloudflare") for s in walk.samples[4:6])
        numbers.append(finish(made, replace(walk, benign=known), note="ticket 4711", run=run))
    analysis = made.analysis(numbers[1])
    made.decide(ANALYST, numbers[1], analysis.samples[1:5], Decision.ACCEPTED, why="same certificate")
    made.decide(CHIEF, numbers[1], analysis.samples[7:8], Decision.REJECTED)
    wanted = [
        Wanted(sample(Kind.IPV4, "198.51.100.7"), Tlp.GREEN, Pap.GREEN, active_dns=True, note="mail gateway"),
        Wanted(sample(Kind.HOSTNAME, "update.example.org"), Tlp.AMBER, Pap.AMBER, priority=5),
        Wanted(sample(Kind.SHA256, "ab" * 32), Tlp.RED, Pap.RED, note="from the case of last week"),
        *(Wanted(Sample(Kind.DOMAIN, f"shop{n}.com"), Tlp.AMBER, Pap.GREEN) for n in range(12)),
    ]
    made.add(ANALYST, wanted)
    made.queue.claim(4, "worker-1", 900)
    Allowance(made.queue.engine, "scheduled 2 May", 2000, now=datetime.now(UTC)).take(371)
    return made, numbers


@pytest.fixture
def tab(desk: tuple[Actions, list[int]]) -> Iterator[Any]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        missing_package("Chromium")
    from playwright.sync_api import sync_playwright

    with serving(application(desk[0])) as root, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = browser.new_context(base_url=root, viewport={"width": 1180, "height": 820})
        context.add_cookies([{"name": "who", "value": "ann", "url": root}])
        yield context.new_page()
        browser.close()


def test_pictures_are_taken(tab: Any, desk: tuple[Actions, list[int]], tmp_path: Path) -> None:
    """Into a folder of the test's own; where THREATWALK_PICTURES is set, those of the guide are made anew."""
    first, second = desk[1]
    paths = {
        "queue": "/",
        "night": "/night",
        "indicator": f"/indicators/{second}",
        "compare": f"/compare?first={first}&second={second}",
        "report": f"/indicators/{second}/report",
    }
    digests = {}
    for name in PAGES:
        tab.goto(paths[name])
        if name == "queue":
            tab.locator("#list").fill(TYPED)
            tab.wait_for_selector("#preview .bad")
        if name == "report":
            tab.frame_locator("iframe.report").locator("g.node[data-node]").first.wait_for()
        data = tab.screenshot()
        ((PICTURES if ANEW else tmp_path) / f"desk-{name}.png").write_bytes(data)
        digests[f"desk-{name}.png"] = hashlib.sha256(data).hexdigest()

    assert len(set(digests.values())) == len(PAGES)  # each page another one
    if ANEW:
        noted = {"made_of": made_of(), "pictures": digests}
        NOTES.write_text(json.dumps(noted, indent=1) + "\n", encoding="utf-8")
