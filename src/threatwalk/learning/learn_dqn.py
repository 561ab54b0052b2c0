"""Training the paper's network: everything around the LightningModule, from a dataset to a policy."""

import numpy as np
import torch

from threatwalk.learning import lightning
from threatwalk.learning.dataset import Dataset, Longs
from threatwalk.learning.dqn import Dqn, Episodes
from threatwalk.learning.dqnpolicy import CodePointPolicy
from threatwalk.learning.encoding import Encoder, scaled
from threatwalk.learning.env import BatchEnv
from threatwalk.learning.exam import Curve, Exam, Say
from threatwalk.learning.paper import Practice, mappings, rules
from threatwalk.params import Params

_WALKS = 64


def learn(data: Dataset, params: Params, *, exam: Exam, curve: Curve, say: Say) -> CodePointPolicy:
    """Practise on the training part; one process, one device: the paper's agent is a baseline."""
    how = params.train.paper_dqn
    torch.manual_seed(params.seed)
    rng = np.random.default_rng([params.seed, 2])
    actions = mappings(len(data.filters))
    module = Dqn(how, len(actions), rng=rng)
    reward = rules(params, pay=how.pay, end_at=how.end_at)
    practice = Practice(data, params, reward, size=_WALKS, rng=rng)
    encoder = Encoder(data.samples, how.obs_chars)
    episodes = Episodes(practice, encoder, actions, module, most=how.episodes)

    def decide(env: BatchEnv, rows: Longs) -> Longs:
        codes = np.stack([encoder(env.found(row)) for row in rows.tolist()])
        with torch.inference_mode():
            q = module.q(torch.from_numpy(scaled(codes)).to(module.device))
        chosen: Longs = actions[q.argmax(dim=1).cpu().numpy()]
        return chosen

    def report() -> None:
        train, held_out = practice.mean_score(), exam.score(decide)
        curve.add(practice.episodes, train, held_out)
        say(
            f"paper_dqn: {practice.episodes:,} of {how.episodes:,} episodes, "
            f"reward {train:+.3f} exploring, {held_out:+.3f} held out"
        )

    trainer = lightning.trainer(
        params.train, alone=True, callbacks=[lightning.Reports(module, how.episodes, report)]
    )
    lightning.fit(trainer, module, episodes)
    return CodePointPolicy(module.q.cpu().eval(), how.obs_chars, len(data.filters))
