"""Tags: what was found is as strict as the strictest sample that led to it."""

import pytest
from tests.unit.gate.conftest import Fake, MakeGate, filter_of

from threatwalk.gate.recorder import Recorder, Start
from threatwalk.gate.tags import Tags
from threatwalk.reports.report import Pap, Tlp
from threatwalk.sample import Sample, parse

A, B, C, D, E = (parse(f"ipv4:198.51.100.{n}") for n in range(1, 6))


def test_a_found_sample_has_the_strictest_tag_of_its_parents() -> None:
    tags = Tags({A: Tlp.GREEN, B: Tlp.AMBER, C: Tlp.RED})
    tags.found(A, [D, E])
    assert tags[D] is Tlp.GREEN

    tags.found(B, [D])
    assert tags[D] is Tlp.AMBER
    assert tags[E] is Tlp.GREEN

    tags.found(A, [D])
    assert tags[D] is Tlp.AMBER


def test_a_sample_that_becomes_stricter_later_makes_its_own_finds_stricter() -> None:
    tags = Tags({A: Tlp.CLEAR, B: Tlp.RED})
    tags.found(A, [C])
    tags.found(C, [D])
    tags.found(D, [C, E])

    tags.found(B, [C])

    assert [tags[one] for one in (A, B, C, D, E)] == [Tlp.CLEAR, Tlp.RED, Tlp.RED, Tlp.RED, Tlp.RED]


def test_a_sample_of_a_report_is_not_freer_than_what_leads_to_it() -> None:
    tags = Tags({A: Tlp.CLEAR, B: Tlp.AMBER_STRICT})
    tags.found(B, [A])

    assert tags[A] is Tlp.AMBER_STRICT


def test_where_all_have_one_tag_nothing_is_remembered() -> None:
    tags = Tags({A: Tlp.GREEN, B: Tlp.GREEN})
    tags.found(A, [C])

    assert tags[C] is Tlp.GREEN
    assert not tags._children


@pytest.mark.parametrize("follow", [1, 50])
async def test_what_is_not_followed_is_as_strict(make_gate: MakeGate, follow: int) -> None:
    """C is found about A, which anybody may be asked about, and as the last about B, which nobody may."""
    links: dict[Sample, list[Sample]] = {A: [C], B: [*(parse(f"ipv4:203.0.113.{n}") for n in range(9)), C]}
    fake = Fake(lambda sample: " ".join(map(str, links.get(sample, []))))
    f, near = filter_of(fake, name="far"), Fake(fake.say)
    local = filter_of(near, name="near", opsec=f.opsec.LOCAL)
    async with make_gate(f, local) as gate:
        run = Recorder(
            gate,
            (local, f),
            questions=100,
            follow=follow,
            in_flight=1,
            pap=Pap.CLEAR,
            active_dns=False,
            rest_s=0,
        )
        start = [Start(A, Tlp.CLEAR, frozenset({0})), Start(B, Tlp.RED, frozenset({1}))]
        await run.run(start, hops=2)

    assert fake.calls == [A]
    assert C in near.calls
