"""The paper's figures 7 and 8: reward over episodes with several seeds, and one analysis step by step."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from threatwalk.errors import DataError

Floats = NDArray[np.float64]
PAPERS_CROSSING = 90_000  # episodes, by eye from the paper's figure 8
_COLOURS = {"tabular_q": "tab:orange", "paper_dqn": "tab:blue", "tabular_single": "tab:green"}
PANELS = {  # columns of the curves
    "in_practice": "In practice, exploring",
    "train": "Training reports, greedy",
    "held_out": "Held-out reports, greedy",
}
_GRID = 100  # points at which curves of several seeds are compared


@dataclass(frozen=True)
class Band:
    """One agent over all seeds: mean and standard deviation of a column of its curves at `episodes`.  (n,) each"""

    episodes: Floats
    mean: Floats
    spread: Floats
    seeds: int


def bands(files: Sequence[Path], column: str) -> Band:
    """The curves of one agent, one file a seed, brought to the same episodes.

    Raises:
        DataError: a file holds no learning curve.
    """
    curves = [_column(path, column) for path in files]
    grid = np.linspace(max(e[0] for e, _ in curves), min(e[-1] for e, _ in curves), _GRID)
    values = np.stack([np.interp(grid, episodes, rewards) for episodes, rewards in curves])
    return Band(grid, values.mean(axis=0), values.std(axis=0), len(files))


def crossing(lower: Band, upper: Band) -> int | None:
    """The episode from which `upper` stays above `lower`; None where that is not a tenth of all before the end."""
    grid = np.linspace(
        max(lower.episodes[0], upper.episodes[0]), min(lower.episodes[-1], upper.episodes[-1]), _GRID
    )
    above = np.interp(grid, upper.episodes, upper.mean) > np.interp(grid, lower.episodes, lower.mean)
    if not above[-_GRID // 10 :].all():
        return None
    below = np.flatnonzero(~above)
    return int(grid[below[-1] + 1]) if len(below) else int(grid[0])


def verdict(simple: Band, deep: Band, *, name: str = "the simple one") -> str:
    """In one sentence: does the crossing of figure 8 appear?"""
    at, end = crossing(simple, deep), int(min(simple.episodes[-1], deep.episodes[-1]))
    ends = f"at {end:,} episodes the deep agent has {deep.mean[-1]:+.3f}, {name} {simple.mean[-1]:+.3f}"
    if at is None:
        return f"The crossing does not appear: the deep agent does not stay above {name}; {ends}."
    if at <= simple.episodes[0] + 1:
        return f"The crossing does not appear: the deep agent is above {name} from the first; {ends}."
    return f"The deep agent stays above {name} from about {at:,} episodes on (the paper: {PAPERS_CROSSING:,}); {ends}."


def verdicts(agents: Mapping[str, Mapping[str, Band]]) -> list[str]:
    """For each panel of figure 8: the paper's own pair, then its deep agent against the stronger table."""
    deep = agents["paper_dqn"]
    return [
        f"{title}: {verdict(agents[table][column], deep[column], name=name)}"
        for column, title in PANELS.items()
        for table, name in (("tabular_q", "the simple one"), ("tabular_single", "the stronger table"))
    ]


def figure8(agents: Mapping[str, Mapping[str, Band]], path: Path) -> None:
    """agents: name -> a band for each of PANELS; written as PNG."""
    figure = Figure(figsize=(12, 4.5), layout="constrained")
    panels = figure.subplots(1, len(PANELS), sharey=True)
    for axes, (column, title) in zip(panels, PANELS.items(), strict=True):
        for name, columns in agents.items():
            band, colour = columns[column], _COLOURS.get(name, "0.4")
            axes.plot(band.episodes, band.mean, color=colour, label=f"{name}, {band.seeds} seeds")
            axes.fill_between(
                band.episodes, band.mean - band.spread, band.mean + band.spread, color=colour, alpha=0.2
            )
        axes.axvline(PAPERS_CROSSING, color="0.6", linestyle=":", linewidth=1)
        axes.set_xlim(0, max(columns[column].episodes[-1] for columns in agents.values()))
        axes.set_title(title)
        axes.set_xlabel("episodes")
        axes.xaxis.set_major_formatter(lambda episodes, _: f"{episodes / 1000:g}k")
        axes.grid(alpha=0.2)
    panels[0].set_ylabel("reward, eq. (4), clipped at −1")
    panels[0].legend(fontsize="small")
    save(figure, path)


@dataclass(frozen=True)
class Moment:
    """One row of figure 7: the mapping that was run, what it added, the set's size then, and its value."""

    mapping: str
    added: tuple[str, ...]
    size: int
    value: str


def figure7(trailhead: str, moments: Sequence[Moment], path: Path) -> None:
    """A walk as boxes from left to right: sample set, mapping, sample set, ...; written as PNG."""
    figure = Figure(figsize=(2.2 + 3.2 * len(moments), 3.6))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    axes.set_xlim(0, 2.2 + 3.2 * len(moments))
    axes.set_ylim(0, 3.6)
    box = {"boxstyle": "round,pad=0.4", "facecolor": "#eef3f8", "edgecolor": "#4a6a8a"}
    axes.text(1.1, 1.8, f"1 sample\n{_short(trailhead)}", ha="center", va="center", fontsize=7, bbox=box)
    for i, moment in enumerate(moments):
        x = 1.1 + 3.2 * i
        axes.annotate(
            "", (x + 2.25, 1.8), (x + 0.95, 1.8), arrowprops={"arrowstyle": "->", "color": "#4a6a8a"}
        )
        axes.text(
            x + 1.6, 2.0, f"{moment.mapping}\n{moment.value}", ha="center", va="bottom", fontsize=7, wrap=True
        )
        shown = [_short(s) for s in moment.added[:6]]
        more = [f"and {len(moment.added) - 6} more"] if len(moment.added) > 6 else []
        text = "\n".join([f"{moment.size} samples", *shown, *more])
        axes.text(x + 3.2, 1.8, text, ha="center", va="center", fontsize=6, bbox=box)
    save(figure, path)


def _short(text: str) -> str:
    return (text if len(text) <= 28 else f"{text[:25]}...").replace("$", r"\$")


def save(figure: Figure, path: Path) -> None:
    """As a PNG whose bytes depend on what is drawn alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    figure.savefig(part, format="png", dpi=120, metadata={"Software": None})
    part.replace(path)


def _column(path: Path, column: str) -> tuple[Floats, Floats]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [(float(row["episode"]), float(row[column])) for row in csv.DictReader(file)]
        episodes, rewards = np.array(rows).T
    except (OSError, KeyError, TypeError, ValueError) as err:
        raise DataError(f"{path} is no learning curve: {err!r}") from err
    return episodes, rewards
