"""ThreatExpert's emulated pages are built as the recorded ones: the same elements in the same places, the same
headings and columns, and what every recorded page has.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from lxml import html
from tests.contract.emulator.test_skeletons import richest

from threatwalk.emulator.serve import Emulator, Generated
from threatwalk.sample import Kind

pytestmark = pytest.mark.shared


@dataclass(frozen=True)
class Structure:
    """What a page is built of, whatever it says."""

    places: frozenset[str]  # each element as its path from <html>, with its class
    headings: frozenset[str]  # titles, section titles and what announces a list, numbers left out
    columns: frozenset[tuple[str, ...]]  # the head of each table
    labels: frozenset[str]  # what stands before the colon in the details of the submission


def structure(page: str) -> Structure:
    root = html.document_fromstring(page)
    announced = root.xpath("//ul[not(parent::ul)]/li")
    titles = root.xpath("//title|//h2|//td[@class='h3']")
    heads = (row.xpath("td[contains(@class, '_h')]") for row in root.iter("tr"))
    details = root.xpath("//ul[li[starts-with(., 'Submission details')]]//ul//li")
    return Structure(
        frozenset(map(place, (node for node in root.iter() if isinstance(node.tag, str)))),
        frozenset(plain(node.text_content()) for node in [*announced, *titles]),
        frozenset(tuple(cell.text_content() for cell in head) for head in heads if head),
        frozenset(node.text_content().partition(":")[0] for node in details),
    )


def place(node: html.HtmlElement) -> str:
    path = [node, *node.iterancestors()]
    return "/".join(f"{one.tag}.{one.get('class', '')}" for one in reversed(path))


def plain(text: str) -> str:
    return re.sub(r"[0-9]+", "#", " ".join(text.split()))


def shared_by_all(pages: Iterable[Structure]) -> Structure:
    def common(name: str) -> frozenset:
        return frozenset.intersection(*(getattr(page, name) for page in pages))

    pages = list(pages)
    return Structure(common("places"), common("headings"), common("columns"), common("labels"))


@pytest.fixture(scope="module")
def recorded(providers: Path) -> list[Structure]:
    folder = providers / "threatexpert"
    return [structure(path.read_text(encoding="latin-1")) for path in sorted(folder.glob("report_*.html"))]


async def page(emulator: Emulator, path: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(f"{emulator.endpoints['threatexpert']}/{path}")


async def test_reports_are_built_as_the_recorded_ones(
    recorded: list[Structure], world: Generated, emulator: Emulator
) -> None:
    known = [s for s in world.samples() if s.kind is Kind.MD5 and world.answer("threatexpert", s)]
    asked = [richest(world, "threatexpert", Kind.MD5), *known[:40]]
    emulated = [structure((await page(emulator, f"report.aspx?md5={s.value}")).text) for s in asked]

    assert len(recorded) >= 52
    for name in ("places", "headings", "columns", "labels"):
        known_of = frozenset().union(*(getattr(one, name) for one in recorded))
        made = frozenset().union(*(getattr(one, name) for one in emulated))
        assert sorted(made - known_of) == [], f"{name} that no recording has"
    always, due = shared_by_all(emulated), shared_by_all(recorded)
    assert due.headings <= always.headings
    assert due.labels - always.labels <= {"File SHA-1"}  # the world does not know every file's
    assert due.places <= always.places


async def test_an_unknown_md5_is_sent_to_the_search(emulator: Emulator) -> None:
    response = await page(emulator, f"report.aspx?md5={'0' * 32}")

    assert response.status_code == 302
    assert (
        response.headers["location"] == f"{emulator.endpoints['threatexpert']}/reports.aspx?find={'0' * 32}"
    )


async def test_a_search_is_a_list_of_four_columns_as_clients_read_it(
    world: Generated, emulator: Emulator
) -> None:
    asked = max(
        (s for s in world.samples() if s.kind is Kind.HOSTNAME),
        key=lambda s: len(world.answer("threatexpert", s)),
    )
    found = {f.sample.value for f in world.answer("threatexpert", asked)}

    nothing = html.document_fromstring((await page(emulator, "reports.aspx?find=nowhere.example.org")).text)
    first = html.document_fromstring((await page(emulator, f"reports.aspx?find={asked.value}")).text)

    assert "no ThreatExpert reports found" in nothing.get_element_by_id("txtResults").text_content()
    rows = first.get_element_by_id("txtResults").findall("table")[0].findall(".//tr")[1:]
    listed = {row.find(".//a").get("href").removeprefix("report.aspx?md5=") for row in rows}
    assert all(len(row.findall("td")) == 4 for row in rows)
    assert listed <= found
    assert len(listed) == min(100, len(found))
    following = first.xpath("//a[text()='Next']/@href")
    assert following == ([f"reports.aspx?page=2&find={asked.value}"] if len(found) > 100 else [])
