"""Train both agents on toy reports with several processes; each writes what its networks came to, and how often it walked."""

import hashlib
import sys
from pathlib import Path

from tests.unit.learning.conftest import Toys

from threatwalk.learning.exam import Curve, Exam
from threatwalk.learning.ranks import rank
from threatwalk.params import changed, load

VALUES = {
    "train.strategy": "ddp",
    "train.threatwalk.episodes": 2000,
    "train.threatwalk.environments": 16,
    "train.threatwalk.width": 32,
    "train.selective.episodes": 1200,
    "train.selective.environments": 16,
    "train.selective.width": 24,
    "train.selective.embedding": 16,
}


def main(out: Path, processes: int, share: float = 1.0) -> None:
    """`share` of the episodes: all of them teach something, a few show that the ranks agree."""
    from threatwalk.learning.learn_set import learn as learn_set
    from threatwalk.learning.selective.learn import learn as learn_selective

    values = {name: int(v * share) if name.endswith("episodes") else v for name, v in VALUES.items()}
    values["train.devices"] = processes
    params = changed(load(Path(__file__).parents[2] / "params.yaml"), values)
    data = Toys(params).looks(40)
    exam = Exam(data, "valid", walk=params.walk, reward=params.reward, most=20, seed=0)
    for name, learn in (("threatwalk", learn_set), ("selective", learn_selective)):
        curve, aside = Curve(name), out / f"{name}-aside"
        policy = learn(data, params, exam=exam, curve=curve, say=lambda _: None, aside=aside)
        networks = [policy.network] if name == "threatwalk" else policy.members
        weights = hashlib.sha256()
        for network in networks:
            for value in network.state_dict().values():
                weights.update(value.numpy().tobytes())
        told = [weights.hexdigest(), *(f"{episode} {held_out}" for episode, _, held_out in curve.points[-1:])]
        (out / f"{name}-{rank()}").write_text("\n".join(told), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), *map(float, sys.argv[3:]))
