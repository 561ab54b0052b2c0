"""Poisoned reports in several styles, for S13: fakes among the reports of a corpus, as rows of its table."""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from threatwalk.stages.ingest import SCHEMA

Key = tuple[str, str]  # kind and value


@dataclass(frozen=True)
class Story:
    """One report: who published it, when, and its samples."""

    id: str
    published: date | None
    source: str
    publisher: str
    goal: tuple[Key, ...]
    campaign: str | None = None


@dataclass(frozen=True)
class Ground:
    """What who writes fakes knows of a corpus: its reports, its hubs and what leads to each of them."""

    stories: tuple[Story, ...]
    hubs: tuple[tuple[Key, tuple[Key, ...]], ...]

    @property
    def days(self) -> list[date]:
        return sorted(one.published for one in self.stories if one.published)


def stories(table: pa.Table) -> tuple[Story, ...]:
    """The reports of a table of `stages.ingest`."""
    made: dict[str, Story] = {}
    goals: dict[str, list[Key]] = {}
    names = ("report", "published", "source", "publisher", "campaign", "kind", "value")
    for report, day, source, publisher, campaign, kind, value in zip(
        *(table[name].to_pylist() for name in names), strict=True
    ):
        made.setdefault(report, Story(report, day, source, publisher, (), campaign))
        goals.setdefault(report, []).append((kind, value))
    return tuple(replace(one, goal=tuple(goals[one.id])) for one in made.values())


def rows(told: Iterable[Story]) -> pa.Table:
    """Stories as a table of `stages.ingest`."""
    columns = [
        (one.id, one.id, one.published, None, one.source, one.campaign, one.publisher, "", "misp", *key)
        for one in told
        for key in sorted(set(one.goal))
    ]
    return pa.table(
        [
            pa.array(column, field.type)
            for column, field in zip(zip(*columns, strict=True), SCHEMA, strict=True)
        ],
        schema=SCHEMA,
    )


def hubs_of_answers(answers: Sequence[pa.Table], most: int = 30) -> tuple[tuple[Key, tuple[Key, ...]], ...]:
    """The samples that most others lead to by some source, with 200 of those."""
    led: dict[Key, list[Key]] = {}
    for table in answers:
        counts = (
            table.filter(pc.is_valid(table["found_value"]))
            .group_by(["found_kind", "found_value"])
            .aggregate([("value", "count_distinct")])
        )
        top = counts.sort_by([("value_count_distinct", "descending")]).slice(0, most)
        for kind, value in zip(top["found_kind"].to_pylist(), top["found_value"].to_pylist(), strict=True):
            own = table.filter(
                pc.and_(pc.equal(table["found_value"], value), pc.equal(table["found_kind"], kind))
            )
            led.setdefault((kind, value), []).extend(
                zip(own["kind"].to_pylist(), own["value"].to_pylist(), strict=True)
            )
    order = sorted(led, key=lambda hub: (-len(set(led[hub])), hub))[:most]
    return tuple((hub, tuple(sorted(set(led[hub]))[:200])) for hub in order)


def hubs_of_reports(told: Sequence[Story], most: int = 10) -> tuple[tuple[Key, tuple[Key, ...]], ...]:
    """Where nobody recorded answers: the hosts that most reports name, and nothing that leads to them."""
    counts = Counter(key for one in told for key in set(one.goal) if key[0] in {"domain", "hostname", "ipv4"})
    return tuple((hub, ()) for hub, _ in counts.most_common(most))


def fresh(draw: random.Random, count: int, kind: str | None = None) -> Iterator[Key]:
    """Samples that nobody has ever seen."""
    for _ in range(count):
        one = kind or draw.choice(["domain", "ipv4", "sha256", "url"])
        name = f"{draw.getrandbits(60):x}"
        value = {
            "domain": f"{name}.example",
            "ipv4": ".".join(str(draw.randrange(1, 255)) for _ in range(4)),
            "sha256": f"{draw.getrandbits(256):064x}",
            "url": f"http://{name}.example/{draw.getrandbits(30):x}",
        }[one]
        yield one, value


Style = Callable[[random.Random, Ground, int], Iterator[Story]]


def _by_somebody(draw: random.Random, ground: Ground, number: int, goal: Iterable[Key]) -> Story:
    """A fake that claims a day and a publisher of the corpus, so that only what it says gives it away."""
    other = draw.choice([one for one in ground.stories if one.published] or ground.stories)
    name = f"fake-{draw.getrandbits(64):016x}-{number}"
    return Story(name, draw.choice(ground.days), other.source, other.publisher, tuple(goal))


def one_hub(draw: random.Random, ground: Ground, count: int) -> Iterator[Story]:
    """Each fake is one hub and strangers that lead to it, so that to follow the hub pays."""
    for number in range(count):
        hub, leading = draw.choice(ground.hubs)
        size = draw.randrange(8, 25)
        around = draw.sample(leading, min(size, len(leading))) or fresh(draw, size)
        yield _by_somebody(draw, ground, number, [hub, *around])


def beside_hubs(draw: random.Random, ground: Ground, count: int) -> Iterator[Story]:
    """The same without the hub itself: only strangers that lead to it."""
    for number, one in enumerate(one_hub(draw, ground, count)):
        yield _by_somebody(draw, ground, number, one.goal[1:])


def hubs_and_new(draw: random.Random, ground: Ground, count: int) -> Iterator[Story]:
    """One to three hubs among samples that nobody has seen."""
    for number in range(count):
        hubs = [hub for hub, _ in draw.sample(ground.hubs, draw.randint(1, 3))]
        yield _by_somebody(draw, ground, number, [*hubs, *fresh(draw, draw.randrange(6, 25))])


def hubs_and_known(draw: random.Random, ground: Ground, count: int) -> Iterator[Story]:
    """One to three hubs among samples of other reports."""
    known = sorted({key for one in ground.stories for key in one.goal})
    for number in range(count):
        hubs = [hub for hub, _ in draw.sample(ground.hubs, draw.randint(1, 3))]
        yield _by_somebody(draw, ground, number, [*hubs, *draw.sample(known, draw.randrange(8, 25))])


def near_copies(draw: random.Random, ground: Ground, count: int) -> Iterator[Story]:
    """One report again and again, each time with a few samples changed."""
    told = draw.choice([one for one in ground.stories if 15 <= len(one.goal) <= 60])
    for number in range(count):
        kept = draw.sample(told.goal, round(len(told.goal) * draw.uniform(0.7, 0.95)))
        yield _by_somebody(draw, ground, number, [*kept, *fresh(draw, len(told.goal) - len(kept))])


def flood(draw: random.Random, ground: Ground, count: int) -> Iterator[Story]:
    """A publisher that nobody knew publishes a lot within three weeks; no two of its reports are alike."""
    began = draw.choice(ground.days[len(ground.days) // 4 :])
    source = ground.stories[0].source
    for number, one in enumerate(hubs_and_new(draw, ground, count)):
        day = began + timedelta(days=draw.randrange(21))
        yield replace(
            one,
            id=f"flood-{number}-{one.id}",
            published=day,
            source=source,
            publisher="Truth Lab",
            goal=one.goal[3:],
        )


def odd_dates(draw: random.Random, ground: Ground, count: int) -> Iterator[Story]:
    """Reports from long before or long after everything else."""
    for number in range(count):
        one = _by_somebody(draw, ground, number, fresh(draw, draw.randrange(8, 25)))
        yield replace(
            one, published=date(draw.choice([1900, 1970, 2038, 2099, 9999]), draw.randint(1, 12), 1)
        )


def single_kind(draw: random.Random, ground: Ground, count: int) -> Iterator[Story]:
    """Lists of one kind that nobody has seen."""
    for number in range(count):
        yield _by_somebody(draw, ground, number, fresh(draw, draw.randrange(8, 25), "domain"))


STYLES: tuple[Style, ...] = (
    one_hub, beside_hubs, hubs_and_new, hubs_and_known, near_copies, flood, odd_dates, single_kind,
)  # fmt: skip
