from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from threatwalk.archive.tables import SCHEMA
from threatwalk.errors import DataError
from threatwalk.learning import building
from threatwalk.learning.dataset import NEVER, UNDATED, Dataset, trailheads
from threatwalk.sample import Kind, Sample, parse
from threatwalk.stages.ingest import SCHEMA as REPORTS

EVERY = frozenset(Kind)
A, B, C = "domain:a.com", "domain:b.com", "ipv4:192.0.2.1"
Answer = tuple[str, str, str | None, str | None, str | None]  # filter, sample, found, day, reference


def reports(table: Mapping[str, tuple[str | None, list[str]]]) -> pa.Table:
    """Report id -> day, samples."""
    rows = [
        {
            "report": name,
            "title": name,
            "published": date.fromisoformat(day) if day else None,
            "kind": str(one.kind),
            "value": one.value,
        }
        for name, (day, samples) in table.items()
        for one in map(parse, samples)
    ]
    return pa.Table.from_pylist(rows, schema=REPORTS)


def answers(*rows: Answer) -> pa.Table:
    made = []
    for name, asked, found, day, reference in rows:
        origin, other = parse(asked), parse(found) if found else None
        first = datetime.fromisoformat(day).replace(tzinfo=UTC) if day else None
        made.append(
            {
                "filter": name,
                "kind": str(origin.kind),
                "value": origin.value,
                "found_kind": other and str(other.kind),
                "found_value": other and other.value,
                "first_seen": first,
                "reference": reference,
            }
        )
    return pa.Table.from_pylist(made, schema=SCHEMA)


def compiled(
    folder: Path,
    rows: list[Answer],
    table: Mapping[str, tuple[str | None, list[str]]] | None = None,
    *,
    groups: Mapping[str, int] | None = None,
    merge_hosts: bool = False,
    least: int = 1,
) -> Dataset:
    known = table or {"r1": ("2026-01-10", [A, B, C])}
    group = groups or {name: i for i, name in enumerate(sorted(known))}
    goals = building.goals(reports(known), group, dict.fromkeys(known, "train"), {"r1": "flux"})
    builder = building.Builder(
        folder / "compiled", ("dns", "otx"), goals, audit=True, merge_hosts=merge_hosts, least=least
    )
    builder.add_answers(answers(*rows), group)
    builder.save(lambda name: EVERY if name != "dns" else EVERY - {Kind.IPV4})
    return Dataset.load(folder / "compiled")


def asks(data: Dataset, name: str, asked: str, *, goal: int | None = None) -> set[str]:
    """What the archive answers; with a goal, as far as the audit lets it pass."""
    number = data.samples.number(parse(asked))
    assert number is not None
    f = data.filters.index(name)
    edges = np.arange(data.indptr[f, number], data.indptr[f, number + 1])
    if goal is not None:
        edges = edges[data.valid(edges, np.full(len(edges), goal))]
    return {str(data.samples[int(i)]) for i in data.found[edges]}


def test_answers_become_rows_of_numbers(tmp_path: Path) -> None:
    data = compiled(
        tmp_path, [("dns", A, C, None, None), ("dns", A, B, None, None), ("otx", C, None, None, None)]
    )

    assert asks(data, "dns", A) == {B, C}
    assert asks(data, "otx", C) == set()
    assert [str(s) for s in data.samples] == sorted([A, B, C])
    assert data.reports == ("r1",)
    assert data.styles == ("flux",)


def test_asked_and_known_to_be_nothing_is_not_the_same_as_not_asked(tmp_path: Path) -> None:
    data = compiled(tmp_path, [("dns", A, C, None, None), ("otx", C, None, None, None)])

    asked = {
        (data.filters[f], str(data.samples[int(s)])) for f, s in zip(*np.nonzero(data.asked), strict=True)
    }
    assert asked == {("dns", A), ("otx", C)}


def test_a_filter_that_nobody_knows_comes_last_and_a_known_one_keeps_its_id(tmp_path: Path) -> None:
    data = compiled(
        tmp_path, [("zoo", A, B, None, None), ("bar", A, C, None, None), ("otx", A, B, None, None)]
    )

    assert data.filters == ("dns", "otx", "bar", "zoo")
    assert (asks(data, "zoo", A), asks(data, "bar", A), asks(data, "otx", A)) == ({B}, {C}, {B})


def test_what_each_filter_accepts_is_part_of_the_dataset(tmp_path: Path) -> None:
    data = compiled(tmp_path, [("dns", A, C, None, None)])

    number = data.samples.number(parse(C))
    assert data.accepts[:, data.kind[number]].tolist() == [False, True]


@pytest.mark.parametrize(
    ("evidence", "passes"),
    [
        ([("2026-01-09", None)], True),
        ([("2026-01-10", None)], True),
        ([("2026-01-11", None)], False),
        ([(None, None)], True),
        ([("2026-01-01", "r1")], False),
        ([("2026-01-01", "https://otx.example/pulse/r1?page=1")], False),
        ([("2026-01-01", "r2")], False),
        ([("2026-01-01", "r3")], True),
        ([("2026-01-01", "r1"), ("2026-01-05", "r3")], True),
        ([("2026-01-01", "r1"), ("2026-01-05", None)], True),
        ([("2026-01-01", "r1"), ("2026-01-11", None)], False),
    ],
    ids=[
        "older", "same-day", "younger", "undated", "cites-the-report", "cites-it-in-a-url", "cites-its-near-duplicate",
        "cites-another", "cites-it-first-another-later", "cites-it-first-plain-later", "cites-it-first-too-young-later",
    ],
)  # fmt: skip
def test_the_audit_drops_what_cites_the_report_or_is_younger(
    tmp_path: Path, evidence: list[tuple[str | None, str | None]], passes: bool
) -> None:
    known: dict[str, tuple[str | None, list[str]]] = {
        "r1": ("2026-01-10", [A, B]), "r2": ("2026-01-02", [A, B]), "r3": ("2026-01-03", [A, C]),
    }  # fmt: skip
    rows: list[Answer] = [("otx", A, B, day, reference) for day, reference in evidence]

    data = compiled(tmp_path, rows, known, groups={"r1": 7, "r2": 7, "r3": 8})

    assert asks(data, "otx", A) == {B}
    assert asks(data, "otx", A, goal=0) == ({B} if passes else set())


def test_no_evidence_is_younger_than_a_report_without_a_date(tmp_path: Path) -> None:
    data = compiled(tmp_path, [("otx", A, B, "2030-01-01", None)], {"r1": (None, [A, B])})

    assert data.day.tolist() == [NEVER]
    assert asks(data, "otx", A, goal=0) == {B}


def test_an_undated_answer_is_older_than_everything(tmp_path: Path) -> None:
    assert compiled(tmp_path, [("otx", A, B, None, None)]).first_day.tolist() == [UNDATED]


def test_an_answer_that_holds_the_question_adds_nothing(tmp_path: Path) -> None:
    assert asks(compiled(tmp_path, [("otx", A, A, None, None), ("otx", A, B, None, None)]), "otx", A) == {B}


def test_a_url_and_its_host_can_count_as_one(tmp_path: Path) -> None:
    url, host = "url:http://a.com/x", "domain:a.com"

    data = compiled(
        tmp_path,
        [("otx", url, B, None, None), ("otx", host, url, None, None)],
        {"r1": ("2026-01-10", [url, host, B])},
        merge_hosts=True,
    )

    assert {str(data.samples[int(i)]) for i in data.goal(0)} == {host, B}
    assert asks(data, "otx", host) == {B}


@pytest.mark.parametrize(("merge_hosts", "goals"), [(False, [0, 1]), (True, [1])])
def test_what_merging_makes_too_small_is_evidence_and_no_goal(
    tmp_path: Path, merge_hosts: bool, goals: list[int]
) -> None:
    small, large = ["url:http://a.com/x", "domain:a.com"], ["url:http://a.com/x", A, B]

    data = compiled(
        tmp_path,
        [("otx", "domain:a.com", B, None, None)],
        {"r1": ("2026-01-10", small), "r2": ("2026-01-11", large)},
        merge_hosts=merge_hosts,
        least=2,
    )

    assert data.goals("train").tolist() == goals
    assert data.reports == ("r1", "r2")


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    rows: list[Answer] = [("otx", A, B, "2026-01-01", "r1"), ("dns", A, C, None, None)]

    one, two = compiled(tmp_path / "1", rows), compiled(tmp_path / "2", rows[::-1])

    assert one.digest == two.digest


def test_slices_of_any_size_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    every = [A, B, C, *(f"domain:x{i}.com" for i in range(9))]
    rows: list[Answer] = [
        (name, one, other, day, None)
        for day in ("2026-01-02", "2026-01-01", None)
        for name in ("otx", "zoo")
        for i, one in enumerate(every)
        for other in (every[::3] if i % 2 else [None])
    ]
    whole = compiled(tmp_path / "whole", rows)

    monkeypatch.setattr(building, "_SLICE", 2)
    monkeypatch.setattr(building, "_TEXTS", 1)
    sliced = compiled(tmp_path / "sliced", rows)

    assert sliced.digest == whole.digest
    assert np.diff(whole.indptr).sum() == len(whole.found) > 40


def test_a_report_outside_the_split_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'r1'"):
        building.goals(reports({"r1": (None, [A, B])}), {}, {}, {})


@pytest.mark.parametrize("broken", ["meta.json", "found.npy", "samples.parquet"])
def test_a_damaged_folder_is_an_error_that_says_what_to_run(tmp_path: Path, broken: str) -> None:
    compiled(tmp_path, [("otx", A, B, None, None)])
    (tmp_path / "compiled" / broken).write_bytes(b"\x00")

    with pytest.raises(DataError, match="threatwalk compile"):
        Dataset.load(tmp_path / "compiled")


def test_a_sample_is_found_by_its_value(tmp_path: Path) -> None:
    data = compiled(tmp_path, [("otx", A, B, None, None)])

    assert [data.samples.number(s) for s in data.samples] == list(range(len(data.samples)))
    assert data.samples.number(Sample(Kind.DOMAIN, "nowhere.com")) is None
    assert data.samples.number(Sample(Kind.MD5, "0" * 32)) is None


def test_trailheads_are_distinct_samples_of_their_goals(tmp_path: Path) -> None:
    data = compiled(tmp_path, [("otx", A, B, None, None)])

    goals, heads = trailheads(data, np.array([0]), 2, np.random.default_rng(0))

    assert goals.tolist() == [0, 0]
    assert len(set(heads.tolist())) == 2
    assert data.contains(goals, heads).all()
