"""params.yaml is read strictly, and a trigger form may replace single values."""

from pathlib import Path

import pytest
import yaml

from threatwalk.errors import ParamsError
from threatwalk.params import Params, Pay, Precision, load, override, parse

ROOT = Path(__file__).parents[2]


@pytest.fixture
def raw() -> dict:
    return yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))


def test_the_committed_file_is_valid() -> None:
    params = load(ROOT / "params.yaml")

    assert params.reward.pay is Pay.GAIN
    assert params.filters[:3] == ("dns", "whois", "virustotal")
    assert params.feeds[0].url == "https://www.circl.lu/doc/misp/feed-osint/"


def test_an_unknown_parameter_is_named_with_its_place(raw: dict) -> None:
    raw["reward"]["pays"] = "gain"

    with pytest.raises(ParamsError, match=r"params\.reward: unknown parameter 'pays'"):
        parse(Params, raw, "params")


def test_a_missing_parameter_is_named(raw: dict) -> None:
    del raw["walk"]["steps"]

    with pytest.raises(ParamsError, match=r"params\.walk: parameter 'steps' is missing"):
        parse(Params, raw, "params")


@pytest.mark.parametrize(
    ("dotted", "value", "said"),
    [
        ("seed", "1", "params.seed should be of type int"),
        ("seed", True, "params.seed should be of type int"),
        ("reward.pay", "both", "params.reward.pay should be one of level, gain"),
        ("filters", "dns", "params.filters should be a list"),
        ("evaluate.budgets", [5, "x"], r"params.evaluate.budgets\[1\] should be of type int"),
        ("evaluate.budgets", [5, 0], r"params.evaluate.budgets\[1\] should be at least 1, not 0"),
        ("train.threatwalk.lr", 0, "params.train.threatwalk.lr should be above 0, not 0"),
        (
            "train.threatwalk.unread",
            1,
            "params.train.threatwalk.unread should be at least 0 and below 1, not 1",
        ),
        ("gate.reserve", {"ask": 1.5}, "params.gate.reserve.ask should be at least 0 and at most 1, not 1.5"),
        ("promote.margin", float("nan"), "params.promote.margin should be a finite number, not nan"),
        ("analyze.night_s", float("inf"), "params.analyze.night_s should be a finite number, not inf"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_a_wrong_value_is_named(raw: dict, dotted: str, value: object, said: str) -> None:
    with pytest.raises(ParamsError, match=said):
        parse(Params, override(raw, {dotted: value}), "params")


def test_a_profile_puts_its_values_in_place_and_what_was_said_besides_goes_before_them() -> None:
    params = load(ROOT / "params.yaml", {"profile": "gpu", "train.devices": 2, "seed": None})

    assert (params.train.devices, params.train.strategy) == (2, "ddp")
    assert params.train.precision is Precision.MIXED
    assert load(ROOT / "params.yaml").train.precision is Precision.SINGLE


@pytest.mark.parametrize("name", ["tpu", "", ["gpu"]])
def test_an_unknown_profile_is_named_with_those_that_are_known(name: object) -> None:
    with pytest.raises(ParamsError, match=r"there is no profile .*; params.yaml has gpu"):
        load(ROOT / "params.yaml", {"profile": name})


def test_a_profile_of_what_is_no_parameter_is_refused_before_anybody_uses_it(
    raw: dict, tmp_path: Path
) -> None:
    raw["profiles"]["gpu"]["train.device"] = 4
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")

    with pytest.raises(ParamsError, match=r"'train.device' is no parameter"):
        load(tmp_path / "params.yaml")


def test_a_value_of_none_changes_nothing(raw: dict) -> None:
    assert override(raw, {"reward.pay": None}) == raw


def test_overriding_leaves_the_original_alone(raw: dict) -> None:
    changed = override(raw, {"reward.pay": "level"})

    assert changed["reward"]["pay"] == "level"
    assert raw["reward"]["pay"] == "gain"


def test_overriding_an_unknown_parameter_is_an_error(raw: dict) -> None:
    with pytest.raises(ParamsError, match=r"'reward\.nothing' is no parameter"):
        override(raw, {"reward.nothing": 1})


def test_a_file_that_is_no_yaml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("a: [", encoding="utf-8")

    with pytest.raises(ParamsError, match=r"broken\.yaml cannot be read"):
        load(path)
