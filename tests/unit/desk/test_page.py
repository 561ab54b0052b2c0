import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tests.unit.desk.conftest import World, walked
from tests.unit.desk.payloads import PAYLOADS

from threatwalk.analysis.analysis import Analysis, Proposed
from threatwalk.desk.page import page
from threatwalk.pivot import Outcome
from threatwalk.sample import Kind, Sample

OURS = """html head meta title style body header div span h1 h2 h3 h4 small p b a nav main section i label input
button noscript article table ul li thead tbody tr th td svg rect details summary pre footer script bdi"""


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def assert_inert(text: str) -> None:
    tags = Tags(text).tags
    assert {tag for tag, _ in tags} <= set(OURS.split())
    assert [tag for tag, _ in tags].count("script") == 2
    for _, attributes in tags:
        assert not [
            name
            for name in attributes
            if name.startswith("on") or name in {"style", "src", "srcdoc", "action"}
        ]
        assert (attributes.get("href") or "#").startswith("#")
    shell = re.sub(r"<script>.*?</script>|<style>.*?</style>", "", text, flags=re.DOTALL)
    assert not re.search(r"https?://", shell, re.IGNORECASE)
    assert not re.search(
        "[\x00-\x08\x0b-\x1f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]", text
    )


async def test_the_page_is_one_file_without_links_handlers_or_requests(analysis: Analysis) -> None:
    assert_inert(page(analysis, author="CERT"))


async def test_hostile_values_notes_and_names_stay_text() -> None:
    hostile = [Sample(Kind.FILENAME, text) for text in PAYLOADS]
    hostile += [Sample(Kind.URL, "http://evil.example.com/" + text) for text in PAYLOADS]
    made = page(await walked(World(2, hostile)), author=PAYLOADS[1], note="".join(PAYLOADS[:-1]))

    assert_inert(made)
    assert "49" not in re.findall(r">([^<]*7 \* 7[^<]*)<", made)


async def test_the_page_says_what_it_asks_a_person(analysis: Analysis) -> None:
    proposed = tuple(
        Proposed("otx", Sample(Kind.FILENAME, text), 0.0123, f"http://bad.example/ {text}")
        for text in PAYLOADS[:2]
    )
    made = page(replace(analysis, next=proposed), author="CERT")

    assert_inert(made)
    assert made.count("+0.012") == 2
    assert "Ask a person" in made
    assert "Ask a person" not in page(analysis, author="CERT")


async def test_hostile_text_of_the_shared_data_stays_text(shared: Path) -> None:
    texts = [
        p.read_text("utf-8", "surrogateescape")[:2000]
        for p in sorted((shared / "data/hostile/text").glob("*.txt"))
    ]
    hostile = [Sample(Kind.FILENAME, text) for text in texts if text]

    assert_inert(page(await walked(World(3, hostile)), author="CERT"))


async def test_the_policy_of_the_page_allows_its_own_script_and_style_only(analysis: Analysis) -> None:
    (csp,) = (a["content"] or "" for t, a in Tags(page(analysis, author="CERT")).tags if a.get("http-equiv"))

    assert csp.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in csp
    assert "http" not in csp


async def test_the_same_analysis_gives_the_same_page(analysis: Analysis) -> None:
    assert page(analysis, author="CERT") == page(await walked(World(4)), author="CERT")


async def test_every_sample_question_and_reason_is_on_the_page(analysis: Analysis) -> None:
    made = page(analysis, author="CERT")

    graph = json.loads(re.findall(r'id="walk">(.*?)</script>', made, re.DOTALL)[0])
    assert len(graph["nodes"]) == len(analysis.samples)
    assert [n["parent"] is None for n in graph["nodes"]].count(True) == 1
    assert made.count('<tr data-outcome="') == analysis.lookups
    for outcome in Outcome:
        assert f'data-outcome="{outcome}"' in made
    assert "PAP:GREEN forbids active_dns" in made
    assert "run_everything" in made


async def test_what_was_doubted_stands_apart_with_its_probability(selective: Analysis) -> None:
    made = page(selective, author="CERT")

    graph = json.loads(re.findall(r'id="walk">(.*?)</script>', made, re.DOTALL)[0])
    later = len(selective.walked) - len(selective.samples)
    assert len(graph["nodes"]) == len(selective.walked) > 5
    assert [n["doubted"] for n in graph["nodes"]].count(True) == later > 0
    assert f"{len(selective.doubted)} more were named and are not believed to belong" in made
    assert made.count("belongs: ") == len(selective.samples) + len(selective.doubted)


async def test_a_walk_without_a_step_has_a_page_too() -> None:
    made = page(await walked(World(1), budget=0), author="CERT")

    assert "No step was taken" in made
    assert "Nobody was asked anything" in made


@pytest.mark.parametrize("note", ["", "seen at http://evil.example.com/x"])
async def test_a_note_is_shown_defanged(analysis: Analysis, note: str) -> None:
    made = page(analysis, author="CERT", note=note)

    assert ("Note:" in made) is bool(note)
    assert "http://evil" not in made
