"""The paper's worked examples: equations (1) to (5b) and figures 3 to 5 in one small archive.

Figures 3 and 4: the hostname staffsolut.nichost.ru, by DNS to 195.208.1.146, by VirusTotal to a hash.
"""

from dataclasses import replace

import numpy as np
import pytest

from threatwalk.learning.dataset import Dataset
from threatwalk.learning.encoding import encode
from threatwalk.learning.env import Ended, Env
from threatwalk.learning.policy import action_of, filter_ids
from threatwalk.params import Combine, Pay

HOST, ADDRESS, HASH = (
    "hostname:staffsolut.nichost.ru",
    "ipv4:195.208.1.146",
    "md5:0b3323531a322c89aa4c9059a1b215a7",
)
FILTERS = ("dns", "virustotal")
DNS, VIRUSTOTAL = action_of([1]), action_of([2])


@pytest.fixture
def archive(toys) -> Dataset:
    answers = {("dns", HOST): [ADDRESS], ("virustotal", ADDRESS): [HASH]}
    return toys.dataset(FILTERS, answers, [("train", [HOST, ADDRESS, HASH])])


def walk(archive: Dataset, toys, *, combine: Combine = Combine.PARALLEL, pay: Pay = Pay.LEVEL) -> Env:
    rules = replace(toys.params.reward, pay=pay, end_at=1)
    env = Env(archive, walk=replace(toys.params.walk, combine=combine), reward=rules)
    env.reset(0, next(i for i, s in enumerate(archive.samples) if str(s) == HOST))
    return env


def held(archive: Dataset, env: Env) -> list[str]:
    return [str(archive.samples[i]) for i in env.ids.tolist()]


def test_figures_3_and_4_two_steps_lead_from_the_host_name_to_the_hash(archive: Dataset, toys):
    env = walk(archive, toys)
    rewards = [env.step(DNS)[0], env.step(VIRUSTOTAL)[0]]

    assert held(archive, env) == [HOST, ADDRESS, HASH]
    assert rewards == pytest.approx([2 / 3, 1])
    assert env.ended is Ended.REACHED


def test_equation_1_a_step_keeps_what_was_there(archive: Dataset, toys):
    env = walk(archive, toys)
    env.step(DNS)

    assert held(archive, env)[0] == HOST


def test_equation_2_filters_at_once_see_the_same_set(archive: Dataset, toys):
    env = walk(archive, toys)
    env.step(action_of([1, 2]))

    assert held(archive, env) == [HOST, ADDRESS]


def test_equation_3_filters_in_turn_see_what_the_ones_before_them_found(archive: Dataset, toys):
    env = walk(archive, toys, combine=Combine.IN_TURN)
    env.step(action_of([1, 2]))

    assert held(archive, env) == [HOST, ADDRESS, HASH]


def test_equation_4_paid_by_gain_is_the_rise(archive: Dataset, toys):
    env = walk(archive, toys, pay=Pay.GAIN)

    assert [env.step(DNS)[0], env.step(VIRUSTOTAL)[0]] == pytest.approx([1 / 3, 1 / 3])


def test_equation_5b_a_mapping_is_a_bit_set():
    assert action_of([1, 3, 11]) == 2**0 + 2**2 + 2**10
    assert list(filter_ids(1029)) == [1, 3, 11]


def test_figure_5_the_network_sees_the_set_grow(archive: Dataset, toys):
    env = walk(archive, toys)
    before = encode(env.view().samples, 96)
    env.step(DNS)
    after = encode(env.view().samples, 96)

    assert bytes(before[:34]).decode() == f'["{HOST}"]'
    assert bytes(after[: np.count_nonzero(after)]).decode() == f'["{HOST}","{ADDRESS}"]'


def test_the_papers_agents_have_the_papers_constants(toys):
    how = toys.params.train

    assert toys.params.reward.excess_weight == 0.1
    for agent in (how.tabular_q, how.paper_dqn):
        assert (agent.gamma, agent.pay, agent.end_at) == (0.9, Pay.LEVEL, 1)
