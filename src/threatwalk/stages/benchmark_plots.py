"""Pictures beside a benchmark's table: calibration of beliefs, what a lookup buys, learning, and what reports bring."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from threatwalk.learning.benchmark import MAPPINGS, OURS, PLAYBOOK, World
from threatwalk.learning.calibration import reliability
from threatwalk.learning.evaluate import ORACLE
from threatwalk.learning.reproduce import Band, save
from threatwalk.learning.selective.exam import Beliefs

_COLOURS = {OURS: "#4053d3", MAPPINGS: "#00b25d", PLAYBOOK: "#ddb310", ORACLE: "0.4"}


def calibration(worlds: Sequence[Beliefs], path: Path) -> None:
    """How often a belief comes true, for each bin of beliefs, with how many fell into it; nothing without beliefs."""
    if not worlds:
        path.unlink(missing_ok=True)
        return
    belief, true = (np.concatenate([getattr(one, name) for one in worlds]) for name in ("belief", "true"))
    mean, share, size = reliability(belief, true)
    figure = Figure(figsize=(6, 6), layout="constrained")  # without pyplot: no display, no state
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=1, label="as it should be")
    above.plot(mean, share, color=_COLOURS[OURS], marker="o", label=OURS)
    above.set_ylabel("share that belongs")
    above.legend(fontsize="small")
    below.bar((np.arange(len(size)) + 0.5) / len(size), size, width=0.9 / len(size), color="0.6")
    below.set_yscale("log")
    below.set_ylabel("samples named")
    below.set_xlabel("belief that a sample belongs")
    save(figure, path)


def budgets(worlds: Sequence[World], rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Precision and recall over lookups: OURS as a curve, the others at the budgets of the table."""
    figure = Figure(figsize=(10, 4.5), layout="constrained")
    for axes, score in zip(figure.subplots(1, 2), ("precision", "recall"), strict=True):
        for policy, colour in _COLOURS.items():
            points = [point for point in _points(worlds, rows, policy, score) if point[0] > 0]
            axes.plot(*zip(*points, strict=True), color=colour, marker=".", label=policy) if points else None
        if axes.has_data():  # matplotlib warns of scales and legends of nothing
            axes.set_xscale("log")
            axes.legend(fontsize="small")
        axes.set_xlabel("lookups, mean")
        axes.set_ylabel(score)
        axes.grid(alpha=0.2)
    save(figure, path)


def learning(curves: Mapping[str, Band], held_out: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Reward on validation reports over the share of the episodes that is done; nothing without curves."""
    if not curves:
        path.unlink(missing_ok=True)
        return
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for policy, band in curves.items():
        done, colour = band.episodes / band.episodes[-1], _COLOURS.get(policy)
        (line,) = axes.plot(
            done, band.mean, color=colour, label=f"{policy}, {band.episodes[-1]:,.0f} episodes"
        )
        around = band.mean - band.spread, band.mean + band.spread
        axes.fill_between(done, *around, color=line.get_color(), alpha=0.2, linewidth=0)
    for policy, style in ((PLAYBOOK, ":"), (ORACLE, "-.")):
        if policy in held_out:
            reward = held_out[policy]["reward"]
            axes.axhline(reward, color="0.4", linestyle=style, linewidth=1, label=f"{policy}, test reports")
    axes.set_xlabel("share of the episodes; band: standard deviation over seeds")
    axes.set_ylabel("reward on validation reports")
    axes.grid(alpha=0.2)
    figure.legend(loc="outside lower center", ncols=2, fontsize="small")  # curves may be anywhere within
    save(figure, path)


def scale(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Reward on held-out reports, without a budget, over the number of training reports; nothing without variants."""
    free = [row for row in rows if row["budget"] is None]
    if all(row["topic"] is None for row in free):
        path.unlink(missing_ok=True)
        return
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.subplots()
    for policy in dict.fromkeys(row["policy"] for row in free if row["topic"]):
        mine = sorted(
            (row["reports"], *(row["reward"][of] for of in ("value", "low", "high")))
            for row in free
            if row["policy"] == policy
        )
        size, value, low, high = np.array(mine, dtype=np.float64).T
        axes.plot(size, value, color=_COLOURS.get(policy), marker="o", label=policy)
        axes.fill_between(size, low, high, color=_COLOURS.get(policy), alpha=0.2, linewidth=0)
    axes.set_xscale("log")
    axes.set_xlabel("training reports")
    axes.set_ylabel("reward on held-out reports; band: 95 %")
    axes.grid(alpha=0.2)
    axes.legend(fontsize="small")
    save(figure, path)


def _points(
    worlds: Sequence[World], rows: Sequence[Mapping[str, Any]], policy: str, score: str
) -> list[tuple[float, float]]:
    """(lookups, score), audited, by rising lookups."""
    audit = worlds[0].audit
    points = [
        (row["lookups"], row[score]) for row in rows if row["policy"] == policy and row["audit"] == audit
    ]
    if policy == OURS:
        for same in zip(*(world.curve for world in worlds), strict=True):
            means = [[one.each[name].mean() for one in same] for name in ("lookups", score)]
            points.append((float(np.mean(means[0])), float(np.mean(means[1]))))
    return sorted(points)
