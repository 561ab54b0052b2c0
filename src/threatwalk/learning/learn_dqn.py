"""Training the paper's network: everything around the LightningModule, from a dataset to a policy."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from threatwalk.learning import lightning, paper
from threatwalk.learning.dataset import Dataset, Longs
from threatwalk.learning.dqn import Dqn, Episodes
from threatwalk.learning.dqnpolicy import CodePointPolicy
from threatwalk.learning.encoding import Encoder
from threatwalk.learning.env import BatchEnv
from threatwalk.learning.exam import Curve, Exam, Say
from threatwalk.learning.paper import Practice, State, mappings, rules
from threatwalk.learning.replay import Memory
from threatwalk.params import Params


class DqnAgent:
    """One process, one device: the paper's agent is a baseline."""

    name = "paper_dqn"

    def __init__(self, data: Dataset, params: Params) -> None:
        how = params.train.paper_dqn
        torch.manual_seed(params.seed)
        self.reward = rules(params, pay=how.pay, end_at=how.end_at)
        self.episodes = 0
        self._train, self._how = params.train, how
        self._filters = len(data.filters)
        self._actions = mappings(self._filters)
        self._encoder = Encoder(data.samples, how.obs_chars)
        self._memory = Memory(how.replay, how.obs_chars)
        self._module = Dqn(how, len(self._actions))

    def practise(self, practice: Practice, until: int) -> None:
        episodes = Episodes(
            practice, self._encoder, self._actions, self._module, self._memory,
            batch=self._how.batch, until=until,
        )  # fmt: skip
        lightning.fit(lightning.trainer(self._train, alone=True), self._module, episodes)

    def decide(self, env: BatchEnv, rows: Longs) -> Longs:
        chosen: Longs = self._actions[self._module.best(self._encoder(env.order, env.count, rows))]
        return chosen

    def policy(self) -> CodePointPolicy:
        return CodePointPolicy(self._module.q.cpu().eval(), self._how.obs_chars, self._filters)

    def state(self) -> dict[str, NDArray[Any]]:
        module = self._module
        weights = {f"weights/{name}": value for name, value in module.state_dict().items()}
        moments = {
            f"moments/{i}/{name}": value
            for i, of in module.optimizer.state_dict()["state"].items()
            for name, value in of.items()
        }
        kept = {name: value.cpu().numpy() for name, value in {**weights, **moments}.items()}
        memory = {f"memory/{name}": array for name, array in self._memory.state().items()}
        counts = {"episodes": np.array(self.episodes), "updates": np.array(module.updates)}
        return {**kept, **memory, **counts}

    def resume(self, state: State) -> None:
        module = self._module
        self.episodes, module.updates = int(state["episodes"]), int(state["updates"])
        module.load_state_dict(
            {name: torch.from_numpy(state[f"weights/{name}"]) for name in module.state_dict()}
        )
        adam = module.optimizer.state_dict()
        adam["state"] = {
            i: {
                name: torch.from_numpy(state[f"moments/{i}/{name}"])
                for name in ("step", "exp_avg", "exp_avg_sq")
            }
            for i in adam["param_groups"][0]["params"]
        }
        module.optimizer.load_state_dict(adam)
        self._memory.resume(
            {name.removeprefix("memory/"): a for name, a in state.items() if name.startswith("memory/")}
        )


def learn(data: Dataset, params: Params, *, exam: Exam, curve: Curve, say: Say) -> CodePointPolicy:
    """Practise on the training part, examined on the validation part."""
    agent = DqnAgent(data, params)
    paper.learn(
        agent, data, params, episodes=params.train.paper_dqn.episodes, exam=exam, curve=curve, say=say
    )
    return agent.policy()
