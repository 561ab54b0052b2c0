"""Training the selective walk: from a dataset to a policy of several members."""

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from threatwalk.learning import lightning
from threatwalk.learning.dataset import Dataset
from threatwalk.learning.exam import Curve, Exam, Say
from threatwalk.learning.learn_set import words_of
from threatwalk.learning.observe import Lexicon, Vocabulary
from threatwalk.learning.selective.module import Selective
from threatwalk.learning.selective.net import SelectiveNet
from threatwalk.learning.selective.policy import SelectivePolicy
from threatwalk.learning.selective.practice import Practice
from threatwalk.learning.selective.walking import Judge, Manner, follow
from threatwalk.params import Params

_POINTS = 6  # of the curve: an exam is dear while little is learned


@dataclass(frozen=True)
class Learning:
    """What practises: one member's network, the walks that it learns from, and what both read and how they walk."""

    module: Selective
    practice: Practice
    data: Dataset
    lexicon: Lexicon
    manner: Manner

    def score(self, exam: Exam) -> float:
        """The reward of the network that is kept, on an exam's walks."""
        judge = Judge.over([self.module.kept()], self.lexicon)
        return exam.followed(
            lambda goals, heads: follow(self.data, goals, heads, judge, self.manner, audit=self.data.audit)
        )


def learn(
    data: Dataset, params: Params, *, exam: Exam, curve: Curve, say: Say, aside: Path | None = None
) -> SelectivePolicy:
    """Practise on the training part, once for each member. With several devices, every rank returns the same policy.

    `aside`: the file of a run that may be killed and gone on with, see `lightning.course`; one for each member.
    """
    how = params.train.selective
    lexicon, vocabulary = words_of(data, how.words)
    members = []
    for member in range(how.members):
        learning = prepared(data, params, member=member, words=(lexicon, vocabulary))
        own = curve if member == 0 else Curve(curve.policy)
        put = aside and aside.with_name(f"{aside.name}-{member}")
        members.append(_member(learning, params, member, exam=exam, curve=own, say=say, aside=put))
    return SelectivePolicy(tuple(members), vocabulary, data.accepts, _manner(params))


def prepared(
    data: Dataset,
    params: Params,
    *,
    member: int = 0,
    words: tuple[Lexicon, Vocabulary] | None = None,
    practice: type[Practice] = Practice,
) -> Learning:
    """A member before its first episode. `words`: as `words_of` found them, where they are known already."""
    how = params.train.selective
    lexicon, vocabulary = words or words_of(data, how.words)
    torch.manual_seed(params.seed + 1000 * member)
    module = Selective(
        SelectiveNet(
            words=len(vocabulary),
            filters=len(data.filters),
            embedding=how.embedding,
            width=how.width,
            dropout=how.dropout,
        ),
        lr=how.lr,
        episodes=how.episodes,
        passes=how.passes,
        replay=how.replay,
    )
    manner = _manner(params)
    walks = practice(
        data,
        lexicon,
        walks=max(1, how.environments // params.train.devices),
        gamma=how.gamma,
        manner=manner,
        excess_weight=params.reward.excess_weight,
        judge=lambda: Judge.of([copy.deepcopy(module.net).cpu().eval()], lexicon),
        progress=lambda: module.progress,
        rng=np.random.default_rng(params.seed),
    )
    return Learning(module, walks, data, lexicon, manner)


def _manner(params: Params) -> Manner:
    how = params.train.selective
    return Manner(price=how.price, threshold=how.keep, rounds=how.rounds)


def _member(
    learning: Learning, params: Params, member: int, *, exam: Exam, curve: Curve, say: Say, aside: Path | None
) -> SelectiveNet:
    how, module, practice = params.train.selective, learning.module, learning.practice

    def report() -> float:
        held_out = learning.score(exam)
        train = float(np.mean(practice.scores)) if practice.scores else float("nan")
        practice.scores.clear()
        curve.add(module.finished, train, held_out)
        say(
            f"selective, member {member + 1} of {how.members}: {module.finished:,} of {how.episodes:,} episodes, "
            f"reward {train:+.3f} exploring, {held_out:+.3f} held out"
        )
        return held_out

    lightning.course(
        module,
        practice.anew,
        report,
        train=params.train,
        seeds=(params.seed, member),
        curve=curve,
        points=_POINTS,
        aside=aside,
    )
    return module.kept()
