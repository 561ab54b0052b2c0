from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from threatwalk.errors import DataError
from threatwalk.learning.dataset import Dataset
from threatwalk.learning.evaluate import Held
from threatwalk.learning.learn_set import vocabulary_of
from threatwalk.learning.selective.exam import Beliefs, beliefs
from threatwalk.learning.selective.net import SelectiveNet
from threatwalk.learning.selective.policy import SelectivePolicy
from threatwalk.learning.selective.walking import Manner
from threatwalk.learning.walks import reach


def untrained(data: Dataset, manner: Manner) -> SelectivePolicy:
    torch.manual_seed(0)
    vocabulary = vocabulary_of(data)
    net = SelectiveNet(words=len(vocabulary), filters=len(data.filters), embedding=4, width=4, dropout=0.0)
    return SelectivePolicy((net.eval(),), vocabulary, data.accepts, manner)


def looked_at(toys: Any, data: Dataset, manner: Manner) -> Beliefs:
    held = Held.of(data, toys.params)
    within = reach(data, held.goals, held.heads, steps=5, audit=True)
    return beliefs(untrained(data, manner), held, within)


ASKS_ALL = Manner(price=-np.inf, threshold=0.0, share=1.0)


def test_every_sample_that_was_named_stands_once_with_what_is_so(toys: Any) -> None:
    data = toys.looks()

    seen = looked_at(toys, data, Manner(price=-np.inf, threshold=1.1, share=1.0))

    # all about the trailhead: four other samples of the goal, and thirty strangers
    assert np.bincount(seen.walk).tolist() == [34] * len(seen.group)
    assert seen.true.sum() == seen.reached.sum() == 4 * len(seen.group)
    assert ((seen.belief > 0) & (seen.belief < 1)).all()
    assert (seen.regret == 0).all()  # nothing was kept, so eq. (4) stayed as it was
    assert (seen.goal_size == 5).all()
    assert (seen.reachable == 5).all()


def test_stopping_at_once_would_have_been_better_by_what_the_strangers_cost(toys: Any) -> None:
    answers = {("f", "domain:a.com"): [f"domain:x{i}.org" for i in range(5)]}
    older = [("train", [f"domain:older{i}.com", f"domain:old{i}.com"]) for i in range(4)]
    data = toys.dataset(("f",), answers, [("test", ["domain:a.com"]), *older])

    seen = looked_at(toys, data, ASKS_ALL)

    assert seen.regret == pytest.approx([5 * 0.1])
    assert not seen.true.any()


def test_what_was_seen_is_stored_and_a_damaged_file_is_named(toys: Any, tmp_path: Path) -> None:
    seen = looked_at(toys, toys.looks(), ASKS_ALL)
    path = tmp_path / "beliefs.npz"

    seen.save(path)

    assert (Beliefs.load(path).belief == seen.belief).all()
    path.write_bytes(b"PK")
    with pytest.raises(DataError, match=r"beliefs\.npz"):
        Beliefs.load(path)
