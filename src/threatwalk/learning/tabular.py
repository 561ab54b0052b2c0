"""The paper's simple Q learning: a table from (set, mapping) to Q, where everything unseen is 0.

A set's row is found by the XOR of its samples' hashes, so the order does not matter and a live set
finds the row that practice filled.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial, reduce
from operator import xor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from threatwalk.errors import ModelError
from threatwalk.learning.dataset import Dataset, Longs
from threatwalk.learning.env import BatchEnv, spans
from threatwalk.learning.exam import Curve, Exam, Say
from threatwalk.learning.paper import Practice, mappings, rules
from threatwalk.learning.policy import STOP, Choice, View
from threatwalk.params import Params, Pay
from threatwalk.sample import Sample

ENCODING = "set-hash-1"
_KEPT = 20_000  # rows of a stored table: those visited most
_WALKS = 64

Keys = NDArray[np.uint64]
Row = dict[int, float]  # action -> Q


def key_of(s: Sample) -> int:
    """64 bits that stand for a sample, the same in every process."""
    return int.from_bytes(
        hashlib.blake2b(str(s).encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big"
    )


def key(samples: Iterable[Sample]) -> int:
    """64 bits that stand for a sample set."""
    return reduce(xor, map(key_of, samples), 0)


@dataclass
class Table:
    """Q by set and action. `visits` counts how often each set was met."""

    actions: Longs
    rows: dict[int, Row] = field(default_factory=dict)
    visits: dict[int, int] = field(default_factory=dict)

    def best(self, state: int) -> float:
        """max_a Q(s, a): at least 0 while some action of the state is unseen."""
        row = self.rows.get(state)
        if not row:
            return 0.0
        top = max(row.values())
        return top if len(row) == len(self.actions) else max(top, 0.0)

    def greedy(self, state: int, draw: Callable[[], int]) -> int:
        """The action of the highest Q; `draw` picks among the unseen where those are highest."""
        row = self.rows.get(state)
        if not row:
            return draw()
        action = max(row, key=row.__getitem__)
        return action if row[action] > 0 or len(row) == len(self.actions) else draw()

    def learn(self, state: int, action: int, target: float, alpha: float) -> None:
        """P4: move Q(s, a) towards the target of eq. (5)."""
        row = self.rows.setdefault(state, {})
        old = row.get(action, 0.0)
        row[action] = old + alpha * (target - old)
        self.visits[state] = self.visits.get(state, 0) + 1


@dataclass(frozen=True)
class TabularPolicy:
    """`best` holds, for the sets that are remembered, the action with the highest Q, and that Q.

    In a set that it never met every Q is 0, and it draws among the mappings, always the same for
    the same set: the paper's agent has nothing better to say there.
    """

    best: Mapping[int, tuple[int, float]]
    filters: int
    name: str = "tabular_q"

    def choose(self, view: View) -> Choice:
        state = key(view.samples)
        action, value = self.best.get(state, (0, 0.0))
        if state not in self.best or (action and not action & view.mask):
            action, value = _drawn(state, mappings(self.filters)), 0.0
        return Choice(action & view.mask, ((action & view.mask, value),))

    def record(self) -> dict[str, Any]:
        rows = {
            f"{state:016x}": [action, round(value, 4)] for state, (action, value) in sorted(self.best.items())
        }
        return {"policy": self.name, "form": "table", "encoding": ENCODING, "best": rows}

    @classmethod
    def of_record(cls, table: Mapping[str, Any]) -> "TabularPolicy":
        """Raises ModelError where the manifest is damaged or of another encoding."""
        if table.get("encoding") != ENCODING:
            raise ModelError(f"the table is of encoding {table.get('encoding')}, not {ENCODING}: train again")
        try:
            best = {
                int(state, 16): (int(action), float(value))
                for state, (action, value) in table["best"].items()
            }
            return cls(best, len(table["filters"]), str(table["policy"]))
        except (KeyError, TypeError, ValueError, AttributeError) as err:
            raise ModelError(f"the table is damaged: {err!r}") from err


def learn(data: Dataset, params: Params, *, exam: Exam, curve: Curve, say: Say) -> TabularPolicy:
    """The paper's agent: every mapping an action, paid by `train.tabular_q.pay`, no action to stop."""
    how = params.train.tabular_q
    table = Table(mappings(len(data.filters)))
    practise(data, params, table, pay=how.pay, end_at=how.end_at, exam=exam, curve=curve, say=say)
    return _policy(table, len(data.filters), "tabular_q")


def learn_single(data: Dataset, params: Params, *, exam: Exam, curve: Curve, say: Say) -> TabularPolicy:
    """A stronger one: single filters and stop are the actions, paid by gain."""
    singles = np.concatenate([[STOP], 1 << np.arange(len(data.filters))])
    table = Table(singles)
    practise(data, params, table, pay=Pay.GAIN, end_at=0, exam=exam, curve=curve, say=say)
    return _policy(table, len(data.filters), "tabular_single")


def practise(
    data: Dataset,
    params: Params,
    table: Table,
    *,
    pay: Pay,
    end_at: float,
    exam: Exam,
    curve: Curve,
    say: Say,
) -> None:
    """Fill the table: epsilon-greedy walks, each step one update by eq. (5)."""
    how = params.train.tabular_q
    rng = np.random.default_rng([params.seed, 1])
    practice = Practice(data, params, rules(params, pay=pay, end_at=end_at), size=_WALKS, rng=rng)
    hashes = np.array([key_of(s) for s in data.samples], dtype=np.uint64)
    state = keys(practice.env, practice.rows, hashes)
    marks = iter(np.linspace(0, how.episodes, 21)[1:].tolist())
    mark = next(marks)

    def draw() -> int:
        return int(table.actions[rng.integers(len(table.actions))])

    while practice.episodes < how.episodes:
        explore = rng.random(len(state)) < how.epsilon
        known = state.tolist()
        actions = [
            draw() if x else table.greedy(s, draw) for s, x in zip(known, explore.tolist(), strict=True)
        ]
        done = practice.step(np.array(actions, dtype=np.int64))
        np.bitwise_xor.at(state, done.new_row, hashes[done.new_sample])
        for s, a, r, after, end in zip(
            known, actions, done.reward.tolist(), state.tolist(), done.terminated.tolist(), strict=True
        ):
            table.learn(s, a, r if end else r + how.gamma * table.best(after), how.alpha)
        practice.restart(done.ended)
        state[done.ended] = keys(practice.env, practice.rows[done.ended], hashes)
        if practice.episodes >= mark:
            mark = next(marks, float("inf"))
            train, held_out = practice.mean_score(), exam.score(_decide(table, hashes))
            curve.add(practice.episodes, train, held_out)
            say(
                f"{curve.policy}: {practice.episodes:,} of {how.episodes:,} episodes, reward {train:+.3f} exploring, {held_out:+.3f} held out"
            )


def keys(env: BatchEnv, rows: Longs, hashes: Keys) -> Keys:
    """The row keys of these walks' sets.  (n,) uint64"""
    at, place = spans(np.zeros(len(rows), dtype=np.int64), env.count[rows])
    found: Keys = np.zeros(len(rows), dtype=np.uint64)
    np.bitwise_xor.at(found, at, hashes[env.order[rows[at], place]])
    return found


def _decide(table: Table, hashes: Keys) -> Callable[[BatchEnv, Longs], Longs]:
    def decide(env: BatchEnv, rows: Longs) -> Longs:
        states = keys(env, rows, hashes).tolist()
        chosen = [table.greedy(state, partial(_drawn, state, table.actions)) for state in states]
        return np.array(chosen, dtype=np.int64)

    return decide


def _policy(table: Table, filters: int, name: str) -> TabularPolicy:
    """Only what was met most, and is worth anything, is kept: the rest acts as if unseen."""
    kept: list[tuple[int, int, tuple[int, float]]] = []
    for state, row in table.rows.items():
        action = max(row, key=row.__getitem__)
        if row[action] > 0 or len(row) == len(table.actions):
            kept.append((-table.visits[state], state, (action, row[action])))
    kept.sort()
    return TabularPolicy({state: best for _, state, best in kept[:_KEPT]}, filters, name)


def _drawn(state: int, actions: Sequence[int] | Longs) -> int:
    """One of the actions, the same for the same set."""
    return int(actions[(state * 0x9E3779B97F4A7C15 >> 32) % len(actions)])
