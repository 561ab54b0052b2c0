"""R5: found, empty, failed and not asked are never merged, whatever goes wrong before a source."""

import asyncio
import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.trust.conftest import Trust
from tests.trust.emulated import LIMITS, OPEN, Switch, counted, emulated, gate, known

from threatwalk.archive.store import Archive
from threatwalk.emulator import nsrl as rds
from threatwalk.emulator.faults import Fault
from threatwalk.emulator.registry import RDAP_TLDS
from threatwalk.emulator.serve import Generated
from threatwalk.emulator.world import World, make_world
from threatwalk.pivot import Answer, Outcome
from threatwalk.sample import Kind, Sample
from threatwalk.sources import catalog

PROPERTY = "found, empty, failed and not asked are never merged"
FIGURE = (
    "outcome right in 100 %; a failed answer is never stored as empty; the breaker opens after <= 5 failures "
    "and sends one probe"
)
FAULTS = ("429", "throttled", "500", "502", "503", "504", "401", "403", "drop", "reset", "truncated", "garbage",
          "wrong_type", "hollow", "foreign", "error_inside", "limit_inside")  # fmt: skip
SHORT_S = 0.4  # to wait for a source that never answers
QUESTIONS = 6
ANSWERS = {Outcome.FOUND, Outcome.EMPTY}


@dataclass(frozen=True)
class Case:
    """A source as it is reached, and the endpoints of it that are spoilt."""

    name: str
    source: str
    endpoints: tuple[str, ...]
    spoilt: tuple[str, ...]

    def samples(self, world: World, count: int) -> list[Sample]:
        """Samples that the source knows, of all its kinds."""
        if self.name != "port 43":
            return known(world, self.source, count)
        domains = (s for s in world.graph.samples if s.kind is Kind.DOMAIN and world.answer("whois", s))
        return [s for s in domains if s.value.rpartition(".")[2] not in RDAP_TLDS][:count]

    def reached(self, endpoints: dict[str, str]) -> dict[str, str]:
        return {name: endpoints[name] for name in self.endpoints}


def cases() -> list[Case]:
    """Every source that is asked over a network; Censys twice, for its retired interface stands by itself."""
    names = {f.name: tuple(f.endpoints) for f in catalog.CATALOG if f.name not in {"nsrl", "censys"}}
    return [
        *(Case(name, name, endpoints, endpoints) for name, endpoints in names.items()),
        *(Case(name, "censys", (name,), (name,)) for name in ("censys", "censys_legacy")),
        Case("port 43", "whois", ("rdap", "whois"), ("whois",)),
    ]


@contextmanager
def fresh(folder: Path) -> Iterator[Archive]:
    """An archive of its own, gone afterwards."""
    folder.mkdir()
    made = Archive.open(f"sqlite:///{folder / 'archive.db'}")
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(folder)


def wrong(answers: list[Answer]) -> list[str]:
    """What is wrong with the answers of a source that fails each time."""
    problems = [
        f"{a.outcome} with {len(a.pivots)} pivots" for a in answers if a.outcome in ANSWERS or a.pivots
    ]
    problems += ["no reason" for a in answers if not a.reason]
    if answers[0].outcome is not Outcome.FAILED:
        problems.append(f"{answers[0].outcome} at first")
    failed = sum(a.outcome is Outcome.FAILED for a in answers)
    if failed > LIMITS.breaker_failures or answers[-1].outcome is not Outcome.NOT_ASKED:
        problems.append(f"{failed} failures, then {answers[-1].outcome}")
    return problems


def told(problems: list[str]) -> str:
    return "".join(f"; {one}" for one in problems[:10])


async def test_what_always_goes_wrong_is_failed_then_not_asked(trust: Trust, tmp_path: Path) -> None:
    world, faults = make_world(11, 40), Switch()
    problems: list[str] = []
    questions = stored = pairs = 0
    async with emulated(world, faults, tmp_path) as emulator:
        for number, case in enumerate(cases()):
            samples = case.samples(world, QUESTIONS)
            for fault in FAULTS if trust.full else [FAULTS[number % len(FAULTS)]]:
                faults.wrong = dict.fromkeys(case.spoilt, lambda fault=fault: Fault(fault))
                timeout_s = SHORT_S if fault == "drop" else 20
                with fresh(tmp_path / "a") as kept:
                    async with gate(kept, case.reached(emulator.endpoints), timeout_s=timeout_s) as live:
                        answers = [await live.ask(case.source, one, **OPEN) for one in samples]
                    stored += bool(kept.counts())
                problems += [f"{case.name} {fault}: {problem}" for problem in wrong(answers)]
                questions += len(answers)
                pairs += 1

    ok = not problems and not stored
    trust.record(
        "R5",
        PROPERTY,
        value=f"{len(problems)} outcomes wrong of {questions} under {pairs} pairs of source and fault, {stored} stored"
        + told(problems),
        figure=FIGURE,
        ok=ok,
        part="failing always",
    )
    assert ok


async def test_what_goes_wrong_now_and_then_is_right_or_failed(trust: Trust, tmp_path: Path) -> None:
    """A part of a source's requests fails in some way: a question's answer is the whole one, or none."""
    world, faults, rng = make_world(11, 40), Switch(), random.Random(5)
    flaws = [Fault(name) for name in FAULTS if name not in {"401", "403"}]  # a plan lacks what it lacks
    problems: list[str] = []
    outcomes: Counter[str] = Counter()
    stored = 0
    every = cases() if trust.full else cases()[::4]
    async with emulated(world, faults, tmp_path) as emulator:
        for case in every:
            samples = case.samples(world, 30 if trust.full else 8)
            for share in (0.0, 0.1, 0.4):
                faults.wrong = dict.fromkeys(
                    case.spoilt, lambda share=share: rng.choice(flaws) if rng.random() < share else None
                )
                limits = {
                    "timeout_s": 20 if share == 0 else 2,
                    "breaker_failures": 10**6,
                    "breaker_wait_s": 0,
                }
                with fresh(tmp_path / "a") as kept:
                    async with gate(kept, case.reached(emulator.endpoints), **limits) as live:
                        answers = await asyncio.gather(
                            *(live.ask(case.source, one, **OPEN) for one in samples)
                        )
                    stored += abs(
                        sum(sum(counts.values()) for counts in kept.counts().values())
                        - sum(a.outcome in ANSWERS for a in answers)
                    )
                if share == 0:
                    clean = answers
                for one, answer, due in zip(samples, answers, clean, strict=True):
                    outcomes[answer.outcome] += 1
                    if answer.outcome in ANSWERS and set(answer.pivots) != set(due.pivots):
                        said = f"{len(answer.pivots)} pivots in place of {len(due.pivots)}"
                        problems.append(f"{case.name} {one.kind}: {answer.outcome}, {said}")

    ok = not problems and not stored and min(outcomes[Outcome.FOUND], outcomes[Outcome.FAILED]) > 0
    trust.record(
        "R5",
        PROPERTY,
        value=f"{len(problems)} answers of {len(every)} sources differ from the whole one, of "
        + ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
        + told(problems),
        figure=FIGURE,
        ok=ok,
        part="failing now and then",
    )
    assert ok


class Clock:
    """The time of two gates; only the test moves it."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now

    def go(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


async def test_a_breaker_opens_for_all_and_probes_once(trust: Trust, tmp_path: Path) -> None:
    """Two gates over one database, as two processes have them: turn about, then all at once."""
    world, faults, clock, calls = make_world(11, 40), Switch(), Clock(), Counter[str]()
    problems: list[str] = []
    opened: list[int] = []
    every = cases() if trust.full else cases()[::5]
    async with emulated(world, faults, tmp_path) as emulator:
        for case in every:
            samples = case.samples(world, 12)
            filters = [counted(f, calls) for f in catalog.CATALOG]
            faults.wrong = dict.fromkeys(case.spoilt, lambda: Fault("500"))
            calls.clear()
            with fresh(tmp_path / "a") as kept:
                other = Archive.open(f"sqlite:///{tmp_path / 'a' / 'archive.db'}")
                two = [
                    gate(one, case.reached(emulator.endpoints), filters, now=clock, timeout_s=20)
                    for one in (kept, other)
                ]
                async with two[0], two[1]:

                    async def at_once(
                        gates: list = two, case: Case = case, samples: list[Sample] = samples
                    ) -> Counter:
                        asked = (one.ask(case.source, sample, **OPEN) for one in gates for sample in samples)
                        return Counter(answer.outcome for answer in await asyncio.gather(*asked))

                    turns = []
                    for turn in range(2 * LIMITS.breaker_failures):
                        sample = samples[turn % len(samples)]
                        turns.append((await two[turn % 2].ask(case.source, sample, **OPEN)).outcome)
                        clock.go(1.1)
                    opened.append(turns.count(Outcome.FAILED))
                    before = calls.total()
                    resting = await at_once()
                    clock.go(LIMITS.breaker_wait_s)
                    probing = await at_once()
                    probes = calls.total() - before
                    faults.wrong = {}
                    clock.go(LIMITS.breaker_wait_s + 1.1)
                    healed = await two[0].ask(case.source, samples[0], **OPEN)
                    clock.go(1.1)
                    well = await at_once()
                other.close()
            asked = 2 * len(samples)
            if opened[-1] > LIMITS.breaker_failures or turns[-1] is not Outcome.NOT_ASKED:
                problems.append(f"{case.name}: open after {opened[-1]} failures")
            if (probes, resting[Outcome.NOT_ASKED], probing) != (
                1,
                asked,
                {Outcome.FAILED: 1, Outcome.NOT_ASKED: asked - 1},
            ):
                problems.append(f"{case.name}: {probes} probes, {resting}, {probing}")
            if healed.outcome is not Outcome.FOUND or set(well) != {Outcome.FOUND}:
                problems.append(f"{case.name}: {healed.outcome} after the source was mended, then {well}")

    ok = not problems
    trust.record(
        "R5",
        PROPERTY,
        value=f"the breakers of {len(every)} sources opened after {min(opened)} to {max(opened)} failures over two gates,"
        f" one probe each, and closed at its success: {len(problems)} exceptions" + told(problems),
        figure=FIGURE,
        ok=ok,
        part="breaker",
    )
    assert ok


def cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def without_index(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        names = [
            name
            for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'index' AND sql != ''")
        ]
        for name in names:
            db.execute(f'DROP INDEX "{name}"')
        db.commit()
    assert names


def without_tables(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE other (a)")


def damaged(path: Path) -> None:
    """Random bytes over pages in its middle."""
    noise = random.Random(5).randbytes(200_000)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 3)
        file.write(noise)


SPOIL: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "empty": lambda path: path.write_bytes(b""),
    "truncated": cut,
    "damaged": damaged,
    "not a database": lambda path: path.write_text("<html>404</html>" * 1000),
    "another database": without_tables,
    "without index": without_index,
}


async def test_a_broken_file_of_nsrl_is_failed(trust: Trust, tmp_path: Path) -> None:
    world = make_world(11, 40)
    rds.write(Generated(world), tmp_path / "whole.db")
    samples = [s for s in world.graph.samples if s.kind in catalog.accepts("nsrl")][
        : 200 if trust.full else 40
    ]
    problems: list[str] = []
    questions = 0

    async def answers(path: Path) -> list[Answer]:
        with fresh(tmp_path / "a") as kept:
            async with gate(kept, {"nsrl": str(path)}, breaker_failures=10**6) as live:
                found = [await live.ask("nsrl", one, **OPEN) for one in samples]
            stored = sum(sum(counts.values()) for counts in kept.counts().values())
        if stored != sum(a.outcome in ANSWERS for a in found):
            problems.append(f"{stored} stored")
        return found

    clean = await answers(tmp_path / "whole.db")
    for name, spoil in SPOIL.items():
        path = tmp_path / "rds.db"
        shutil.copy(tmp_path / "whole.db", path)
        spoil(path)
        for one, answer, due in zip(samples, await answers(path), clean, strict=True):
            questions += 1
            whole = name == "damaged" and (answer.outcome, answer.pivots) == (due.outcome, due.pivots)
            if not whole and answer.outcome is not Outcome.FAILED:
                problems.append(f"{name}, {one.kind}: {answer.outcome} with {len(answer.pivots)} pivots")
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    ok = not problems and any(a.outcome is Outcome.FOUND for a in clean)
    trust.record(
        "R5",
        PROPERTY,
        value=f"{len(problems)} outcomes wrong of {questions} under {len(SPOIL)} ways to break the file"
        + told(problems),
        figure=FIGURE,
        ok=ok,
        part="nsrl",
    )
    assert ok
