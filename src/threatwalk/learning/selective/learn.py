"""Training the selective walk: from a dataset to a policy of several members."""

import copy
from pathlib import Path

import numpy as np
import torch

from threatwalk.learning import lightning
from threatwalk.learning.dataset import Dataset
from threatwalk.learning.exam import Curve, Exam, Say
from threatwalk.learning.learn_set import vocabulary_of
from threatwalk.learning.observe import Lexicon
from threatwalk.learning.selective.module import Selective
from threatwalk.learning.selective.net import SelectiveNet
from threatwalk.learning.selective.policy import SelectivePolicy
from threatwalk.learning.selective.practice import Practice
from threatwalk.learning.selective.walking import Judge, Manner, follow
from threatwalk.params import Params

_POINTS = 6  # of the curve: an exam is dear while little is learned


def learn(
    data: Dataset, params: Params, *, exam: Exam, curve: Curve, say: Say, aside: Path | None = None
) -> SelectivePolicy:
    """Practise on the training part, once for each member. With several devices, every rank returns the same policy.

    `aside`: the file of a run that may be killed and gone on with, see `lightning.course`; one for each member.
    """
    how = params.train.selective
    vocabulary = vocabulary_of(data, how.words)
    lexicon = Lexicon.of(data.samples, vocabulary)
    manner = Manner(price=how.price, threshold=how.keep, rounds=how.rounds)
    members = tuple(
        _member(
            data,
            params,
            member,
            lexicon,
            manner,
            len(vocabulary),
            exam,
            curve if member == 0 else Curve(curve.policy),
            say,
            aside and aside.with_name(f"{aside.name}-{member}"),
        )
        for member in range(how.members)
    )
    return SelectivePolicy(members, vocabulary, data.accepts, manner)


def _member(
    data: Dataset,
    params: Params,
    member: int,
    lexicon: Lexicon,
    manner: Manner,
    words: int,
    exam: Exam,
    curve: Curve,
    say: Say,
    aside: Path | None,
) -> SelectiveNet:
    how = params.train.selective
    torch.manual_seed(params.seed + 1000 * member)
    module = Selective(
        SelectiveNet(
            words=words,
            filters=len(data.filters),
            embedding=how.embedding,
            width=how.width,
            dropout=how.dropout,
        ),
        lr=how.lr,
        episodes=how.episodes,
    )
    practice = Practice(
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

    def report() -> float:
        judge = Judge.over([module.kept()], lexicon)
        held_out = exam.followed(
            lambda goals, heads: follow(data, goals, heads, judge, manner, audit=data.audit)
        )
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
