import io
import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
from pypdf import PdfReader
from tests.unit.desk.conftest import AsksAll, Doubts, World, walked
from tests.unit.desk.payloads import PAYLOADS
from tests.unit.desk.pdfs import pieces, read_back

from threatwalk.analysis.analysis import Analysis, Proposed
from threatwalk.desk import bundle
from threatwalk.desk import pdf as paper
from threatwalk.desk.export import Form, export, members
from threatwalk.desk.page import page as html_page
from threatwalk.desk.page import told
from threatwalk.desk.shown import shown
from threatwalk.desk.verdicts import Decision, Verdict
from threatwalk.pivot import Outcome
from threatwalk.reports.report import Tlp
from threatwalk.sample import Kind, Sample

HIDDEN = re.compile("[\u202a-\u202e\u2066-\u2069\u200b\ufeff\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x85\u2028\u2029]")
LINKS = re.compile(r"https?://|www\.|[^\s\[]@\S|mailto:|\bftp://", re.IGNORECASE)


def pdf(analysis: Analysis, dial: float = 0.5, author: str = "CERT", **verdicts: Verdict) -> bytes:
    given = {v.sample: v for v in verdicts.values()}
    some = members(analysis, given, dial=dial, benign=lambda _: None)
    return export(Form.PDF, analysis, some, dial=dial, author=author)


def text(data: bytes) -> str:
    """All of it, without what breaks lines and pages."""
    return re.sub(r"\s+", " ", " ".join(read_back(data)))


@pytest.fixture
async def walk() -> Analysis:
    return await walked(World(4), Doubts())


def test_it_says_what_belongs_with_probabilities(walk: Analysis) -> None:
    apart = walk.samples[3]
    rejected = Verdict(1, walk.samples[4], Decision.REJECTED, "ann", walk.finished_at, "")
    known = replace(walk, benign=((apart, "on the warning list of hubs"),))
    said = text(pdf(known, rejected=rejected))

    beliefs = dict(walk.beliefs)
    assert len(walk.samples) > 10
    for s in set(walk.samples[1:]) - {apart, rejected.sample}:
        assert f"{beliefs[s]:.2f} {s.kind} {shown(s)}" in said
    assert f"{apart.kind} {shown(apart)} on the warning list of hubs" in said
    assert "Set apart: 1; rejected: 1; under the dial: 0. The table (CSV) has them all." in said


def test_what_is_under_the_dial_is_counted_and_not_listed(walk: Analysis) -> None:
    said = text(pdf(walk, dial=1.0))
    belongs = said[said.index("What belongs") : said.index("Why is it here")]

    assert "1 sample belongs with at least 1." in belongs
    assert f"under the dial: {len(walk.samples) - 1}." in belongs
    assert not [s for s in walk.samples[1:] if shown(s) in belongs]


def test_it_says_why_by_steps_and_chains_to_the_trailhead(walk: Analysis) -> None:
    said = text(pdf(walk))

    for number, step in enumerate(walk.steps, 1):
        sent = sum(map(told, step.questions))
        assert (
            f"Step {number} {', '.join(step.mapping)} {len(step.questions)} lookups, {sent} sent out" in said
        )
    ends = re.findall(r"by \w+ from (\S+?)(?:,| (?:ipv4|hostname|md5|url|filename|Who|\d+ of))", said)
    assert shown(walk.trailhead) in ends
    far = walk.steps[-1].added[0]
    assert re.search(rf"{re.escape(shown(far))} by \w+ from \S+, by \w+ from ", said)


def test_it_says_who_was_told_what_and_what_was_not_asked(walk: Analysis) -> None:
    held = replace(walk, held_back=(("shodan", "PAP:RED forbids third_party"),))
    data = pdf(held)
    said = text(data)

    questions = [q for step in walk.steps for q in step.questions]
    sent = [q for q in questions if told(q)]
    assert 10 < len(sent) < paper.MOST
    assert f"{len(sent)} questions sent out" in said
    for q in sent:
        assert f"2026-01-02 03:04:05 UTC {q.filter} {q.sample.kind} {shown(q.sample)}" in said
    assert any(q.answer.outcome is Outcome.NOT_ASKED for q in questions)
    assert "PAP:GREEN forbids active_dns about " in said
    assert "shodan PAP:RED forbids third_party closed to this walk" in said


def test_it_says_what_it_asks_a_person_only_where_it_does(walk: Analysis) -> None:
    about = Sample(Kind.DOMAIN, "next.example.org")
    asking = replace(walk, next=(Proposed("otx", about, 0.0123, "its quota is spent"),))

    assert "otx next[.]example[.]org domain; promises 0.012; its quota is spent" in text(pdf(asking))
    assert "It asks a person" not in text(pdf(walk))


def test_what_a_person_accepted_against_the_walks_doubt_has_its_chain(walk: Analysis) -> None:
    doubted = next(s for s, _ in walk.doubted if s not in walk.walked)
    said = text(pdf(walk, accepted=Verdict(1, doubted, Decision.ACCEPTED, "ann", walk.finished_at, "")))

    assert re.search(
        rf"1\.00 {doubted.kind} {re.escape(shown(doubted))} found by [^;]+; seen [^;]+; accepted by ann", said
    )
    assert re.search(rf"{doubted.kind} {re.escape(shown(doubted))} by \w+ from ", said)


def test_what_is_long_is_cut_alone(walk: Analysis) -> None:
    long = Sample(Kind.URL, "http://long.example.com/" + "y" * 2000)
    step = walk.steps[0]
    others = tuple((tuple(f"filter{n}{m}" for m in range(30)), 0.5) for n in range(3))
    made = replace(walk, trailhead=long, steps=(replace(step, values=others), *walk.steps[1:]))
    said = text(pdf(made)).replace(" ", "")

    assert f"hxxp://long[.]example[.]com/{'y' * 200}" in said
    assert "y" * (paper.LONGEST + 1) not in said
    assert "(2,028characters)" in said
    assert "+filter229+0.500" in said


@pytest.mark.parametrize("tlp", list(Tlp), ids=str)
async def test_every_page_is_marked_above_and_below(tlp: Tlp) -> None:
    pages = read_back(pdf(await walked(World(4), Doubts(), tlp=tlp)))

    assert len(pages) > 2
    for number, page in enumerate(pages, 1):
        assert re.findall(r"TLP:([A-Z]+(?:\+STRICT)?)PAP:GREEN", page) == [tlp.upper()] * 2
        assert f"{number} of {len(pages)} " in page


async def test_the_same_result_is_the_same_file(walk: Analysis, monkeypatch: pytest.MonkeyPatch) -> None:
    first = pdf(walk)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    again = pdf(await walked(World(4), Doubts()))

    assert first == again
    assert b"D:20260102030405Z" in first
    assert first != pdf(walk, dial=0.9)


def hostile(analysis: Analysis, texts: Sequence[str]) -> Analysis:
    """Payloads as trailhead, samples, reasons, sources that answered, model and what is asked next."""
    samples = [Sample(Kind.FILENAME, one) for one in texts]
    samples += [Sample(Kind.URL, "http://evil.example.com/" + one) for one in texts]
    step = analysis.steps[0]
    asked = [replace(q, sample=s) for q, s in zip(step.questions * 99, samples, strict=False)]
    asked = [
        replace(q, answer=replace(q.answer, reason=one, by=one, archived=False))
        for q, one in zip(asked, [*texts, *texts], strict=True)
    ]
    return replace(
        analysis,
        trailhead=samples[0],
        samples=(samples[0], *samples),
        steps=(replace(step, questions=tuple(asked), added=tuple(samples)),),
        beliefs=tuple((s, 1.0) for s in samples),
        benign=tuple(zip(samples[:9], texts, strict=False)),
        held_back=tuple(("otx", one) for one in texts),
        next=tuple(Proposed("otx", s, 0.1, one) for s, one in zip(samples, texts, strict=False)),
        model=texts[0],
    )


def test_hostile_values_are_text_without_links_and_hidden_signs(walk: Analysis) -> None:
    texts = [
        *PAYLOADS,
        "{nb}",
        "www.evil.example.com",
        "a@evil.example.com",
        "**b** __u__",
        "(\\) Tj ET",
        "漢字",
        "\ue000",
    ]
    for turn in range(0, len(texts), 7):
        turned = texts[turn:] + texts[:turn]
        data = pdf(hostile(walk, turned), author=turned[0])
        said = "".join(read_back(data))
        assert not LINKS.findall(said)
        assert not HIDDEN.findall(said.replace("\n", ""))
        assert "{nb}" in said
        assert "⟨U+202E⟩gpj.exe" in said
        assert "⟨U+6F22⟩⟨U+5B57⟩" in said


def test_no_value_passes_for_a_row_of_ours(walk: Analysis) -> None:
    row = "0.99  ipv4  forged"
    samples = [Sample(Kind.FILENAME, ("x" * (one % 60)) + " " * one + row) for one in range(0, 200, 3)]
    data = pdf(replace(walk, samples=(walk.trailhead, *samples), beliefs=tuple((s, 1.0) for s in samples)))

    found = pieces(data)
    margin = min(x for x, _ in found)
    ours = [piece for x, piece in found if x == margin]
    assert sum(piece.startswith("1.00  filename") for piece in ours) == len(samples)
    assert not [piece for piece in ours if "forged" in piece or piece.startswith("0.99  ipv4")]
    assert sum("forged" in piece for _, piece in found) >= len(samples) // 2


async def test_one_of_a_kind_is_called_one() -> None:
    one = await walked(World(2), AsksAll(), budget=1, steps=1)
    said = text(pdf(replace(one, beliefs=tuple((s, 0.95) for s in one.samples[1:]))))
    html = re.sub(r"<[^>]*>", "", html_page(one, author="CERT"))
    stix = bundle.dumps(bundle.bundle(one, author="CERT", created=one.finished_at))
    plurals = r"\b1 (?:new |more )?(?:samples|lookups|steps|questions|names|files|addresses)\b"

    assert "1 lookup of 1 in 1 step" in said
    assert "1 sample reached in 1 step" in html
    assert not re.findall(plurals, " ".join([said, html, stix]))


async def test_a_result_of_thousands_is_short_and_says_what_it_leaves_out() -> None:
    walk = await walked(World(4), AsksAll(), budget=4000, steps=6)
    large = replace(walk, beliefs=tuple((s, 0.95) for s in walk.samples))
    pages = read_back(pdf(large))
    said = re.sub(r"\s+", " ", " ".join(pages))

    assert len(large.samples) > 1500
    assert len(pages) < 40
    assert f"and {len(large.samples) - paper.MOST:,} more samples that belong: see the table (CSV)" in said
    assert f"{len(large.samples):,} samples belong" in said


def test_author_and_title_stand_in_the_file_as_they_are_shown(walk: Analysis) -> None:
    about = PdfReader(io.BytesIO(pdf(walk, author="(CERT\\\u202e) /URI"))).metadata

    assert about is not None
    assert (about.title, about.author) == ("Threat of start[.]evil[.]example[.]com", "(CERT\\⟨U+202E⟩) /URI")
