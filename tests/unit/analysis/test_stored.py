import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from threatwalk.analysis.analysis import Analysis, Proposed, Question, Step, Stopped
from threatwalk.analysis.stored import dumps, loads
from threatwalk.errors import DocumentError
from threatwalk.pivot import Answer, Outcome, Pivot
from threatwalk.reports.report import Pap, Tlp
from threatwalk.sample import Kind, Sample

moments = st.datetimes(timezones=st.just(UTC))
samples = st.builds(Sample, st.sampled_from(Kind), st.text(min_size=1))
names = st.sampled_from(["dns", "otx", "whois"])
values = st.lists(
    st.tuples(st.lists(names).map(tuple), st.floats(allow_nan=False, allow_infinity=False))
).map(tuple)
pivots = st.builds(
    Pivot, samples, names, samples, st.none() | moments, st.none() | moments, st.none() | st.text()
)
answers = st.builds(
    Answer,
    st.sampled_from(Outcome),
    st.lists(pivots, max_size=3).map(tuple),
    st.none() | moments,
    st.none() | st.text(),
    st.integers(0, 9),
    st.booleans(),
)
questions = st.builds(Question, names, samples, answers)
steps = st.builds(
    Step,
    st.integers(0, 2047),
    st.lists(names).map(tuple),
    st.lists(questions, max_size=3).map(tuple),
    st.lists(samples, max_size=3).map(tuple),
    values,
)
proposals = st.builds(Proposed, names, samples, st.floats(allow_nan=False, allow_infinity=False), st.text())


@st.composite
def analyses(draw: st.DrawFn) -> Analysis:
    walked = draw(st.lists(steps, max_size=3).map(tuple))
    return Analysis(
        trailhead=draw(samples),
        policy=draw(st.text()),
        steps=walked,
        samples=draw(st.lists(samples, max_size=5).map(tuple)),
        stopped=draw(st.sampled_from(Stopped)),
        tlp=draw(st.sampled_from(Tlp)),
        pap=draw(st.sampled_from(Pap)),
        started_at=draw(moments),
        finished_at=draw(moments),
        values=draw(values),
        budget=draw(st.none() | st.integers(0, 99)),
        model=draw(st.none() | st.text()),
        held_back=tuple(draw(st.dictionaries(names, st.text())).items()),
        next=draw(st.lists(proposals, max_size=2).map(tuple)),
    )


@settings(deadline=None)
@given(analyses())
def test_an_analysis_comes_back_as_it_was(analysis: Analysis) -> None:
    text = dumps(analysis)

    assert loads(text) == analysis
    assert dumps(loads(text)) == text


def test_a_lone_surrogate_in_a_file_name_survives() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    odd = Sample(Kind.FILENAME, "a\ud800b")
    analysis = Analysis(odd, "p", (), (odd,), Stopped.POLICY, Tlp.RED, Pap.RED, moment, moment)

    assert loads(dumps(analysis).encode("ascii")) == analysis


def test_an_analysis_of_before_anybody_was_asked_for_help_is_read() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    some = Sample(Kind.FILENAME, "a.exe")
    analysis = Analysis(some, "p", (), (some,), Stopped.POLICY, Tlp.RED, Pap.RED, moment, moment)
    older = json.loads(dumps(analysis))
    del older["next"]

    assert loads(json.dumps(older)) == analysis


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"form": 1}', "[" * 100_000, b"\xff"])
def test_another_text_is_refused(text: str | bytes) -> None:
    with pytest.raises(DocumentError):
        loads(text)


def test_a_later_form_is_refused_by_name() -> None:
    with pytest.raises(DocumentError, match="form 2"):
        loads(json.dumps({"form": 2}))
