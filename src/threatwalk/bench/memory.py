"""How much a gate's memory grows over very many questions."""

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psutil

from threatwalk import params
from threatwalk.archive.store import Archive
from threatwalk.bench.emulated import in_flight
from threatwalk.bench.row import Row
from threatwalk.gate.gate import Caller, Gate
from threatwalk.pivot import Outcome
from threatwalk.reports.report import Pap, Tlp
from threatwalk.sample import Kind, Sample
from threatwalk.sources import otx
from threatwalk.sources.filter import Session

GROWTH = 5.0  # percent
_WARM_UP = 0.1
_BACK = 1000  # every second question is one of so many questions ago, and answered from the archive
_EACH = 8  # findings of a sort in one answer: enough to fill what a gate remembers within the first tenth
_NOWHERE = "http://127.0.0.1:9"  # nobody is asked: the adapter answers out of its head


async def memory_growth(limits: params.Gate, folder: Path, count: int, say: Callable[[str], None]) -> Row:
    """Resident memory after all questions against that after the first tenth, in percent.

    Every answer names hosts, URLs, hashes and times that no other does; every second question is archived.
    """
    archive = Archive.open(f"sqlite:///{folder / 'memory.db'}")
    source = replace(otx.filter_, ask=_ask, needs_key=False)
    gate = Gate(archive, [source], limits, {"otx": _NOWHERE}, caller=Caller.ASK, quotas=lambda _: None)
    resident: list[int] = []
    with closing(archive):
        async with gate:

            async def ask(number: int) -> None:
                told = number if number % 2 == 0 else max(0, number - 1 - _BACK)
                sample = Sample(Kind.DOMAIN, f"asked-{told}.com")
                answer = await gate.ask("otx", sample, tlp=Tlp.CLEAR, pap=Pap.CLEAR, active_dns=False)
                assert answer.outcome is Outcome.FOUND, answer

            first = int(count * _WARM_UP)
            for start, end in ((0, first), (first, count)):
                await in_flight(ask, range(start, end))
                resident.append(psutil.Process().memory_info().rss)
                say(f"memory_growth: {resident[-1] / 1e6:.0f} MB after {end:,} questions")
    growth = 100 * (resident[1] / resident[0] - 1)
    return Row("memory_growth", growth, "%", f"< {GROWTH:g}", growth < GROWTH)


async def _ask(sample: Sample, _: Session) -> str:
    """Bodies as Open Threat Exchange has them, full of hosts, URLs, files and times that no other answer names."""
    number = int(sample.value.removeprefix("asked-").removesuffix(".com"))
    day = f"{2000 + number % 25}-{1 + number % 12:02}-{1 + number % 28:02}T{number % 24:02}:{number // 24 % 60:02}"
    resolved = [
        {
            "hostname": f"n{i}.{sample.value}",
            "address": _address(number * _EACH + i),
            "first": f"{day}:{i:02}",
        }
        for i in range(_EACH)
    ]
    seen = [
        {
            "url": f"http://n{i}.{sample.value}/",
            "result": {"urlworker": {"md5": f"{number * _EACH + i:032x}"}},
        }
        for i in range(_EACH)
    ]
    return json.dumps({"passive_dns": {"passive_dns": resolved}, "url_list": {"url_list": seen}})


def _address(number: int) -> str:
    return f"11.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
