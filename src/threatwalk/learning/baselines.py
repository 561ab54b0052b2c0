"""What any learned policy must beat: asking at random, asking everything, and playbooks.

Each is data and can be stored as JSON: `record` gives the table, `of_record` the policy again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import numpy as np

from threatwalk.errors import ModelError
from threatwalk.learning.policy import STOP, Choice, View
from threatwalk.sample import Kind


@dataclass(frozen=True)
class RandomMapping:
    """Any mapping, each as likely; from the same walk it always draws the same."""

    filters: int
    seed: int = 0
    name: str = "random"

    def choose(self, view: View) -> Choice:
        draw = crc32(f"{self.seed}/{view.samples[0]}/{view.step}/{len(view.samples)}".encode())
        number = int(np.random.default_rng(draw).integers(1, 1 << self.filters))
        return Choice(number & view.mask)

    def record(self) -> dict[str, Any]:
        return {"policy": self.name, "form": "random", "seed": self.seed}


@dataclass(frozen=True)
class RunEverything:
    """Every filter at every step: what pivoting tools do."""

    name: str = "run_everything"

    def choose(self, view: View) -> Choice:
        return Choice(view.mask)

    def record(self) -> dict[str, Any]:
        return {"policy": self.name, "form": "everything"}


@dataclass(frozen=True)
class Playbook:
    """A fixed list of mappings, one a step, then stop; another list where the trailhead's kind has one.

    A mapping that is wholly closed to this walk is skipped: what comes after it may still be asked.
    """

    name: str
    actions: tuple[int, ...]
    by_kind: Mapping[Kind, tuple[int, ...]] = field(default_factory=dict)

    def choose(self, view: View) -> Choice:
        actions = self.by_kind.get(view.samples[0].kind, self.actions) if self.by_kind else self.actions
        open_ = [action & view.mask for action in actions if action & view.mask]
        return Choice(open_[view.step] if view.step < len(open_) else STOP)

    def record(self) -> dict[str, Any]:
        kinds = {str(kind): list(actions) for kind, actions in sorted(self.by_kind.items())}
        return {"policy": self.name, "form": "playbook", "actions": list(self.actions), "by_kind": kinds}


Baseline = RandomMapping | RunEverything | Playbook


def fixed(filters: int, seed: int) -> tuple[Baseline, ...]:
    """The baselines that need no training: stop, random, everything once and at each step."""
    everything = (1 << filters) - 1
    return (
        Playbook("stop", ()),
        RandomMapping(filters, seed),
        RunEverything(),
        Playbook("run_everything_once", (everything,)),
    )


def of_record(table: Mapping[str, Any]) -> Baseline:
    """The policy that `record` described.

    Raises:
        ModelError: the table describes none.
    """
    try:
        match table["form"]:
            case "random":
                return RandomMapping(len(table["filters"]), int(table["seed"]), str(table["policy"]))
            case "everything":
                return RunEverything(str(table["policy"]))
            case "playbook":
                kinds = {Kind(kind): _actions(actions) for kind, actions in table["by_kind"].items()}
                return Playbook(str(table["policy"]), _actions(table["actions"]), kinds)
            case other:
                raise ModelError(f"{other!r} is no form of a stored policy")
    except (KeyError, TypeError, ValueError, AttributeError) as err:
        raise ModelError(f"the table describes no policy: {err!r}") from err


def _actions(raw: Any) -> tuple[int, ...]:
    return tuple(int(action) for action in raw)
