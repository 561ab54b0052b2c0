"""The figures of `threatwalk bench sources`: what gate and readers cost, against the bare parts they are made of."""

import asyncio
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from threatwalk import params
from threatwalk.bench import emulated
from threatwalk.bench.emulated import Body
from threatwalk.bench.flood import emulator_rate
from threatwalk.bench.memory import memory_growth
from threatwalk.bench.reading import gate_overhead, read_rates
from threatwalk.bench.row import Row
from threatwalk.sources.catalog import PAPER, filters
from threatwalk.sources.filter import Filter

_ARCHIVED, _EACH, _ASKED, _REMEMBERED = 2_000, 400, 10_000, 100_000

Say = Callable[[str], None]


def rows(figures: Sequence[str], limits: params.Gate, *, questions: int | None, say: Say) -> Iterator[Row]:
    """The rows of some figures: gate_overhead, emulator_rate, read_rate, memory_growth. `questions` shortens those
    that would ask more.

    Raises:
        UnavailableError: the emulator did not start.
        DataError: what was measured is not what was to be measured.
    """

    def most(full: int) -> int:
        return full if questions is None else min(full, questions)

    with tempfile.TemporaryDirectory(prefix="threatwalk-bench-") as name:
        folder = Path(name)
        if "memory_growth" in figures:  # first, before anything else is in memory
            yield asyncio.run(memory_growth(limits, folder, most(_REMEMBERED), say))
        if "gate_overhead" in figures:
            paper = [f for f in PAPER if f.ask is not None]
            bodies = _bodies(paper, most(_ARCHIVED) // len(paper) + 1, folder, say)
            yield asyncio.run(gate_overhead(bodies, limits, folder, say))
        if "emulator_rate" in figures:
            yield asyncio.run(emulator_rate(limits, folder, most(_ASKED), say))
        if "read_rate" in figures:
            yield from read_rates(_bodies(filters(), most(_EACH), folder, say), say)


def _bodies(sources: Sequence[Filter], each: int, folder: Path, say: Say) -> list[Body]:
    """Answers of the emulator, so many of each source."""
    asked = emulated.answered(emulated.world(), sources, each)
    say(f"{len(asked)} questions to {len(sources)} sources of the emulator, for their bodies")
    with emulated.emulator(folder) as endpoints:
        return asyncio.run(emulated.bodies(asked, endpoints))
