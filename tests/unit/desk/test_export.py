import csv
import io
import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import stix2
from tests.unit.desk.conftest import MOMENT, Doubts, World, walked
from tests.unit.desk.payloads import PAYLOADS

from threatwalk.analysis.analysis import Analysis, Question, Step, Stopped
from threatwalk.desk.export import SHARED, Form, Member, export, members
from threatwalk.desk.shown import shown
from threatwalk.desk.verdicts import Decision, Verdict
from threatwalk.errors import UsageError
from threatwalk.pivot import Answer, Outcome, Pivot
from threatwalk.reports.misp import read
from threatwalk.reports.report import Pap, Tlp
from threatwalk.sample import Kind, Sample

DIAL = 0.9


def verdict(s: Sample, decision: Decision) -> dict[Sample, Verdict]:
    return {s: Verdict(1, s, decision, "ann", datetime(2026, 5, 1, tzinfo=UTC), "")}


def of(analysis: Analysis, dial: float = DIAL) -> list[Member]:
    return members(analysis, {}, dial=dial, benign=lambda _: None)


def good(some: list[Member]) -> set[Sample]:
    return {m.sample for m in some if m.good}


def out(form: Form, analysis: Analysis, some: list[Member], **options: object) -> str:
    data = export(form, analysis, some, dial=DIAL, author="CERT", **options)  # type: ignore[arg-type]
    return data.decode()


@pytest.fixture
async def green() -> Analysis:
    """A selective walk whose PAP lets people block."""
    return await walked(World(4), Doubts())


def test_only_what_belongs_surely_enough_is_good(green: Analysis) -> None:
    beliefs = dict(green.beliefs)
    for dial in (0.0, 0.5, 0.9, 1.0):
        some = of(green, dial)
        assert all(beliefs.get(s, 1.0) >= dial for s in good(some))
    assert green.trailhead in good(of(green, 1.0))
    assert len(good(of(green, 0.5))) > len(good(of(green, 0.9))) > 1


async def test_a_policy_that_believes_nothing_makes_nothing_good() -> None:
    analysis = await walked(World(4))

    assert good(of(analysis, 0.0)) == {analysis.trailhead}


def test_a_persons_verdict_stands_above_the_dial(green: Analysis) -> None:
    beliefs = dict(green.beliefs)
    weak = min((s for s in green.samples[1:]), key=lambda s: beliefs[s])
    sure = max((s for s in green.samples[1:]), key=lambda s: beliefs[s])
    doubted = next(s for s, _ in green.doubted)
    verdicts = (
        verdict(weak, Decision.ACCEPTED)
        | verdict(sure, Decision.REJECTED)
        | verdict(doubted, Decision.ACCEPTED)
    )
    some = members(green, verdicts, dial=1.0, benign=lambda _: None)

    assert {weak, doubted} <= good(some)
    assert sure not in good(some)
    names = {o.name for o in stix2.parse(out(Form.STIX, green, some)).objects if o.type == "indicator"}
    assert {f"{s.kind} {shown(s)}" for s in (weak, doubted)} <= names
    assert sure not in {r for report in read(json.loads(out(Form.MISP, green, some))) for r in report.goal}


def test_what_is_harmless_is_never_good_whoever_accepts_it(green: Analysis) -> None:
    one, two = [s for s in green.samples if s in EVERYTHING][:2]
    known = replace(green, benign=((one, "on a warning list"),))
    verdicts = verdict(one, Decision.ACCEPTED) | verdict(two, Decision.ACCEPTED)
    some = members(known, verdicts, dial=0.0, benign=lambda s: "listed since" if s == two else None)

    apart = {m.sample: m.apart for m in some if m.apart}
    assert apart == {one: "on a warning list", two: "listed since"}
    for form in (Form.BLOCKLIST, Form.STIX, Form.MISP):
        said = claimed(form, out(form, known, some))
        assert len(said) > 5
        assert not {one, two} & said


def claimed(form: Form, text: str) -> set[Sample]:
    """The samples that an export says may be blocked or alerted on."""
    match form:
        case Form.BLOCKLIST:
            values = {line for line in text.splitlines() if not line.startswith("#")}
            return {s for s in EVERYTHING if s.value in values}
        case Form.STIX:
            patterns = [o["pattern"] for o in json.loads(text)["objects"] if o["type"] == "indicator"]
            return {s for s in EVERYTHING if any(f"'{s.value}'" in p for p in patterns)}
        case _:
            attributes = json.loads(text)["Event"]["Attribute"]
            return {s for s in EVERYTHING for a in attributes if a["to_ids"] and a["value"] == s.value}


EVERYTHING = [Sample(Kind.IPV4, f"198.51.{a}.{b}") for a in range(2) for b in range(200)]
EVERYTHING += [Sample(Kind.HOSTNAME, f"h{n}.evil.example.com") for n in range(400)]
EVERYTHING += [Sample(Kind.MD5, f"{n:032x}") for n in range(400)]


def hosting(strangers: int, own: int = 0, cut: int = 0) -> Analysis:
    """One step: the trailhead's address, and the names on it, of which `own` are believed."""
    trailhead = Sample(Kind.DOMAIN, "start.com")
    address = Sample(Kind.IPV4, "192.0.2.1")
    names = [Sample(Kind.DOMAIN, f"d{n}.com") for n in range(strangers + own)]
    on_it = tuple(Pivot(address, "otx", name, None, None, None) for name in names)
    questions = (
        Question(
            "dns",
            trailhead,
            Answer(Outcome.FOUND, (Pivot(trailhead, "dns", address, None, None, None),), MOMENT),
        ),
        Question("otx", address, Answer(Outcome.FOUND, on_it, MOMENT, cut=cut)),
    )
    beliefs = ((trailhead, 1.0), (address, 0.99), *((name, 0.95) for name in names[:own]))
    return Analysis(
        trailhead,
        "selective",
        (Step(1, ("dns", "otx"), questions, (address, *names[:own])),),
        (trailhead, address, *names[:own]),
        *(Stopped.POLICY, Tlp.AMBER, Pap.GREEN),
        MOMENT,
        MOMENT,
        beliefs=beliefs,
    )


@pytest.mark.parametrize(
    ("strangers", "own", "cut", "blocked"),
    [(SHARED, 0, 0, True), (SHARED + 1, 0, 0, False), (SHARED, 30, 0, True), (0, 0, 5, False)],
    ids=["few strangers", "many strangers", "many of its own", "more than can be told"],
)
def test_an_address_that_strangers_live_on_is_not_blocked(
    strangers: int, own: int, cut: int, blocked: bool
) -> None:
    analysis = hosting(strangers, own, cut)
    some = of(analysis)

    listed = out(Form.BLOCKLIST, analysis, some).splitlines()
    assert ("192.0.2.1" in listed) is blocked
    assert "start.com" in listed


@pytest.mark.parametrize("pap", [Pap.AMBER, Pap.RED])
def test_no_block_list_where_pap_lets_nobody_act(green: Analysis, pap: Pap) -> None:
    analysis = replace(green, pap=pap)

    with pytest.raises(UsageError, match="lets nobody block"):
        out(Form.BLOCKLIST, analysis, of(analysis))


def test_a_block_list_holds_live_values_and_no_file_names(green: Analysis) -> None:
    some = of(green, 0.0)
    lines = out(Form.BLOCKLIST, green, some).splitlines()
    values = [line for line in lines if not line.startswith("#")]

    kinds = {m.sample.kind for m in some if m.sample.value in values}
    assert Kind.FILENAME in {m.sample.kind for m in some if m.good}
    assert kinds == {Kind.IPV4, Kind.HOSTNAME, Kind.URL, Kind.MD5}
    assert len(values) == len(set(values))


def test_indicators_stand_in_the_bundle_above_the_dial_alone_and_expire(green: Analysis) -> None:
    some = of(green, 0.8)
    text = out(Form.STIX, green, some)
    parsed = stix2.parse(text, version="2.1")
    indicators = [o for o in parsed.objects if o.type == "indicator"]

    assert {o["name"].split(" ", 1)[0] for o in indicators} <= {kind.value for kind in Kind}
    assert len(indicators) == len(good(some))
    assert all(timedelta() < o.valid_until - o.valid_from <= timedelta(days=365) for o in indicators)
    assert all(o.confidence >= 80 for o in indicators)
    based = {
        o.source_ref for o in parsed.objects if o.type == "relationship" and o.relationship_type == "based-on"
    }
    assert based == {o.id for o in indicators}
    assert text == out(Form.STIX, green, some)
    assert not [o for o in stix2.parse(out(Form.STIX, green, [])).objects if o.type == "indicator"]


def test_patterns_of_quotes_and_backslashes_are_valid(green: Analysis) -> None:
    odd = [Sample(Kind.FILENAME, text) for text in ("it's.exe", "a\\b'c.exe", "'] OR [x")]
    analysis = replace(green, samples=(green.trailhead, *odd), beliefs=tuple((s, 1.0) for s in odd))

    objects = stix2.parse(out(Form.STIX, analysis, of(analysis))).objects
    assert sum(o.type == "indicator" for o in objects) == 1 + len(odd)


def test_a_misp_event_is_read_again_by_our_own_reader(green: Analysis) -> None:
    some = of(green, 0.8)
    (report,) = read(json.loads(out(Form.MISP, green, some)))

    assert report.goal == set(green.samples)
    assert (report.tlp, report.publisher) == (green.tlp, "CERT")
    event = json.loads(out(Form.MISP, green, some))["Event"]
    assert event["published"] is False
    assert sum(a["to_ids"] for a in event["Attribute"]) == len(good(some))


def test_hostile_values_are_text_in_every_form(green: Analysis) -> None:
    hostile = [Sample(Kind.FILENAME, text) for text in PAYLOADS]
    hostile += [Sample(Kind.URL, "http://evil.example.com/" + text) for text in PAYLOADS]
    analysis = replace(
        green,
        samples=(green.trailhead, *hostile),
        beliefs=tuple((s, 1.0) for s in hostile),
        benign=tuple((s, text) for s, text in zip(hostile[:5], PAYLOADS[10:], strict=False)),
    )
    some = of(analysis)

    for live in (False, True):
        rows = list(csv.reader(io.StringIO(out(Form.CSV, analysis, some, live=live), newline="")))
        assert len(rows) == 1 + len(some)
        assert not [cell for row in rows for cell in row if cell[:1] in "=+-@\t\r" and cell]
    for form in (Form.TEXT, Form.CSV):
        text = out(form, analysis, some)
        assert not re.search(r"https?://", text, re.IGNORECASE)
        assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b\x00-\x08\x1b]", text)
    lines = out(Form.BLOCKLIST, analysis, some).splitlines()
    assert all(
        line.startswith(("#", "http://evil.example.com/")) or line == "start.evil.example.com"
        for line in lines
    )
    for form in (Form.MISP, Form.STIX):
        assert json.loads(out(form, analysis, some))


def test_a_dial_beyond_a_probability_is_refused(green: Analysis) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        of(green, 1.1)
