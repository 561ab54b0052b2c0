"""The paper's choice: 1,000 reports published from April 2016 to June 2017, and what stands in where there are fewer."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

import numpy as np

from threatwalk.learning.dataset import ASIDE, NEVER, PARTS, Dataset, Longs

REPORTS = 1000
FIRST, LAST = date(2016, 4, 1), date(2017, 6, 30)
_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class Choice:
    """Numbers of the chosen reports: those of the paper's months, and those that stand in, the nearest first."""

    inside: Longs
    stand_in: Longs
    wanted: int

    def of(self, data: Dataset) -> Dataset:
        """The dataset with these reports alone in its parts; no group is torn that was whole."""
        part = np.full(len(data.part), ASIDE, dtype=np.uint8)
        chosen = np.concatenate([self.inside, self.stand_in])
        part[chosen] = data.part[chosen]
        if np.array_equal(part, data.part):
            return data
        return replace(data, part=part, digest=f"{len(chosen)}-{data.digest}")

    def account(self, data: Dataset, publishers: Mapping[str, str]) -> dict[str, Any]:
        """What was chosen, as JSON; `publishers` by report id, as far as they are known."""

        def told(reports: Longs) -> dict[str, Any]:
            days = data.day[reports]
            dated = np.sort(days[days != NEVER])
            names = Counter(publishers.get(data.reports[i], "unknown") for i in reports)
            return {
                "reports": len(reports),
                "undated": int(len(days) - len(dated)),
                "first": _day(dated[0]) if len(dated) else None,
                "last": _day(dated[-1]) if len(dated) else None,
                "publishers": dict(sorted(names.items(), key=lambda item: (-item[1], item[0]))),
            }

        return {
            "wanted": self.wanted,
            "from": FIRST.isoformat(),
            "until": LAST.isoformat(),
            "in_window": told(self.inside),
            "stood_in": told(self.stand_in),
            "lacking": max(0, self.wanted - len(self.inside) - len(self.stand_in)),
        }


def choose(data: Dataset, wanted: int, seed: int) -> Choice:
    """`wanted` reports of the paper's months, drawn by `seed` where there are more, filled up where there are fewer.

    Those nearest in time stand in first, at the same distance by id; undated ones last.
    """
    low, high = ((day - _EPOCH).days for day in (FIRST, LAST))
    day = data.day.astype(np.int64)
    inside = np.flatnonzero((day >= low) & (day <= high))
    if len(inside) > wanted:
        drawn = np.random.default_rng(seed).choice(inside, wanted, replace=False)
        return Choice(np.sort(drawn), np.empty(0, np.int64), wanted)
    away = np.where(day < low, low - day, day - high)
    away[day == NEVER] = NEVER
    others = np.flatnonzero((day < low) | (day > high))
    ids = np.array(data.reports)[others]
    nearest = others[np.lexsort((ids, away[others]))][: wanted - len(inside)]
    return Choice(inside, np.sort(nearest), wanted)


def fewer(data: Dataset, reports: int, seed: int) -> Dataset:
    """The same, but with at most so many reports to train on: whole groups, drawn by `seed`, but for the last.

    Fewer reports are among the more of the same seed. Validation and test stay as they are.
    """
    train = data.goals("train")
    groups = np.unique(data.group[train])
    turn = np.random.default_rng(seed).permutation(len(groups))[np.searchsorted(groups, data.group[train])]
    kept = train[np.argsort(turn, kind="stable")][:reports]
    others = np.concatenate([data.goals(part) for part in PARTS[1:]])
    return Choice(np.concatenate([kept, others]), np.empty(0, np.int64), reports).of(data)


def sentence(account: Mapping[str, Any]) -> str:
    """The same for a person."""
    inside, others = account["in_window"], account["stood_in"]
    text = (
        f"{inside['reports']} of {account['wanted']} reports are of the paper's months, "
        f"{account['from']} to {account['until']}"
    )
    if others["reports"]:
        names = ", ".join(f"{name} {count}" for name, count in list(others["publishers"].items())[:5])
        span = f"{others['first']} to {others['last']}" if others["first"] else "without a date"
        undated = f", {others['undated']} of them undated" if others["undated"] and others["first"] else ""
        text += f"; {others['reports']} stood in, {span}{undated}, by {names}"
    return text + (f"; {account['lacking']} are lacking" if account["lacking"] else "")


def _day(number: int) -> str:
    return (_EPOCH + timedelta(days=int(number))).isoformat()
