import json
from pathlib import Path

import numpy as np
import pytest
import torch

from threatwalk.errors import ModelError
from threatwalk.learning import baselines, stored
from threatwalk.learning.dqn import CodePointNet
from threatwalk.learning.dqnpolicy import CodePointPolicy
from threatwalk.learning.features import KINDS
from threatwalk.learning.observe import Vocabulary
from threatwalk.learning.policy import View
from threatwalk.learning.setnet import SetNet
from threatwalk.learning.setpolicy import SetPolicy
from threatwalk.learning.tabular import TabularPolicy, key
from threatwalk.sample import parse

FILTERS = ("dns", "whois", "virustotal")
VIEW = View((parse("domain:a.ru"),), (0, 0, 0), step=0, new=1, lookups=0, budget_left=9, mask=7)


def set_policy() -> SetPolicy:
    torch.manual_seed(1)
    vocabulary = Vocabulary(np.arange(40, dtype=np.uint32) * 10**8, np.zeros(40, dtype=np.int8))
    net = SetNet(words=40, filters=3, width=8, members=2)
    for member in net.members:
        torch.nn.init.normal_(member.head.weight)  # values that differ
    return SetPolicy(net.eval(), vocabulary, np.ones((3, len(KINDS)), dtype=bool), 3)


def policies() -> list[stored.Storable]:
    torch.manual_seed(0)
    return [
        *baselines.fixed(3, seed=0),
        baselines.Playbook("playbook", (1, 4)),
        TabularPolicy({key(VIEW.samples): (5, 0.5)}, 3),
        CodePointPolicy(CodePointNet(32, 8, 7).eval(), 32, 3),
        set_policy(),
    ]


@pytest.mark.parametrize("policy", policies(), ids=lambda p: p.name)
def test_a_policy_chooses_the_same_after_a_round_trip(policy: stored.Storable, tmp_path: Path):
    stored.save(policy, tmp_path, filters=FILTERS)
    again = stored.load(tmp_path, policy.name, filters=FILTERS)
    expected = policy.choose(VIEW)

    assert again.name == policy.name
    assert again.choose(VIEW).action == expected.action
    assert [v for _, v in again.choose(VIEW).values] == pytest.approx(
        [v for _, v in expected.values], abs=1e-5
    )


def test_saving_twice_gives_the_same_bytes(tmp_path: Path):
    for folder in ("one", "two"):
        stored.save(set_policy(), tmp_path / folder, filters=FILTERS)

    assert (tmp_path / "one/threatwalk.safetensors").read_bytes() == (
        tmp_path / "two/threatwalk.safetensors"
    ).read_bytes()
    assert (tmp_path / "one/threatwalk.json").read_bytes() == (tmp_path / "two/threatwalk.json").read_bytes()


def test_nothing_else_is_left_in_the_folder(tmp_path: Path):
    stored.save(set_policy(), tmp_path, filters=FILTERS)

    assert sorted(p.name for p in tmp_path.iterdir()) == ["threatwalk.json", "threatwalk.safetensors"]


def test_a_changed_network_is_an_error(tmp_path: Path):
    stored.save(set_policy(), tmp_path, filters=FILTERS)
    weights = tmp_path / "threatwalk.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")

    with pytest.raises(ModelError, match="not the file that its manifest names"):
        stored.load(tmp_path, "threatwalk")


def test_an_absent_network_is_an_error(tmp_path: Path):
    stored.save(set_policy(), tmp_path, filters=FILTERS)
    (tmp_path / "threatwalk.safetensors").unlink()

    with pytest.raises(ModelError, match="absent"):
        stored.load(tmp_path, "threatwalk")


def test_a_file_that_is_no_network_is_an_error(tmp_path: Path):
    stored.save(set_policy(), tmp_path, filters=FILTERS)
    (tmp_path / "threatwalk.safetensors").write_bytes(b"nothing")
    alter(tmp_path / "threatwalk.json", digest=stored.sha256(tmp_path / "threatwalk.safetensors"))

    with pytest.raises(ModelError, match="damaged"):
        stored.load(tmp_path, "threatwalk")


@pytest.mark.parametrize(
    "filters", [("dns", "whois"), ("whois", "dns", "virustotal")], ids=["fewer", "reordered"]
)
def test_other_filters_are_an_error(filters: tuple[str, ...], tmp_path: Path):
    stored.save(set_policy(), tmp_path, filters=FILTERS)

    with pytest.raises(ModelError, match="trained with the filters dns, whois, virustotal"):
        stored.load(tmp_path, "threatwalk", filters=filters)


@pytest.mark.parametrize("name", ["threatwalk", "paper_dqn", "tabular_q"])
def test_another_encoding_is_an_error(name: str, tmp_path: Path):
    for policy in policies():
        if policy.name == name:
            stored.save(policy, tmp_path, filters=FILTERS)
    alter(tmp_path / f"{name}.json", encoding="of-another-time")

    with pytest.raises(ModelError, match="of-another-time"):
        stored.load(tmp_path, name)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"policy": "x", "form": "table"}', '{"policy": "x", "form": "?", "filters": []}'],
)
def test_a_manifest_that_is_none_is_an_error(text: str, tmp_path: Path):
    (tmp_path / "x.json").write_text(text, encoding="utf-8")

    with pytest.raises(ModelError):
        stored.load(tmp_path, "x")


def alter(path: Path, **values: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}), encoding="utf-8")
