"""How compiling, walking and training grow with the reports, and what several ranks bring to training."""

import json
import math
import os
import shutil
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from statistics import mean
from time import perf_counter, process_time
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from matplotlib.figure import Figure

from threatwalk.bench.practice import Clock, endless, rate, replace_how
from threatwalk.bench.row import Row, over, told
from threatwalk.bench.walking import Walkers
from threatwalk.learning import lightning
from threatwalk.learning.dataset import Dataset
from threatwalk.learning.exam import Curve, Exam
from threatwalk.learning.learn_set import prepared
from threatwalk.learning.reproduce import save
from threatwalk.learning.rollouts import Lesson
from threatwalk.params import Params
from threatwalk.stages import compile as compile_stage
from threatwalk.stages.train import EXAM

SIZES, RANKS = (1000, 10_000), (1, 2, 4)
EPISODES, SEEDS = 3000, 1
_WALKS = 512  # side by side
_NAMES = ("domain", "hostname", "filename")  # their endings mean something
_UNITS = {
    "bare_mb": "MB without a dataset",
    "compile_s": "s of one core", "compile_mb": "MB", "dataset_mb": "MB on disk", "env_steps": "steps/s",
    "train_start_s": "s of one core", "train_steps": "steps/s", "train_mb": "MB", "train_own_mb": "MB",
}  # fmt: skip

_PANELS = {  # of the picture
    "s of one core": {"compile_s": "compile", "train_start_s": "training, until its first lesson"},
    "MB": {
        "compile_mb": "compile, the most", "train_mb": "training, the most", "train_own_mb": "training, in no file",
        "dataset_mb": "dataset, on disk",
    },
    "steps/s": {"env_steps": "walks alone", "train_steps": "training"},
}  # fmt: skip

Say = Callable[[str], None]
Costs = dict[str, float]


def growth(base: Path, params: Params, sizes: Sequence[int], seconds: float, say: Say) -> Iterator[Row]:
    """Time and memory at each size: processor time of one core, and the most that a process of its own held.

    `base`: reports.parquet, split.json and world/answers of a small world, of which the larger are made of copies.
    """
    count = len(json.loads((base / "split.json").read_text("utf-8"))["parts"])
    yield told("scale.bare_mb", apart(bare)["bare_mb"], _UNITS["bare_mb"])
    for size in sizes:
        folder = base / "grown"
        say(f"scale: {size:,} reports are written")
        copied(base, folder, max(1, round(size / count)))
        for part, work in (("compile", compiling), ("env", walking), ("train", training)):
            costs = apart(work, params, folder, seconds)
            figures = ", ".join(f"{name} {value:,.0f}" for name, value in costs.items())
            say(f"scale: {size:,} reports, {part}: {figures}, {_load()}")
            for name, value in costs.items():
                yield told(f"scale.{name}.{size}", value, _UNITS[name])
        shutil.rmtree(folder)


def drawn(rows: Sequence[Row], path: Path) -> None:
    """What `growth` measured, time and memory over the reports, as a PNG; nothing of fewer than two sizes."""
    found: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        _, name, *size = row.figure.split(".")
        if size and row.value is not None:
            found.setdefault(name, []).append((int(size[0]), row.value))
    if len(found.get("compile_s", ())) < 2:
        return
    figure = Figure(figsize=(11, 4), layout="constrained")  # without pyplot: no display, no state
    for axes, (unit, curves) in zip(figure.subplots(1, 3), _PANELS.items(), strict=True):
        for name, label in curves.items():
            axes.plot(*zip(*sorted(found[name]), strict=True), marker="o", label=label)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("reports")
        axes.set_ylabel(unit)
        axes.grid(alpha=0.2)
        axes.legend(fontsize="small")
    save(figure, path)


def ranks(compiled: Path, params: Params, episodes: int, seeds: int, say: Say) -> Iterator[Row]:
    """Reward on test reports after the same number of episodes, and steps a second of all ranks together.

    By the clock, since ranks wait for each other: on a machine with fewer cores than ranks they bring nothing.
    """
    for count in RANKS:
        scores, rates = [], []
        for seed in range(seeds):
            results = together(count, replace(params, seed=seed), compiled, episodes)
            scores.append(results[0][2])
            rates.append(sum(steps for steps, _, _ in results) / max(wall for _, wall, _ in results))
            say(
                f"scale: {count} ranks, seed {seed}: {scores[-1]:+.3f}, {rates[-1]:,.0f} steps/s, "
                f"{os.cpu_count()} cores, {_load()}"
            )
        for name, values, unit in (("score", scores, "reward"), ("steps", rates, "steps/s")):
            row = told(f"scale.ranks_{name}.{count}", mean(values), unit)
            yield over(row, values) if seeds > 1 else row


def bare() -> Costs:
    """What our code and its libraries take by themselves, in each of these processes."""
    return {"bare_mb": memory("VmHWM")}


def compiling(params: Params, folder: Path, _: float) -> Costs:
    begin = process_time()
    compile_stage.run(
        params,
        reports=folder / "reports.parquet",
        split=folder / "split.json",
        corpus=folder,
        compiled=folder / "compiled",
    )
    took = process_time() - begin
    stored = sum(file.stat().st_size for file in (folder / "compiled").iterdir())
    return {"compile_s": took, "compile_mb": memory("VmHWM"), "dataset_mb": stored / 1e6}


def walking(params: Params, folder: Path, seconds: float) -> Costs:
    """Walks as practice has them, without observations."""
    walkers = Walkers(Dataset.load(folder / "compiled"), params, _WALKS)
    walkers.advance(walkers.wish(walkers.open()))
    walkers.cpu, steps = 0.0, 0
    while walkers.cpu < seconds:
        walkers.advance(walkers.wish(walkers.open()))
        steps += len(walkers.env)
    return {"env_steps": steps / walkers.cpu}


def training(params: Params, folder: Path, seconds: float) -> Costs:
    """`own` is what is in no file and cannot be dropped, when training is under way."""
    begin = process_time()
    learning = prepared(Dataset.load(folder / "compiled"), endless(params))
    start = process_time() - begin
    steps = rate(Clock(learning, seconds), params)
    return {
        "train_start_s": start,
        "train_steps": steps,
        "train_mb": memory("VmHWM"),
        "train_own_mb": memory("RssAnon"),
    }


def apart(work: Callable[..., Costs], *given: object) -> Costs:
    """What `work` returns in a fresh process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *given).result()


def together(count: int, params: Params, compiled: Path, episodes: int) -> list[tuple[int, float, float]]:
    """Steps, seconds and score of each of so many ranks; only the first has a score."""
    how = replace(params.train.threatwalk, episodes=episodes)
    params = replace_how(params, how)
    strategy = "ddp" if count > 1 else "auto"
    params = replace(params, train=replace(params.train, devices=count, strategy=strategy))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
        begun = [pool.submit(one_rank, params, compiled, number, port) for number in range(count)]
        return [one.result() for one in begun]


def one_rank(params: Params, compiled: Path, number: int, port: int) -> tuple[int, float, float]:
    """Practise as one of `params.train.devices` ranks, started as torchrun would."""
    count = params.train.devices
    if count > 1:
        names = {"RANK": number, "LOCAL_RANK": number, "GROUP_RANK": 0, "MASTER_PORT": port}
        sizes = {"WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
        os.environ.update({name: str(value) for name, value in (names | sizes).items()})
        os.environ.update(MASTER_ADDR="127.0.0.1", TORCHELASTIC_RUN_ID="scale")
    data = Dataset.load(compiled)
    learning = prepared(data, params)
    exam = Exam(data, "test", walk=params.walk, reward=params.reward, most=EXAM, seed=0)
    score, steps, wall = math.nan, 0, 0.0

    def practise(rng: np.random.Generator) -> Iterator[Lesson]:
        """The last stretch alone counts: the first is one lesson, in which caches fill and ranks find each other."""
        nonlocal steps, wall
        steps, begin = 0, perf_counter()
        try:
            for lesson in learning.rollouts.anew(rng):
                steps += len(lesson)
                yield lesson
        finally:  # the course lets go of us when it has learned from the last lesson
            wall = perf_counter() - begin

    def report() -> float:
        nonlocal score
        score = exam.score(learning.decide)
        return score

    module, seeds, curve = learning.module, (params.seed,), Curve("threatwalk")
    lightning.course(module, practise, report, train=params.train, seeds=seeds, curve=curve, points=2)
    return steps, wall, score


def copied(base: Path, folder: Path, copies: int) -> None:
    """The inputs of `compile`, so many times beside each other: each copy's reports, samples and groups are its own.

    One table after the other, copy by copy: never more than one of the base's is in memory.
    """
    (folder / "answers").mkdir(parents=True)
    for source in sorted((base / "world" / "answers").glob("*.parquet")):
        _copied(source, folder / "answers" / source.name, copies)
    _copied(base / "reports.parquet", folder / "reports.parquet", copies)
    split: dict[str, dict[str, Any]] = json.loads((base / "split.json").read_text("utf-8"))
    groups, parts, many = split["groups"], split["parts"], 1 + max(split["groups"].values())
    every = [(name, copy) for copy in range(copies) for name in parts]
    table = {
        "groups": {f"{name}{_mark(copy)}": groups[name] + many * copy for name, copy in every},
        "parts": {f"{name}{_mark(copy)}": parts[name] for name, copy in every},
    }
    (folder / "split.json").write_text(json.dumps(table), "utf-8")


def _copied(source: Path, target: Path, copies: int) -> None:
    table = pq.read_table(source, partitioning=None)
    with pq.ParquetWriter(target, table.schema, compression="zstd", store_schema=False) as file:
        for copy in range(copies):
            one = table
            for kind, value in (("kind", "value"), ("found_kind", "found_value"), (None, "report")):
                if value in table.column_names:
                    at = table.column_names.index(value)
                    texts = _of_copy(table[kind] if kind else None, table[value], copy)
                    one = one.set_column(at, table.schema.field(at), texts)
            file.write_table(one)


def _of_copy(kind: pa.ChunkedArray | None, value: pa.ChunkedArray, copy: int) -> pa.ChunkedArray:
    """The texts of one copy: of names before them, so that their endings stay, of the others behind."""
    behind = pc.binary_join_element_wise(value, _mark(copy), "")
    if kind is None:
        return behind
    before = pc.binary_join_element_wise(_mark(copy), value, "")
    return pc.if_else(pc.is_in(kind, pa.array(_NAMES)), before, behind)


def _mark(copy: int) -> str:
    return f"{copy}-" if copy else ""


def memory(name: str) -> float:
    """MB of this process, as the kernel counts it: VmHWM, the most that was resident; RssAnon, now, files left out."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{name}:")) / 1e3


def _load() -> str:
    return f"load {os.getloadavg()[0]:.1f}"
