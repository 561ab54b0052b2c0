"""Every relative link of the documentation leads somewhere, headings included."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+?) *#*$", re.MULTILINE)


def links(text: str) -> list[str]:
    return [link for link in _LINK.findall(_CODE.sub("", text)) if not re.match(r"[a-z]+:", link)]


def anchors(text: str) -> set[str]:
    """The names of headings, as GitHub makes them."""
    plain = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", one) for one in _HEADING.findall(text))
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in plain}


def _leads(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not (target.exists() and target.is_relative_to(ROOT)):
        return False
    return not anchor or target.suffix != ".md" or anchor in anchors(target.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    broken = [link for link in links(page.read_text(encoding="utf-8")) if not _leads(page, link)]

    assert not broken


def test_a_broken_link_is_seen() -> None:
    text = "[a](b.md#c) `[not](x.md)` [d](https://e.example)\n## What it *does*, briefly\n"

    assert links(text) == ["b.md#c"]
    assert anchors(text) == {"what-it-does-briefly"}


def test_each_cell_of_ours_beside_the_peers_is_proved() -> None:
    """Or says plainly no."""
    rows = [
        line.split("|")
        for line in (ROOT / "docs/peers.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("| ")
    ]
    ours = [cells[2].strip() for cells in rows if cells[2].strip() != "threatwalk"]

    assert len(ours) > 25
    assert not [cell for cell in ours if not (links(cell) or cell == "no")]
