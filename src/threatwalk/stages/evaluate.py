"""Stage evaluate: every policy on held-out reports, as a table, as flat metrics, figure 8, and a page for people."""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from threatwalk.errors import DataError
from threatwalk.learning import baselines, playbooks, scored, stored
from threatwalk.learning.dataset import Dataset
from threatwalk.learning.evaluate import Held, table
from threatwalk.learning.policy import Policy
from threatwalk.learning.reproduce import save
from threatwalk.learning.scored import REACHABLE, SCORES, Scored
from threatwalk.learning.selective.exam import Beliefs, beliefs
from threatwalk.learning.selective.policy import SelectivePolicy
from threatwalk.learning.walks import reach
from threatwalk.params import Params
from threatwalk.stages import evaluation_page

ORDER = (
    "random", "run_everything", "run_everything_once", "stop", "best_single", "playbook", "playbook_by_kind",
    "tabular_q", "tabular_single", "paper_dqn", "threatwalk", "selective",
)  # fmt: skip
_COLOURS = ("#4053d3", "#ddb310", "#b51d14", "#00beff", "#fb49b0", "#00b25d")

Curve = tuple[list[int], list[float], list[float]]  # episodes, reward in practice, held-out reward


def run(
    params: Params,
    *,
    compiled: Path,
    models: Path,
    curves: Path,
    result: Path,
    metrics: Path,
    figure: Path,
    walks: Path | None = None,
    report: Path | None = None,
    say: Callable[[str], None] = lambda _line: None,
) -> None:
    """Read `compiled`, the policies in `models` and the CSVs in `curves`; write three files.

    Where `walks` is given, what each walk scored is written there as well (`learning.scored`), and to the folder
    `report` a page with its pictures.

    Raises:
        DataError: the dataset holds no held-out report, or a curve cannot be read.
        ModelError: a model is damaged or was trained with other filters.
    """
    data = Dataset.load(compiled)
    if not len(data.goals("test")):
        raise DataError(f"{compiled} holds no held-out report: raise split.test or give more reports")
    each: list[Scored] = []
    able = policies(data, params, models)
    found = table(data, able, params, say=say, keep=each.append)
    if walks is not None:
        scored.save(each, walks)
    _write(result, json.dumps(found, indent=1) + "\n")
    _write(metrics, json.dumps(flat(found), indent=1) + "\n")
    _draw(_curves(curves), found["held_out"], figure)
    if report is not None:
        say("the page for people")
        evaluation_page.write(found, each, _beliefs(data, able, params), figure, report)


def _beliefs(data: Dataset, able: Sequence[Policy], params: Params) -> Beliefs | None:
    """What the selective walk believed; None where there is none."""
    ours = next((policy for policy in able if isinstance(policy, SelectivePolicy)), None)
    if ours is None:
        return None
    held = Held.of(data, params)
    return beliefs(ours, held, reach(data, held.goals, held.heads, steps=params.walk.steps, audit=data.audit))


def policies(data: Dataset, params: Params, models: Path) -> list[Policy]:
    """The stored policies, and every baseline that is not among them, in the order of the table."""
    names = sorted(path.stem for path in models.glob("*.json")) if models.is_dir() else []
    known: dict[str, Policy] = {
        name: stored.load(models, name, filters=data.filters) for name in names if not name.startswith(".")
    }
    for baseline in baselines.fixed(len(data.filters), params.seed):
        known.setdefault(baseline.name, baseline)
    if not {"best_single", "playbook", "playbook_by_kind"} <= known.keys():
        for baseline in playbooks.fitted(data, params):
            known.setdefault(baseline.name, baseline)
    order = {name: i for i, name in enumerate(ORDER)}
    return [known[name] for name in sorted(known, key=lambda name: (order.get(name, len(order)), name))]


def flat(found: Mapping[str, Any]) -> dict[str, float]:
    """The table's main figures under dotted names: held_out.threatwalk.reward and so on."""
    figures: dict[str, float] = {}
    for policy, row in found["held_out"].items():
        for score in (*SCORES, *REACHABLE):
            figures[f"held_out.{policy}.{score}"] = round(float(row[score]), 6)
    for row in found["world"]:
        figures[f"world.{row['row']}"] = round(float(row["value"]), 6)
    figures |= {name: int(found[name]) for name in ("reports", "groups", "walks")}
    return figures


def _curves(folder: Path) -> dict[str, Curve]:
    curves: dict[str, Curve] = {}
    for path in sorted(folder.glob("*.csv")) if folder.is_dir() else []:
        try:
            with path.open(encoding="utf-8", newline="") as file:
                for row in csv.DictReader(file):
                    episodes, train, held_out = curves.setdefault(row["policy"], ([], [], []))
                    episodes.append(int(row["episode"]))
                    train.append(float(row["train_reward"]))
                    held_out.append(float(row["held_out_reward"]))
        except (OSError, KeyError, TypeError, ValueError) as err:
            raise DataError(f"{path} is no learning curve: {err!r}") from err
    return curves


def _draw(curves: Mapping[str, Curve], held_out: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """Figure 8: reward over episodes, in practice (thin) and on held-out reports (thick)."""
    figure = Figure(figsize=(8, 5), layout="constrained")  # without pyplot: no display, no state
    axes = figure.add_subplot()
    for colour, (policy, (episodes, train, tested)) in zip(_cycle(len(curves)), curves.items(), strict=True):
        axes.plot(episodes, train, color=colour, linewidth=0.8, alpha=0.6, label=f"{policy}, in practice")
        axes.plot(episodes, tested, color=colour, linewidth=2, label=f"{policy}, validation reports")
    for name, style in (("stop", ":"), ("playbook_by_kind", "--"), ("oracle", "-.")):
        if name in held_out:
            axes.axhline(
                held_out[name]["reward"], color="0.4", linestyle=style, linewidth=1, label=f"{name}, test"
            )
    axes.set_xlabel("episodes")
    axes.set_ylabel("reward, eq. (4), clipped at −1")
    axes.legend(fontsize="small", ncols=2)
    axes.grid(alpha=0.2)
    save(figure, path)


def _cycle(count: int) -> Sequence[str]:
    return [_COLOURS[i % len(_COLOURS)] for i in range(count)]


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
