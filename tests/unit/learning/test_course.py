"""A course of training: killed and gone on with it ends the same, and it stops where nothing gets better."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from threatwalk.learning import lightning
from threatwalk.learning.exam import Curve, Exam


class KilledError(Exception):
    """The machine went down."""


class Walker(lightning.Practised):
    """Adds up the lessons that it hears, and some noise; forty walks, one a lesson."""

    def __init__(self) -> None:
        super().__init__(episodes=40)
        self.total = torch.nn.Parameter(torch.zeros(3))

    def training_step(self, lesson: torch.Tensor, _: int) -> None:
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.total.grad = lesson + torch.rand(3)
        optimizer.step()
        self.finished += 1

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.1)


def lessons(rng: np.random.Generator) -> Iterator[torch.Tensor]:
    while True:
        yield torch.from_numpy(rng.random(3).astype(np.float32))


def walked(
    toys: Any, scores: list[float], *, aside: Path | None = None, **train: Any
) -> tuple[Walker, Curve]:
    """One report for each score; where there are no more, it is killed."""
    module, curve, left = Walker(), Curve("walker"), list(scores)

    def report() -> float:
        if not left:
            raise KilledError
        curve.add(module.finished, module.total[0].item(), left[0])
        return left.pop(0)

    lightning.course(
        module, lessons, report, train=replace(toys.params.train, **train), seeds=(7,), curve=curve, points=5,
        aside=aside,
    )  # fmt: skip
    return module, curve


def test_it_reports_at_the_start_at_the_end_and_between(toys: Any) -> None:
    module, curve = walked(toys, [0.1, 0.2, 0.3, 0.4, 0.5])

    assert [held_out for *_, held_out in curve.points] == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert [episode for episode, *_ in curve.points] == [1, 11, 21, 31, 41]
    assert module.finished == 41


@pytest.mark.parametrize("until", [1, 2, 4])
def test_killed_and_gone_on_with_it_ends_the_same(toys: Any, tmp_path: Path, until: int) -> None:
    scores, aside = [0.1, 0.5, 0.3, 0.4, 0.2], tmp_path / "aside"
    unbroken, curve = walked(toys, scores)

    with pytest.raises(KilledError):
        walked(toys, scores[:until], aside=aside)
    again, resumed = walked(toys, scores[until:], aside=aside)

    assert again.total.tolist() == unbroken.total.tolist()
    assert resumed.points == curve.points
    assert (again.finished, again.lessons) == (unbroken.finished, unbroken.lessons)


def test_it_stops_where_nothing_gets_better_and_keeps_the_best(toys: Any, tmp_path: Path) -> None:
    module, curve = walked(toys, [0.1, 0.5, 0.4, 0.45], patience=2, aside=tmp_path / "aside")

    assert len(curve.points) == 4
    assert module.total[0].item() == curve.points[1][1]

    again, resumed = walked(toys, [], patience=2, aside=tmp_path / "aside")

    assert resumed.points == curve.points
    assert again.total.tolist() == module.total.tolist()


def test_a_reward_that_cannot_be_told_stops_nothing(toys: Any) -> None:
    _, curve = walked(toys, [float("nan")] * 5, patience=1)

    assert len(curve.points) == 5


@pytest.mark.parametrize("name", ["threatwalk", "selective"])
def test_both_agents_killed_at_half_end_as_if_they_were_not(toys: Any, tmp_path: Path, name: str) -> None:
    if name == "threatwalk":
        from threatwalk.learning.learn_set import learn
    else:
        from threatwalk.learning.selective.learn import learn
    how = replace(getattr(toys.params.train, name), episodes=120, environments=8)
    how = replace(how, replay=1) if name == "threatwalk" else how
    params, data = replace(toys.params, train=replace(toys.params.train, **{name: how})), toys.looks(20)
    exam = Exam(data, "valid", walk=params.walk, reward=params.reward, most=4, seed=0)

    def trained(kill_at: int | None) -> tuple[list[Any], list[Any]]:
        said: list[str] = []

        def say(line: str) -> None:
            said.append(line)
            if len(said) == kill_at:
                raise KilledError

        aside = None if kill_at is None else tmp_path / "aside"
        curve = Curve(name)
        policy = learn(data, params, exam=exam, curve=curve, say=say, aside=aside)
        networks = [policy.network] if name == "threatwalk" else policy.members
        return [value for network in networks for value in network.state_dict().values()], curve.points

    unbroken, points = trained(None)
    with pytest.raises(KilledError):
        trained(len(points) // 2 + 1)
    again, resumed = trained(0)

    assert all(torch.equal(one, other) for one, other in zip(unbroken, again, strict=True))
    assert resumed == points
