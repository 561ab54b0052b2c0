"""An evaluation for people: every policy at every budget, and its pictures, as one self-contained page."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from threatwalk.learning.benchmark import World
from threatwalk.learning.scored import Scored
from threatwalk.learning.selective.exam import Beliefs
from threatwalk.stages import benchmark_plots

PAGE, BUDGETS, CALIBRATION = "index.html", "budgets.png", "calibration.png"


def write(
    found: Mapping[str, Any], each: Sequence[Scored], beliefs: Beliefs | None, figure8: Path, folder: Path
) -> None:
    """Draw what the table `found` and its walks `each` tell into `folder`, and put all of it on PAGE.

    Without `beliefs` there is no CALIBRATION.
    """
    folder.mkdir(parents=True, exist_ok=True)
    world = World(0, {}, found, each, (), beliefs, 0)
    benchmark_plots.budgets([world], found["rows"], folder / BUDGETS)
    benchmark_plots.calibration([beliefs] if beliefs else [], folder / CALIBRATION)
    pictures = {
        "Reward over episodes of training (figure 8)": figure8,
        "Precision and recall over lookups": folder / BUDGETS,
        "Whether beliefs come true": folder / CALIBRATION,
    }
    part = folder / f".{PAGE}.part"
    part.write_text(page(found, pictures), encoding="utf-8")
    part.replace(folder / PAGE)


def page(found: Mapping[str, Any], pictures: Mapping[str, Path]) -> str:
    """HTML without scripts and without anything from elsewhere; a picture that is not there is left out."""
    audit = next(iter(found["held_out"].values()))["audit"]
    budgets = sorted({row["budget"] for row in found["rows"]}, key=lambda budget: budget or 0)
    tables = "".join(
        f"<h2>{f'With {budget} lookups' if budget else 'Without a budget'}</h2>{_table(found, budget, audit=audit)}"
        for budget in budgets
    )
    return _PAGE.substitute(
        counts=f"{found['reports']:,} held-out reports in {found['groups']:,} groups, {found['walks']:,} walks",
        audit="on" if audit else "off",
        dataset=escape(str(found["dataset"])),
        tables=tables,
        world="".join(_world(found["world"])),
        pictures="".join(_picture(title, path) for title, path in pictures.items() if path.is_file()),
    )


def _table(found: Mapping[str, Any], budget: int | None, *, audit: bool) -> str:
    rows = [row for row in found["rows"] if row["budget"] == budget and row["audit"] == audit]
    head = "".join(f"<th>{name}" for name in ("policy", "reward", "precision", "recall", "F1", "lookups"))
    return f"<table><tr>{head}{''.join(map(_row, rows))}</table>"


def _row(row: Mapping[str, Any]) -> str:
    cells = (
        f"{row['reward']:.3f} <small>{row['reward_low']:.3f} to {row['reward_high']:.3f}</small>",
        f"{row['precision']:.3f}",
        f"{row['recall']:.3f}",
        f"{row['f1']:.3f} <small>{row['f1_low']:.3f} to {row['f1_high']:.3f}</small>",
        f"{row['lookups']:.1f}",
    )
    return f"<tr><th>{escape(row['policy'])}{''.join(f'<td>{cell}' for cell in cells)}"


def _world(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for row in rows:
        bounds = " to ".join("" if row[end] is None else f"{row[end]:g}" for end in ("low", "high"))
        state = "" if bounds == " to " else "holds" if row["ok"] else "does not hold"
        yield f"<tr><th>{escape(row['row'])}<td>{row['value']:.3f}<td>{bounds.strip()}<td>{state}"


def _picture(title: str, path: Path) -> str:
    text = base64.b64encode(path.read_bytes()).decode("ascii")
    return f'<h2>{escape(title)}</h2><img alt="{escape(title)}" src="data:image/png;base64,{text}">'


_PAGE = Template("""<!doctype html>
<html lang=en><meta charset=utf-8>
<meta http-equiv=Content-Security-Policy content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>Evaluation</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #1c2733 }
table { border-collapse: collapse } th, td { text-align: left; padding: .2rem .8rem; border-bottom: 1px solid #d6dde4 }
td { font-variant-numeric: tabular-nums } small { color: #5b6b7a } img { max-width: 100% }
</style>
<h1>Every policy on held-out reports</h1>
<p>$counts; leak audit $audit; 95 % intervals over groups of reports. Dataset $dataset.
$pictures
$tables
<h2>Whether the corpus counts</h2>
<table><tr><th>row<th>value<th>bounds<th>state
$world
</table>
</html>
""")
