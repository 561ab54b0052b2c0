"""Train: practise on the compiled training part; store every policy, and the curves of learning."""

import hashlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from threatwalk.errors import DataError, ParamsError
from threatwalk.learning import baselines, choice, playbooks, stored, tabular
from threatwalk.learning.dataset import Dataset
from threatwalk.learning.exam import Curve, Exam, Say
from threatwalk.learning.ranks import rank
from threatwalk.params import Params

EXAM = 300  # held-out walks of a curve's point

Learn = Callable[[Dataset, Params, Exam, Curve, Say], stored.Storable]
Course = Callable[[Dataset, Params, Exam, Curve, Say, Path], stored.Storable]


def run(
    params: Params,
    *,
    compiled: Path,
    models: Path,
    curves: Path,
    aside: Path,
    say: Say = lambda _line: None,
) -> None:
    """Read `compiled`; write the policies into `models` and the learning curves into `curves`.

    What the two folders held before is gone: they are this run's. In `aside` stands how far a policy is: the
    same call goes on there where it was killed, and ends as it would have.

    Raises:
        ParamsError: train.policies names a policy that cannot be trained.
        DataError: there is no compiled dataset, or it has no training report.
    """
    for name in params.train.policies:
        if name not in LEARNERS:
            raise ParamsError(f"train.policies: {name!r} cannot be trained; known are {', '.join(LEARNERS)}")
    data = loaded(compiled, params)
    if not len(data.goals("train")):
        raise DataError(
            f"{compiled} has no report to train on: give the corpus more reports, or the split a smaller test"
        )
    exam = Exam(data, "valid", walk=params.walk, reward=params.reward, most=EXAM, seed=params.seed)
    if rank() != 0:  # started to help the first process
        for name in params.train.policies:
            if name in TOGETHER:
                TOGETHER[name](data, params, exam, Curve(name), say, _aside(aside, name, data, params))
        return
    for folder in (models, curves):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    for name in params.train.policies:
        one(name, data, params, exam, models=models, curves=curves, aside=aside, say=say)
    started = time.monotonic()
    for policy in (*baselines.fixed(len(data.filters), params.seed), *playbooks.fitted(data, params)):
        stored.save(policy, models, filters=data.filters)
    say(f"playbooks: fitted in {time.monotonic() - started:.0f} s")
    for name in params.train.policies:  # not sooner: a call that was killed goes on from every policy's end
        forget(name, data, params, aside=aside)


def loaded(compiled: Path, params: Params) -> Dataset:
    """The dataset, with no more training reports than wanted."""
    data = Dataset.load(compiled)
    return choice.fewer(data, params.train.reports, params.seed) if params.train.reports else data


def one(
    name: str,
    data: Dataset,
    params: Params,
    exam: Exam,
    *,
    models: Path,
    curves: Path,
    aside: Path,
    say: Say,
) -> None:
    """Train and store one policy, and the curve of its learning; it stays aside until it is forgotten."""
    started = time.monotonic()
    curve, unfinished = Curve(name), _aside(aside, name, data, params)
    aside.mkdir(parents=True, exist_ok=True)
    if name in TOGETHER:
        policy = TOGETHER[name](data, params, exam, curve, say, unfinished)
    else:
        policy = ALONE[name](data, params, exam, curve, say)
    stored.save(policy, models, filters=data.filters)
    curve.write(curves)
    say(f"{name}: trained in {time.monotonic() - started:.0f} s")


def forget(name: str, data: Dataset, params: Params, *, aside: Path) -> None:
    """Remove what was put aside of one policy."""
    for file in aside.glob(f"{_aside(aside, name, data, params).name}*"):
        file.unlink()


def _aside(folder: Path, name: str, data: Dataset, params: Params) -> Path:
    """Where an unfinished policy stands; another one for each dataset and for all that it is learned with."""
    how = getattr(params.train, name, params.train.tabular_q)
    told = (
        data.digest,
        params.seed,
        params.reward,
        params.walk,
        how,
        params.train.patience,
        params.train.devices,
        params.train.precision,
    )
    return folder / f"{name}-{hashlib.sha256(repr(told).encode()).hexdigest()[:16]}"


def _threatwalk(
    data: Dataset, params: Params, exam: Exam, curve: Curve, say: Say, aside: Path
) -> stored.Storable:
    from threatwalk.learning.learn_set import learn  # noqa: PLC0415 - torch and Lightning take seconds

    return learn(data, params, exam=exam, curve=curve, say=say, aside=aside)


def _selective(
    data: Dataset, params: Params, exam: Exam, curve: Curve, say: Say, aside: Path
) -> stored.Storable:
    from threatwalk.learning.selective.learn import learn  # noqa: PLC0415

    return learn(data, params, exam=exam, curve=curve, say=say, aside=aside)


def _paper_dqn(data: Dataset, params: Params, exam: Exam, curve: Curve, say: Say) -> stored.Storable:
    from threatwalk.learning.learn_dqn import learn  # noqa: PLC0415

    return learn(data, params, exam=exam, curve=curve, say=say)


def _tabular_q(data: Dataset, params: Params, exam: Exam, curve: Curve, say: Say) -> stored.Storable:
    return tabular.learn(data, params, exam=exam, curve=curve, say=say)


def _tabular_single(data: Dataset, params: Params, exam: Exam, curve: Curve, say: Say) -> stored.Storable:
    return tabular.learn_single(data, params, exam=exam, curve=curve, say=say)


TOGETHER: dict[str, Course] = {"threatwalk": _threatwalk, "selective": _selective}
"""Trained by all ranks, and put aside on the way."""
ALONE: dict[str, Learn] = {
    "paper_dqn": _paper_dqn,
    "tabular_q": _tabular_q,
    "tabular_single": _tabular_single,
}
"""Baselines, trained by the first rank."""
LEARNERS = (*TOGETHER, *ALONE)
