"""The paper's simple Q learning: a table from (set, mapping) to Q, where everything unseen is 0.

A set's row is found by the XOR of its samples' hashes, so the order does not matter and a live set
finds the row that practice filled.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from itertools import islice
from operator import xor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from threatwalk.errors import ModelError
from threatwalk.learning import paper
from threatwalk.learning.dataset import Dataset, Longs
from threatwalk.learning.env import BatchEnv, spans
from threatwalk.learning.exam import Curve, Exam, Say
from threatwalk.learning.paper import Practice, State, mappings, rules
from threatwalk.learning.policy import STOP, Choice, View
from threatwalk.params import Params, Pay
from threatwalk.sample import Sample

ENCODING = "set-hash-2"
_KEPT = 20_000  # rows of a stored table: those visited most

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

    def greedy(self, state: int) -> int | None:
        """The action of the highest Q; None where the unseen ones are highest."""
        row = self.rows.get(state)
        if not row:
            return None
        action = max(row, key=row.__getitem__)
        return action if row[action] > 0 or len(row) == len(self.actions) else None

    def unseen(self, state: int, start: int) -> int:
        """The first action from the one at `start` on, counted round, that was not tried in this state."""
        row, count = self.rows.get(state, {}), len(self.actions)
        around = (int(self.actions[(start + i) % count]) for i in range(count))
        return next(action for action in around if action not in row)

    def learn(self, state: int, action: int, target: float, alpha: float) -> None:
        """P4: move Q(s, a) towards the target of eq. (5)."""
        row = self.rows.setdefault(state, {})
        old = row.get(action, 0.0)
        row[action] = old + alpha * (target - old)
        self.visits[state] = self.visits.get(state, 0) + 1


@dataclass(frozen=True)
class TabularPolicy:
    """`best` holds, for the sets that are remembered, the action with the highest Q, and that Q.

    In a set that it never met every Q is 0. There it stops, if it learned that it may; the paper's
    agent may not, and draws among the mappings, always the same for the same set.
    """

    best: Mapping[int, tuple[int, float]]
    filters: int
    name: str = "tabular_q"
    stops: bool = False

    def choose(self, view: View) -> Choice:
        state = key(view.samples)
        action, value = self.best.get(state, (0, 0.0))
        if state not in self.best or (action and not action & view.mask):
            action, value = self._unknown(state), 0.0
        return Choice(action & view.mask, ((action & view.mask, value),))

    def _unknown(self, state: int) -> int:
        if self.stops:
            return STOP
        actions = mappings(self.filters)
        return int(actions[_spread(state) % len(actions)])

    def record(self) -> dict[str, Any]:
        rows = {
            f"{state:016x}": [action, round(value, 4)] for state, (action, value) in sorted(self.best.items())
        }
        return {"policy": self.name, "form": "table", "encoding": ENCODING, "stops": self.stops, "best": rows}

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
            return cls(best, len(table["filters"]), str(table["policy"]), stops=bool(table["stops"]))
        except (KeyError, TypeError, ValueError, AttributeError) as err:
            raise ModelError(f"the table is damaged: {err!r}") from err


class TabularAgent:
    """Fills a table: epsilon-greedy walks, each step one update by eq. (5)."""

    def __init__(
        self, data: Dataset, params: Params, actions: Longs, *, name: str, pay: Pay, end_at: float
    ) -> None:
        self.name = name
        self.reward = rules(params, pay=pay, end_at=end_at)
        self.episodes = 0
        self.table = Table(actions)
        self._how, self._filters = params.train.tabular_q, len(data.filters)
        self._hashes = np.array([key_of(s) for s in data.samples], dtype=np.uint64)

    def practise(self, practice: Practice, until: int) -> None:
        table, how, rng = self.table, self._how, practice.rng
        state = keys(practice.env, practice.rows, self._hashes)
        while practice.episodes < until:
            chance = rng.integers(len(table.actions), size=len(state)).tolist()
            explore = (rng.random(len(state)) < how.epsilon).tolist()
            known = state.tolist()
            actions = [
                int(table.actions[at]) if x else self._best(s, at)
                for s, at, x in zip(known, chance, explore, strict=True)
            ]
            done = practice.step(np.array(actions, dtype=np.int64))
            np.bitwise_xor.at(state, done.new_row, self._hashes[done.new_sample])
            for s, a, r, after, end in zip(
                known, actions, done.reward.tolist(), state.tolist(), done.terminated.tolist(), strict=True
            ):
                table.learn(s, a, r if end else r + how.gamma * table.best(after), how.alpha)
            practice.restart(done.ended)
            state[done.ended] = keys(practice.env, practice.rows[done.ended], self._hashes)

    def decide(self, env: BatchEnv, rows: Longs) -> Longs:
        """Where the unseen are highest: to stop, if that is an action; else one of them, the same for the same set."""
        stops, chosen = STOP in self.table.actions, []
        for state in keys(env, rows, self._hashes).tolist():
            action = self.table.greedy(state)
            if action is None:
                action = STOP if stops else self.table.unseen(state, _spread(state))
            chosen.append(action)
        return np.array(chosen, dtype=np.int64)

    def policy(self) -> TabularPolicy:
        """Only what was met most, and is worth anything, is kept: the rest acts as if unseen."""
        table, kept = self.table, []
        for state in table.rows:
            action = table.greedy(state)
            if action is not None:
                kept.append((-table.visits[state], state, (action, table.rows[state][action])))
        kept.sort()
        best = {state: choice for _, state, choice in kept[:_KEPT]}
        return TabularPolicy(best, self._filters, self.name, stops=STOP in table.actions)

    def state(self) -> State:
        """The rows as a list of (set, action, Q), in the order in which they were filled."""
        rows = self.table.rows
        return {
            "episodes": np.array(self.episodes),
            "sets": np.array(list(rows), dtype=np.uint64),
            "visits": np.array([self.table.visits[state] for state in rows], dtype=np.int64),
            "lengths": np.array([len(row) for row in rows.values()], dtype=np.int64),
            "actions": np.array([action for row in rows.values() for action in row], dtype=np.int64),
            "values": np.array([value for row in rows.values() for value in row.values()], dtype=np.float64),
        }

    def resume(self, state: State) -> None:
        self.episodes = int(state["episodes"])
        sets = state["sets"].tolist()
        self.table.visits = dict(zip(sets, state["visits"].tolist(), strict=True))
        cells = zip(state["actions"].tolist(), state["values"].tolist(), strict=True)
        lengths = zip(sets, state["lengths"].tolist(), strict=True)
        self.table.rows = {one: dict(islice(cells, length)) for one, length in lengths}

    def _best(self, state: int, start: int) -> int:
        action = self.table.greedy(state)
        return self.table.unseen(state, start) if action is None else action


def agent(data: Dataset, params: Params) -> TabularAgent:
    """The paper's: every mapping an action, paid by `train.tabular_q.pay`, no action to stop."""
    how = params.train.tabular_q
    actions = mappings(len(data.filters))
    return TabularAgent(data, params, actions, name="tabular_q", pay=how.pay, end_at=how.end_at)


def single_agent(data: Dataset, params: Params) -> TabularAgent:
    """A stronger one: single filters and stop are the actions, paid by gain."""
    singles = np.concatenate([[STOP], 1 << np.arange(len(data.filters))])
    return TabularAgent(data, params, singles, name="tabular_single", pay=Pay.GAIN, end_at=0)


def learn(data: Dataset, params: Params, *, exam: Exam, curve: Curve, say: Say) -> TabularPolicy:
    """Practise as `agent` on the training part, examined on the validation part."""
    return _learn(agent(data, params), data, params, exam, curve, say)


def learn_single(data: Dataset, params: Params, *, exam: Exam, curve: Curve, say: Say) -> TabularPolicy:
    """The same as `single_agent`."""
    return _learn(single_agent(data, params), data, params, exam, curve, say)


def _learn(
    who: TabularAgent, data: Dataset, params: Params, exam: Exam, curve: Curve, say: Say
) -> TabularPolicy:
    paper.learn(who, data, params, episodes=params.train.tabular_q.episodes, exam=exam, curve=curve, say=say)
    return who.policy()


def keys(env: BatchEnv, rows: Longs, hashes: Keys) -> Keys:
    """The row keys of these walks' sets.  (n,) uint64"""
    at, place = spans(np.zeros(len(rows), dtype=np.int64), env.count[rows])
    found: Keys = np.zeros(len(rows), dtype=np.uint64)
    np.bitwise_xor.at(found, at, hashes[env.order[rows[at], place]])
    return found


def _spread(state: int) -> int:
    """A number that is the same for the same set."""
    return state * 0x9E3779B97F4A7C15 >> 32
