"""Training the candidate: everything around the LightningModule, from a dataset to a policy."""

import numpy as np
import torch

from threatwalk.learning import factored, lightning
from threatwalk.learning.dataset import Dataset, Longs
from threatwalk.learning.env import BatchEnv
from threatwalk.learning.exam import Curve, Exam, Say
from threatwalk.learning.observe import Lexicon, Vocabulary, Walks, learn_vocabulary, observe
from threatwalk.learning.rollouts import Plan, Rollouts, Starts
from threatwalk.learning.setnet import SetNet
from threatwalk.learning.setpolicy import SetPolicy
from threatwalk.learning.setq import SetQ
from threatwalk.params import Params

WORDS = 2048
_CAMPAIGNS = 3  # a word counts where so many campaigns use it
_LENGTH = 4  # steps of a rollout


def learn(data: Dataset, params: Params, *, exam: Exam, curve: Curve, say: Say) -> SetPolicy:
    """Practise on the training part. With several devices, every rank returns the same policy."""
    how = params.train.threatwalk
    torch.manual_seed(params.seed)
    vocabulary = vocabulary_of(data, how.words)
    lexicon = Lexicon.of(data.samples, vocabulary)
    filters = len(data.filters)
    module = SetQ(
        SetNet(words=len(vocabulary), filters=filters, width=how.width, members=how.members, pairs=how.pairs),
        lr=how.lr,
        episodes=how.episodes,
    )
    size = max(1, how.environments // params.train.devices)
    env = BatchEnv(data, size, walk=params.walk, reward=params.reward)
    rollouts = Rollouts(
        env,
        Starts.of(data, data.goals("train")),
        module,
        lexicon=lexicon,
        vocabulary=vocabulary,
        plan=Plan(how.exploration, how.gamma, _LENGTH),
        rng=np.random.default_rng([params.seed, lightning.rank()]),
    )

    def decide(env: BatchEnv, rows: Longs) -> Longs:
        seen = observe(Walks.of_env(env, rows), lexicon, vocabulary)
        with torch.inference_mode():
            q = module.kept()(torch.from_numpy(seen.pooled), torch.from_numpy(seen.counts)).numpy()
        return factored.best(q, seen.mask, env.filters)[0]

    def report() -> None:
        train, held_out = rollouts.mean_score(), exam.score(decide)
        curve.add(module.finished, train, held_out)
        say(
            f"threatwalk: {module.finished:,} of {how.episodes:,} episodes, "
            f"reward {train:+.3f} exploring, {held_out:+.3f} held out"
        )

    trainer = lightning.trainer(params.train, callbacks=[lightning.Reports(module, how.episodes, report)])
    lightning.fit(trainer, module, rollouts)
    return SetPolicy(module.kept(), vocabulary, data.accepts, filters)


def vocabulary_of(data: Dataset, words: int = WORDS) -> Vocabulary:
    """At most so many words of the training goals alone: nothing of a held-out report is read."""
    goals = data.goals("train").tolist()
    told = ((data.samples[s], int(data.group[g])) for g in goals for s in data.goal(g).tolist())
    campaigns = len(set(data.group[goals].tolist()))
    return learn_vocabulary(told, size=words, at_least=min(_CAMPAIGNS, max(1, campaigns // 4)))
