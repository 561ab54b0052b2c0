"""The table of `threatwalk evaluate`, for people."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from threatwalk.desk.shown import counted

Row = Mapping[str, Any]


def show(found: Mapping[str, Any], console: Console, title: str = "") -> None:
    """Print the held-out rows of every budget, then the rows that say whether the world counts.

    `found` is of one evaluation, or of a benchmark, which has figures and several worlds; or of ablations.
    """
    if title:
        console.print(f"[bold]{title}[/]")
    if "held_out" not in found:
        console.print(_ablations(found["rows"]))
        console.print(f"Intervals: {found['how']}.")
        return
    audit = next(iter(found["held_out"].values()))["audit"]
    console.print(
        f"{counted(found['walks'], 'walk')} over {counted(found['reports'], 'held-out report')} "
        f"in {counted(found['groups'], 'group')}, "
        f"leak audit {'on' if audit else 'off'}\n"
    )
    rows = [row for row in found["rows"] if row["audit"] == audit]
    for budget in dict.fromkeys(row["budget"] for row in rows):
        title = "without a budget" if budget is None else f"with {budget} lookups"
        console.print(_scores(title, (row for row in rows if row["budget"] == budget)))
    worlds = found.get("worlds") or [found]
    console.print(_world([world["world"] for world in worlds]))
    for world in found.get("worlds", ()):
        generator = f", generator {world['generator']}" if world["generator"] else ""
        console.print(f"seed {world['seed']}: dataset {world['dataset'][:16]}{generator}", soft_wrap=True)
    if found.get("figures"):
        console.print(_figures(found["figures"]))
        console.print(_sources(found["sources"]))
        for policy, told in found["explained"].items():
            console.print(
                f"explanations of {policy}: {told['pivots']:,} pivots taken away in turn; "
                f"{_percent(told['exact'])} took just the samples that were said to depend on them alone, "
                f"{_percent(told['alone'])} took any",
                soft_wrap=True,
            )
        console.print(f"Intervals: {found['how']}.")


def _scores(title: str, rows: Iterable[Row]) -> Table:
    table = Table(
        title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 0, 0, 1)
    )
    table.add_column("policy", no_wrap=True)
    for name in ("reward", "95 %", "prec.", "recall", "F1", "lookups", "reachable"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row["policy"],
            f"{row['reward']:.3f}",
            f"{row['reward_low']:.2f} {row['reward_high']:.2f}",
            f"{row['precision']:.2f}",
            f"{row['recall']:.2f}",
            f"{row['f1']:.2f}",
            f"{row['lookups']:.1f}",
            f"{row['reachable_reward']:.3f}",
        )
    return table


def _world(worlds: Sequence[Sequence[Row]]) -> Table:
    """One column of values for each world."""
    table = Table(
        title="the world: does it count?", title_justify="left", title_style="bold", box=SIMPLE_HEAD
    )
    names = ["value"] if len(worlds) == 1 else [f"seed {seed}" for seed in range(len(worlds))]
    for name in ("row", *names, "from", "to", ""):
        table.add_column(name, justify="left" if name in {"row", ""} else "right")
    for same in zip(*worlds, strict=True):
        low, high = ("" if bound is None else f"{bound:.2f}" for bound in (same[0]["low"], same[0]["high"]))
        values = (f"{row['value']:.3f}" for row in same)
        counts = "yes" if all(row["ok"] for row in same) else "[red]no[/]"
        table.add_row(same[0]["row"], *values, low, high, counts)
    return table


def _sources(rows: Sequence[Row]) -> Table:
    """What goes with each source; who loses the most first."""
    table = Table(
        title="lost without a source (no policy trained again)",
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        padding=(0, 0, 0, 1),
    )
    table.add_column("policy", no_wrap=True)
    table.add_column("source", no_wrap=True)
    for name in ("reward", "95 %", "recall", "95 %", "lookups"):
        table.add_column(name, justify="right", no_wrap=True)
    policies = list(dict.fromkeys(row["policy"] for row in rows))
    for row in sorted(rows, key=lambda row: (policies.index(row["policy"]), -row["recall"]["value"])):
        told = (part for score in ("reward", "recall") for part in _with_interval(row[score]))
        table.add_row(row["policy"], row["source"], *told, f"{row['lookups']['value']:.1f}")
    return table


def _ablations(rows: Sequence[Row]) -> Table:
    """Without a budget: each policy as it is, then what each change loses, the most first."""
    table = Table(
        title="ablations, without a budget",
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        padding=(0, 0, 0, 1),
    )
    for name in ("policy", "topic", "change"):
        table.add_column(name, no_wrap=True)
    for name in ("reward", "lost", "95 %", "F1 lost", "95 %", "lookups"):
        table.add_column(name, justify="right", no_wrap=True)
    free = [row for row in rows if row["budget"] is None]
    policies = list(dict.fromkeys(row["policy"] for row in free))
    free.sort(
        key=lambda row: (policies.index(row["policy"]), row["topic"] or "", -row["lost"]["reward"]["value"])
    )
    for row in free:
        own = row["topic"] is None
        told = [part for score in ("reward", "f1") for part in _with_interval(row["lost"][score])]
        table.add_row(
            row["policy"],
            row["topic"],
            "as it is" if own else row["name"],
            f"{row['reward']['value']:.3f}",
            *([""] * len(told) if own else told),
            f"{row['lookups']['value']:.1f}",
        )
    return table


def _with_interval(told: Mapping[str, float | None]) -> tuple[str, str]:
    value, low, high = ("-" if told[of] is None else f"{told[of]:.3f}" for of in ("value", "low", "high"))
    return value, f"{low} {high}"


def _percent(told: Mapping[str, float | None]) -> str:
    return "-" if told["value"] is None else f"{told['value']:.1%}"


def _figures(figures: Mapping[str, Mapping[str, float | None]]) -> Table:
    table = Table(title="figures", title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    table.add_column("figure", no_wrap=True)
    for name in ("value", "95 %"):
        table.add_column(name, justify="right", no_wrap=True)
    for figure, told in figures.items():
        table.add_row(figure, *_with_interval(told))
    return table
