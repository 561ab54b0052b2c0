"""The table of `threatwalk evaluate`, for people."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

Row = Mapping[str, Any]


def show(found: Mapping[str, Any], console: Console) -> None:
    """Print the held-out rows of every budget, then the rows that say whether the world counts."""
    audit = next(iter(found["held_out"].values()))["audit"]
    console.print(
        f"{found['walks']} walks over {found['reports']} held-out reports in {found['groups']} groups, "
        f"leak audit {'on' if audit else 'off'}\n"
    )
    rows = [row for row in found["rows"] if row["audit"] == audit]
    for budget in dict.fromkeys(row["budget"] for row in rows):
        title = "without a budget" if budget is None else f"with {budget} lookups"
        console.print(_scores(title, (row for row in rows if row["budget"] == budget)))
    console.print(_world(found["world"]))


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


def _world(rows: Iterable[Row]) -> Table:
    table = Table(
        title="the world: does it count?", title_justify="left", title_style="bold", box=SIMPLE_HEAD
    )
    for name in ("row", "value", "from", "to", ""):
        table.add_column(name, justify="left" if name in {"row", ""} else "right")
    for row in rows:
        low, high = ("" if bound is None else f"{bound:.2f}" for bound in (row["low"], row["high"]))
        table.add_row(row["row"], f"{row['value']:.3f}", low, high, "yes" if row["ok"] else "[red]no[/]")
    return table
