"""Training the candidate: everything around the LightningModule, from a dataset to a policy."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from threatwalk.learning import factored, lightning
from threatwalk.learning.dataset import Dataset, Longs
from threatwalk.learning.env import BatchEnv, spans
from threatwalk.learning.exam import Curve, Exam, Say
from threatwalk.learning.observe import Lexicon, Vocabulary, Walks, learn_vocabulary, observe
from threatwalk.learning.rollouts import Plan, Rollouts, Starts
from threatwalk.learning.setnet import SetNet
from threatwalk.learning.setpolicy import SetPolicy
from threatwalk.learning.setq import SetQ
from threatwalk.params import Params

WORDS = 2048
_CAMPAIGNS = 3  # a word counts where so many campaigns use it


@dataclass(frozen=True)
class Learning:
    """What practises: the network, the walks that it learns from, and the words that it reads."""

    module: SetQ
    rollouts: Rollouts
    lexicon: Lexicon
    vocabulary: Vocabulary

    def decide(self, env: BatchEnv, rows: Longs) -> Longs:
        """What the network that is kept would do, without exploration."""
        seen = observe(Walks.of_env(env, rows), self.lexicon, self.vocabulary)
        return factored.best(self.module.kept_values(seen), seen.mask, env.filters)[0]


def prepared(
    data: Dataset,
    params: Params,
    *,
    words: tuple[Lexicon, Vocabulary] | None = None,
    rollouts: type[Rollouts] = Rollouts,
) -> Learning:
    """The candidate before its first episode. `words`: as `words_of` found them, where they are known already."""
    how = params.train.threatwalk
    torch.manual_seed(params.seed)
    lexicon, vocabulary = words or words_of(data, how.words)
    net = SetNet(
        words=len(vocabulary),
        filters=len(data.filters),
        width=how.width,
        members=how.members,
        pairs=how.pairs,
        doubt=how.doubt,
    )
    # ranks share walks and minibatches, so that together they take the steps that one would
    size, minibatch = (max(1, n // params.train.devices) for n in (how.environments, how.minibatch))
    module = SetQ(
        net,
        lr=how.lr,
        episodes=how.episodes,
        passes=how.passes,
        minibatch=minibatch,
        replay=how.replay,
        unread=how.unread,
    )
    walks = rollouts(
        BatchEnv(data, size, walk=params.walk, reward=params.reward, cut=True),
        Starts.of(data, data.goals("train")),
        module,
        lexicon=lexicon,
        vocabulary=vocabulary,
        plan=Plan(how.exploration, how.gamma, how.length),
        rng=np.random.default_rng(params.seed),
    )
    return Learning(module, walks, lexicon, vocabulary)


def learn(
    data: Dataset, params: Params, *, exam: Exam, curve: Curve, say: Say, aside: Path | None = None
) -> SetPolicy:
    """Practise on the training part. With several devices, every rank returns the same policy.

    `aside`: the file of a run that may be killed and gone on with, see `lightning.course`.
    """
    learning = prepared(data, params)
    module, episodes = learning.module, params.train.threatwalk.episodes

    def report() -> float:
        train, held_out = learning.rollouts.mean_score(), exam.score(learning.decide)
        curve.add(module.finished, train, held_out)
        say(
            f"threatwalk: {module.finished:,} of {episodes:,} episodes, "
            f"reward {train:+.3f} exploring, {held_out:+.3f} held out"
        )
        return held_out

    lightning.course(
        module,
        learning.rollouts.anew,
        report,
        train=params.train,
        seeds=(params.seed,),
        curve=curve,
        aside=aside,
    )
    return SetPolicy(module.kept(), learning.vocabulary, data.accepts, len(data.filters))


def words_of(data: Dataset, words: int) -> tuple[Lexicon, Vocabulary]:
    """What the network reads of each sample, and the words that it knows."""
    vocabulary = vocabulary_of(data, words)
    return Lexicon.of(data.samples, vocabulary), vocabulary


def vocabulary_of(data: Dataset, words: int = WORDS) -> Vocabulary:
    """At most so many words of the training goals alone: nothing of a held-out report is read."""
    goals = data.goals("train")
    _, at = spans(data.goal_indptr[goals], data.goal_size[goals])
    groups = np.repeat(data.group[goals], data.goal_size[goals])
    told = zip(data.samples.each(data.goal_found[at]), groups.tolist(), strict=True)
    campaigns = len(np.unique(groups))
    return learn_vocabulary(told, size=words, at_least=min(_CAMPAIGNS, max(1, campaigns // 4)))
