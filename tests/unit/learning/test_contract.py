"""The data contract as a function: figures and limits in, checks with culprits out."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from threatwalk.archive import tables
from threatwalk.errors import DataError, ParamsError
from threatwalk.learning import census, contract
from threatwalk.learning.census import Census, Trait
from threatwalk.learning.contract import Accepted, Check
from threatwalk.params import Acceptance, load
from threatwalk.stages.ingest import SCHEMA

PARAMS = load(Path(__file__).parents[3] / "params.yaml")
LIMITS = PARAMS.contract
BEGAN = date(2020, 1, 1)


def story(
    number: int, *samples: str, day: date | None = BEGAN, publisher: str = "ESET", name: str = "r"
) -> pa.Table:
    """One report; its samples are `kind:value`, by default six that no other report has."""
    goal = (
        samples
        or tuple(f"domain:{name}{number}x{i}.com" for i in range(4))
        + (f"ipv4:10.0.{number % 250}.{number // 250}",) * 1
    )
    rows = [
        (f"{name}{number:04}", "t", day, "clear", "feed", None, publisher, "", "misp", *one.split(":", 1))
        for one in goal
    ]
    columns = zip(*rows, strict=True)
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)


def clean(count: int = 200, first: int = 0) -> list[pa.Table]:
    return [story(i, day=BEGAN + timedelta(days=3 * i)) for i in range(first, first + count)]


def taken(*stories: pa.Table, answers: Iterable[pa.Table] = ()) -> Census:
    return census.take(pa.concat_tables(stories), PARAMS.split, answers=answers)


def broken(made: Census, accepted: Census | None = None, **files: int) -> dict[str, Check]:
    before = Accepted.of(contract.memory(accepted)) if accepted else None
    return {one.name: one for one in contract.checks(made, files, [], before, LIMITS) if not one.ok}


def test_a_clean_corpus_and_its_next_months_keep_the_contract() -> None:
    before = taken(*clean(200))

    assert broken(before) == {}
    assert broken(taken(*clean(240)), before) == {}


def test_too_few_reports_and_too_many_unreadable_files_are_breaches() -> None:
    assert set(broken(taken(*clean(5)), files_read=10, reports_rejected=4)) == {"reports", "rejected"}


@pytest.mark.parametrize(
    ("name", "fake"),
    [
        ("hubs", {"samples": ["domain:hub.com", "domain:f{i}a.com", "domain:f{i}b.com"]}),
        ("copies", {"samples": [f"domain:copy{j}.com" for j in range(20)] + ["ipv4:9.9.9.{i}"]}),
        ("odd_dates", {"day": date(2099, 1, 1)}),
        ("flood", {"day": date(2021, 1, 5), "publisher": "Truth Lab"}),
    ],
    ids=["hubs", "copies", "odd dates", "flood"],
)
def test_fakes_break_it_at_a_twentieth_and_are_named_and_a_few_break_nothing(
    name: str, fake: dict[str, object]
) -> None:
    def fakes(count: int) -> list[pa.Table]:
        samples = [str(one) for one in fake.get("samples", ())]  # type: ignore[attr-defined]
        about = {"publisher": "Forger", "day": BEGAN + timedelta(days=100)} | fake
        about.pop("samples", None)
        return [
            story(i, *(one.format(i=i) for one in samples), name="fake", **about)  # type: ignore[arg-type]
            for i in range(count)
        ]

    few, many = broken(taken(*clean(), *fakes(2))), broken(taken(*clean(), *fakes(11)))

    assert few == {}
    culprit = many[name].culprits[0]
    assert culprit.publisher == f"feed: {fake.get('publisher', 'Forger')}"
    assert set(culprit.ids) == {f"fake{i:04}" for i in range(11)}
    assert culprit.ids[0] in str(many[name])


def test_reports_put_together_from_others_are_told() -> None:
    known = [f"domain:r{i}x0.com" for i in range(100)]
    patched = [story(i, *known[i * 8 : i * 8 + 8], name="patch") for i in range(11)]

    assert broken(taken(*clean(), *patched))["patchwork"].value == pytest.approx(11 / 211)


def test_reports_whose_samples_lead_nowhere_are_told_where_those_of_others_do() -> None:
    def answers(stories: list[pa.Table], *, linked: bool) -> pa.Table:
        rows = []
        for one in stories:
            kinds, values = one["kind"].to_pylist(), one["value"].to_pylist()
            for kind, value in zip(kinds[1:], values[1:], strict=True):
                found = (kinds[0], values[0]) if linked else ("domain", f"elsewhere-{value}.com")
                rows.append(("otx", kind, value, *found, None, None, None, None))
        columns = zip(*rows, strict=True)
        return pa.table(
            [pa.array(c, f.type) for c, f in zip(columns, tables.SCHEMA, strict=True)], schema=tables.SCHEMA
        )

    honest, loose = clean(), [story(i, name="fake") for i in range(11)]
    linked, alone = answers(honest, linked=True), answers(loose, linked=False)

    made = broken(taken(*honest, *loose, answers=[linked, alone]))
    assert set(made["loose"].culprits[0].ids) == {f"fake{i:04}" for i in range(11)}
    # where nothing hangs together, it is no sign
    assert "loose" not in broken(taken(*honest, *loose, answers=[answers(honest, linked=False), alone]))


def test_what_leads_to_very_many_is_a_hub_by_the_archive_alone() -> None:
    rows = [("dns", "domain", f"s{i}.com", "ipv4", "10.0.7.0", None, None, None, None) for i in range(101)]
    columns = zip(*rows, strict=True)
    answers = pa.table(
        [pa.array(c, f.type) for c, f in zip(columns, tables.SCHEMA, strict=True)], schema=tables.SCHEMA
    )

    made = taken(*clean(), answers=[answers])

    assert np.flatnonzero(made.traits[Trait.HUBS]).tolist() == [7]
    assert made.hubs == {"ipv4:10.0.7.0": 1}


def test_news_are_held_against_what_was_usual() -> None:
    before = taken(*clean())
    late = [story(i, name="late", day=BEGAN + timedelta(days=40 * i)) for i in range(11)]
    urls = [story(i, *(f"url:http://u{i}.com/{j}" for j in range(6)), name="url", day=date(2022, 1, 1), publisher="X")
            for i in range(11)]  # fmt: skip
    rewritten = [story(i, *(f"domain:other{i}x{j}.com" for j in range(5))) for i in range(11)]

    assert set(broken(taken(*clean(), *late), before)) == {"backdated"}
    assert {"new_single_kind", "new_publisher"} <= set(broken(taken(*clean(), *urls), before))
    assert "rewritten" in broken(taken(*clean()[11:], *rewritten), before)
    assert set(broken(taken(*clean()[50:]), before)) == {"lost"}
    # one alone is neither much nor more than chance
    assert broken(taken(*clean(), *late[:1], *urls[:1]), before) == {}


def test_a_flood_that_was_accepted_is_over() -> None:
    flooded = [*clean(), *(story(i, name="flood", publisher="Truth Lab") for i in range(20))]

    assert "flood" in broken(taken(*flooded))
    assert broken(taken(*flooded, *clean(5, first=200)), taken(*flooded)) == {}


def test_a_breach_is_accepted_by_name_up_to_a_value_and_says_who_and_why() -> None:
    made = taken(*clean(), *(story(i, name="odd", day=date(2099, 1, 1)) for i in range(11)))

    def odd(up_to: float) -> Check:
        accept = (Acceptance("odd_dates", up_to, "A. Name", "ticket 4711"),)
        checks = contract.checks(made, {}, [], None, replace(LIMITS, accept=accept))
        return next(one for one in checks if one.name == "odd_dates")

    assert odd(0.06).ok
    assert odd(0.06).accepted == "A. Name: ticket 4711"
    assert not odd(0.05).ok


@pytest.mark.parametrize(
    "accept",
    [Acceptance("hub", 1, "A", "b"), Acceptance("hubs", 1, " ", "b"), Acceptance("hubs", 1, "A", "")],
)
def test_an_acceptance_names_a_check_and_a_person_and_a_reason(accept: Acceptance) -> None:
    with pytest.raises(ParamsError, match=r"contract\.accept"):
        contract.checks(taken(*clean(20)), {}, [], None, replace(LIMITS, accept=(accept,)))


def test_torn_groups_are_a_breach() -> None:
    made = contract.checks(taken(*clean(20)), {}, ["r0003"], None, LIMITS)

    assert next(one for one in made if not one.ok).culprits[0].ids == ("r0003",)


def test_the_chance_is_that_of_the_binomial_distribution() -> None:
    assert contract.tail(0, 10, 0.3) == 1
    assert contract.tail(3, 3, 0.1) == pytest.approx(0.001)
    assert contract.tail(2, 4, 0.5) == pytest.approx(11 / 16)


def test_what_is_no_memory_of_a_dataset_is_refused() -> None:
    assert Accepted.of({}) is None
    with pytest.raises(DataError, match="last accepted dataset"):
        Accepted.of({"figures": {}, "prints": []})
