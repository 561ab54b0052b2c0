"""R4: equal questions at once are one call upstream, whichever slot they come through."""

import asyncio
import multiprocessing
from collections import Counter
from pathlib import Path

from tests.trust import asker
from tests.trust.conftest import Trust
from tests.trust.emulated import OPEN, Switch, counted, emulated, gate, known

from threatwalk.archive.store import Archive
from threatwalk.emulator.faults import Fault
from threatwalk.emulator.world import make_world
from threatwalk.pivot import Outcome
from threatwalk.sample import Sample
from threatwalk.sources import catalog

EQUAL = 500
# A slot whose source is not here, and the source that answers in its place.
SUCCEEDED = {
    "nsrl": "hashlookup",
    "threatexpert": "hybrid_analysis",
    "threatcrowd": "otx",
    "passivetotal": "mdti",
}


async def test_equal_questions_are_one_call(trust: Trust, tmp_path: Path) -> None:
    """Each source is asked one question 500 times at once; then half of them through the slot it stands in for."""
    world, faults, calls = make_world(11, 10), Switch(), Counter[str]()
    names = [f.name for f in catalog.CATALOG] if trust.full else ["virustotal", "dns"]
    slots = SUCCEEDED if trust.full else {"nsrl": "hashlookup"}
    wrong: list[str] = []
    cases = 0
    async with emulated(world, faults, tmp_path) as emulator:
        gone = dict.fromkeys(slots, "")
        for slot, name in [*((None, name) for name in names), *slots.items()]:
            for failing in (False, True) if name != "nsrl" else (False,):  # a file has no faults to switch
                sample = next(s for s in known(world, name, 20) if s.kind in catalog.accepts(slot or name))
                archive = Archive.open(f"sqlite:///{tmp_path / f'{cases}.db'}")
                endpoints = {**emulator.endpoints, **(gone if slot else {})}
                faults.wrong = {part: (lambda: Fault("500")) for part in faults.asked} if failing else {}
                filters = [counted(f, calls) for f in catalog.CATALOG if f.name in {slot, name}]
                calls.clear()
                async with gate(archive, endpoints, filters) as live:
                    asked = [(slot or name) if i % 2 else name for i in range(EQUAL)]
                    answers = await asyncio.gather(*(live.ask(one, sample, **OPEN) for one in asked))
                archive.close()
                cases += 1
                outcomes = {answer.outcome for answer in answers}
                said = {frozenset(p.found for p in answer.pivots) for answer in answers}
                due = {Outcome.FAILED} if failing else {Outcome.FOUND}
                if dict(calls) != {name: 1} or outcomes != due or len(said) != 1:
                    wrong.append(f"{slot or name}: {dict(calls)} calls, {outcomes}, {len(said)} answers")
    ok = not wrong
    trust.record(
        "R4",
        "one flight for equal requests",
        value=f"1 call upstream for {EQUAL} equal questions in {cases - len(wrong)} of {cases} cases "
        f"({len(names)} sources and {len(slots)} slots with a successor, answering and failing)"
        + "".join(f"; {one}" for one in wrong),
        figure="500 equal requests at once: 1 call upstream",
        ok=ok,
        part="one process",
    )
    assert ok


async def at_once(
    url: str, endpoints: dict[str, str], questions: list[tuple[str, Sample]], processes: int
) -> list:
    """What so many processes are told that ask the same questions at the same moment."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([asker.__name__])
    pairs = [context.Pipe() for _ in range(processes)]
    started = [
        context.Process(target=asker.ask_at_once, args=(theirs, url, endpoints, questions), daemon=True)
        for _, theirs in pairs
    ]
    try:
        for process, (_, theirs) in zip(started, pairs, strict=True):
            process.start()
            theirs.close()
        for ours, _ in pairs:
            assert await asyncio.to_thread(ours.recv) == "ready"
        for ours, _ in pairs:
            ours.send("go")
        return [await asyncio.to_thread(ours.recv) for ours, _ in pairs]
    finally:
        for process, (ours, _) in zip(started, pairs, strict=True):
            ours.close()
            await asyncio.to_thread(process.join, 10)


async def test_processes_that_ask_the_same_at_once_are_one_call(
    trust: Trust, tmp_path: Path, database_url: str
) -> None:
    world, faults = make_world(11, 10), Switch()
    faults.wrong = {"threatcrowd": lambda: Fault("slow", 0.3)}
    processes, samples = (16, 50) if trust.full else (3, 20)
    questions = [("threatcrowd", sample) for sample in known(world, "threatcrowd", samples)]
    async with emulated(world, faults, tmp_path) as emulator:
        said = await at_once(database_url, emulator.endpoints, questions, processes)
        calls = faults.asked["threatcrowd"]

    alike = {tuple(answers) for answers in said}
    found = all(outcome == Outcome.FOUND for answers in alike for outcome, _ in answers)
    ok = calls == len(questions) and len(alike) == 1 and found
    trust.record(
        "R4",
        "one flight for equal requests",
        value=f"{calls} calls upstream for {len(questions)} questions that {processes} processes asked at once"
        + ("" if ok else f"; told {[Counter(outcome for outcome, _ in answers) for answers in said]}"),
        figure="500 equal requests at once: 1 call upstream",
        ok=ok,
        part=f"processes, {database_url.partition(':')[0].partition('+')[0]}",
    )
    assert ok
