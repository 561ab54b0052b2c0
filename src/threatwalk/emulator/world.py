"""A made-up internet: campaigns with infrastructure among hubs and strangers, and what eleven sources say.

`make_world(seed, reports)` is a pure function: the same numbers give the same world.
"""

import random
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cache

import numpy as np

from threatwalk.emulator.campaign import Campaign, Style, found_campaign
from threatwalk.emulator.graph import UNDATED, Builder, Graph, Ids
from threatwalk.emulator.internet import EPOCH, Internet, build
from threatwalk.emulator.names import Names
from threatwalk.emulator.relations import RELATIONS
from threatwalk.emulator.styles import STYLES
from threatwalk.reports.report import Report, Tlp
from threatwalk.sample import Sample

PUBLISHED = (date(2024, 9, 1) - EPOCH).days, (date(2026, 9, 30) - EPOCH).days
SMALLEST, MEDIAN, SPREAD, LARGEST = 5, 20.0, 0.85, 260  # set sizes: lognormal, clipped
SERIES = (0.8, 0.12, 0.05, 0.03)  # chance of a campaign with 1, 2, 3, 4 reports
_CARDS = 5  # of a style of weight 1 in the deck
_TLPS = (Tlp.CLEAR, Tlp.GREEN, Tlp.AMBER)


@dataclass(frozen=True, slots=True)
class Found:
    """One finding of an answer; times are aware UTC, None: the source does not tell."""

    sample: Sample
    first_seen: datetime | None
    last_seen: datetime | None


@dataclass(frozen=True, slots=True)
class World:
    """Reports, and the answers of all eleven sources to every sample of the world.

    `styles` tells each report's style: for scores of a playbook that is told it, never for an agent.
    """

    seed: int
    reports: tuple[Report, ...]
    styles: Mapping[str, str] = field(repr=False)
    graph: Graph = field(repr=False)
    _ids: Mapping[Sample, int] = field(repr=False)

    def answer(self, source: str, sample: Sample) -> tuple[Found, ...]:
        """What `source` knows about `sample`; empty: it is known to know nothing."""
        i = self._ids.get(sample)
        if i is None:
            return ()
        known = self.graph.answers[source]
        part = slice(int(known.start[i]), int(known.start[i + 1]))
        return tuple(
            Found(self.graph.samples[j], moment(first), moment(last))
            for j, first, last in zip(
                known.found[part].tolist(), known.first[part].tolist(), known.last[part].tolist(), strict=True
            )
        )

    def accepted(self, source: str) -> tuple[Sample, ...]:
        """Every sample of the world that the source may be asked about."""
        return tuple(s for s in self.graph.samples if s.kind in RELATIONS[source])


@cache
def moment(day: int) -> datetime | None:
    """Midnight UTC of a day since 1970-01-01; None for an undated one."""
    return None if day == UNDATED else datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)


def make_world(seed: int, reports: int) -> World:
    """The world of a seed with so many reports."""
    rng = np.random.default_rng([seed, reports])
    graph, names = Builder(), Names.of(random.Random(f"{seed}/{reports}"))
    net = build(graph, names, rng, size=(reports / 1000) ** 0.5)
    made: list[Report] = []
    styles: dict[str, str] = {}
    for number, style in enumerate(_dealt(rng), start=1):
        if len(made) == reports:
            break
        for report in _publish(net, style, number, reports - len(made)):
            made.append(report)
            styles[report.id] = style.name
    made.sort(key=lambda report: (str(report.published), report.id))
    samples = graph.freeze()
    return World(seed, tuple(made), styles, samples, {s: i for i, s in enumerate(samples.samples)})


def _dealt(rng: np.random.Generator) -> Iterator[Style]:
    """Styles as from a shuffled deck, again and again: worlds differ in their campaigns, not in their mix."""
    deck = [style for style in STYLES for _ in range(round(style.weight * _CARDS))]
    while True:
        for i in rng.permutation(len(deck)).tolist():
            yield deck[i]


def _publish(net: Internet, style: Style, number: int, room: int) -> list[Report]:
    """The one to four reports of a new campaign."""
    rng = net.rng
    count = min(room, 1 + int(rng.choice(len(SERIES), p=SERIES)))
    usual = rng.lognormal(np.log(MEDIAN), SPREAD)
    sizes = np.clip(usual * rng.lognormal(0, 0.25, count), SMALLEST, LARGEST).round().astype(int)
    day = int(rng.integers(*PUBLISHED))
    size = int(sizes.max() * (1 + 0.15 * (count - 1)))
    campaign = found_campaign(net, style, day, size)
    title = f"{net.names.word().capitalize()} {net.names.pick(('Otter', 'Heron', 'Lynx', 'Viper', 'Moth', 'Crane'))}"
    made = []
    for part, wanted in enumerate(sizes.tolist()):
        goal = _goal(campaign, wanted)
        made.append(
            Report(
                id=str(uuid.UUID(int=net.names.rng.getrandbits(128), version=4)),
                title=title if count == 1 else f"{title}, part {part + 1}",
                published=EPOCH + timedelta(days=day + 30 * part),
                goal=frozenset(net.graph.samples[i] for i in goal.tolist()),
                tlp=_TLPS[int(rng.choice(3, p=(0.7, 0.2, 0.1)))],
                campaign=f"c{number:05d}",
            )
        )
    return made


def _goal(campaign: Campaign, wanted: int) -> Ids:
    """A report names a random part of each reported role."""
    rng = campaign.net.rng
    listed = [campaign.roles[role.name] for role in campaign.style.roles if role.share]
    everyone = np.unique(np.concatenate(listed))
    return rng.choice(everyone, min(len(everyone), max(SMALLEST, wanted)), replace=False)
