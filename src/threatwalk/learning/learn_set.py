"""Training the candidate: everything around the LightningModule, from a dataset to a policy."""

from typing import cast

import numpy as np
import pytorch_lightning as pl
import torch

from threatwalk.learning import factored, lightning
from threatwalk.learning.dataset import Dataset, Longs
from threatwalk.learning.env import BatchEnv
from threatwalk.learning.exam import Curve, Decide, Exam, Say
from threatwalk.learning.observe import Lexicon, Vocabulary, Walks, learn_vocabulary, observe
from threatwalk.learning.rollouts import Plan, Rollouts, Starts
from threatwalk.learning.setnet import SetNet
from threatwalk.learning.setpolicy import SetPolicy
from threatwalk.learning.setq import SetQ
from threatwalk.params import Params

_WORDS = 2048
_CAMPAIGNS = 3  # a word counts where so many campaigns use it
_LENGTH = 4  # steps of a rollout


def learn(data: Dataset, params: Params, *, exam: Exam, curve: Curve, say: Say) -> SetPolicy:
    """Practise on the training part. With several devices, every rank returns the same policy."""
    how = params.train.threatwalk
    torch.manual_seed(params.seed)
    vocabulary = _vocabulary(data)
    lexicon = Lexicon.of(data.samples, vocabulary)
    filters = len(data.filters)
    module = SetQ(
        SetNet(words=len(vocabulary), filters=filters, width=how.width), lr=how.lr, episodes=how.episodes
    )
    trainer = lightning.trainer(params.train)
    env = BatchEnv(
        data, max(1, how.environments // trainer.world_size), walk=params.walk, reward=params.reward
    )
    rollouts = Rollouts(
        env,
        Starts.of(data, data.goals("train")),
        module,
        lexicon=lexicon,
        vocabulary=vocabulary,
        plan=Plan(how.exploration, how.gamma, _LENGTH),
        rng=np.random.default_rng([params.seed, trainer.global_rank]),
    )
    callback = _Progress(module, rollouts, (lexicon, vocabulary), exam, curve, say)
    cast("list[pl.Callback]", trainer.callbacks).append(callback)  # type: ignore[attr-defined]
    trainer.fit(module, train_dataloaders=rollouts)
    return SetPolicy(module.kept(), vocabulary, data.accepts, filters)


def _vocabulary(data: Dataset) -> Vocabulary:
    """The words of the training goals alone: nothing of a held-out report is read."""
    goals = data.goals("train").tolist()
    told = ((data.samples[s], int(data.group[g])) for g in goals for s in data.goal(g).tolist())
    campaigns = len(set(data.group[goals].tolist()))
    return learn_vocabulary(told, size=_WORDS, at_least=min(_CAMPAIGNS, max(1, campaigns // 4)))


class _Progress(pl.Callback):
    """Ten or so times a run: a point of the curve, and a line that says how it goes."""

    def __init__(
        self,
        module: SetQ,
        rollouts: Rollouts,
        look: tuple[Lexicon, Vocabulary],
        exam: Exam,
        curve: Curve,
        say: Say,
    ) -> None:
        self._module, self._rollouts, self._look = module, rollouts, look
        self._exam, self._curve, self._say = exam, curve, say
        self._next = 0.0

    def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
        done = self._module.progress
        if done < self._next or not trainer.is_global_zero:
            return
        self._next = min(done + 0.1, 1.0) if done < 1 else 2.0
        train, held_out = float(np.mean(self._rollouts.scores or [np.nan])), self._exam.score(self._decide())
        self._rollouts.scores.clear()
        episodes = self._module.finished
        self._curve.add(episodes, train, held_out)
        self._say(
            f"threatwalk: {episodes:,} of {self._module.episodes:,} episodes, "
            f"reward {train:+.3f} exploring, {held_out:+.3f} held out"
        )

    def _decide(self) -> Decide:
        """The best mappings by the averaged network, on the dataset's own numbers."""
        network = self._module.kept()

        def decide(env: BatchEnv, rows: Longs) -> Longs:
            seen = observe(Walks.of_env(env, rows), *self._look)
            with torch.inference_mode():
                q = network(torch.from_numpy(seen.pooled), torch.from_numpy(seen.counts)).numpy()
            return factored.best(q, seen.mask, env.filters)[0]

        return decide
