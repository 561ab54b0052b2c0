import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from threatwalk.analysis.analysis import Analysis, Step, Stopped
from threatwalk.analysis.stored import dumps
from threatwalk.cli.learning import reproduce
from threatwalk.errors import DataError
from threatwalk.learning.exam import Curve
from threatwalk.learning.reproduce import PANELS, Band, Moment, bands, crossing, figure7, verdict
from threatwalk.reports.report import Pap, Tlp
from threatwalk.sample import parse

EPISODES = np.linspace(0, 1000, 101)


def band(values: np.ndarray) -> Band:
    return Band(EPISODES, values, np.zeros(101), 1)


def test_the_crossing_is_where_the_deep_agent_rises_above_for_good():
    simple, deep = band(np.full(101, 0.5)), band(EPISODES / 1000)

    assert crossing(simple, deep) == pytest.approx(505, abs=10)
    assert "from about 505" in verdict(simple, deep)


@pytest.mark.parametrize(
    ("deep", "said"),
    [
        (np.full(101, 0.4), "does not stay above"),
        (np.where(EPISODES > 950, 0.6, 0.4), "does not stay above"),
        (np.full(101, 0.6), "from the first"),
    ],
    ids=["never above", "only at the very end", "always above"],
)
def test_without_a_crossing_it_says_so(deep: np.ndarray, said: str):
    assert said in verdict(band(np.full(101, 0.5)), band(deep))
    assert verdict(band(np.full(101, 0.5)), band(deep)).startswith("The crossing does not appear")


def test_a_band_is_mean_and_spread_over_seeds(tmp_path: Path):
    for seed, reward in enumerate((0.0, 1.0)):
        curve = Curve("agent")
        curve.add(0, reward, 0.0)
        curve.add(100, reward, 0.0)
        curve.write(tmp_path / str(seed))
    found = bands([tmp_path / "0/agent.csv", tmp_path / "1/agent.csv"], "train_reward")

    assert found.mean == pytest.approx(0.5)
    assert found.spread == pytest.approx(0.5)


def test_a_file_that_is_no_curve_is_an_error(tmp_path: Path):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")

    with pytest.raises(DataError, match=r"x\.csv is no learning curve"):
        bands([tmp_path / "x.csv"], "train_reward")


def test_figure_7_is_drawn_for_any_walk(tmp_path: Path):
    figure7(
        "hostname:a.b.ru",
        [Moment("dns + whois", ("ipv4:192.0.2.1", "filename:$x_$"), 3, "value 0.4")],
        tmp_path / "7.png",
    )

    assert (tmp_path / "7.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("steps", [0, 2], ids=["stopped at once", "figures 3 and 4"])
def test_figure_7_is_drawn_of_an_analysis(tmp_path: Path, steps: int):
    host, address, md5 = map(
        parse, ("hostname:staffsolut.nichost.ru", "ipv4:195.208.1.146", f"md5:{'0b' * 16}")
    )
    walked = (
        Step(1, ("dns",), (), (address,), values=((("dns",), 0.9),)),
        Step(4, ("virustotal",), (), (md5,)),
    )[:steps]
    now = datetime(2017, 1, 1, tzinfo=UTC)
    done = Analysis(
        host, "paper_dqn", walked, (host, address, md5)[: steps + 1], Stopped.STEP_LIMIT, Tlp.CLEAR, Pap.CLEAR, now, now
    )  # fmt: skip
    (tmp_path / "analysis.json").write_text(dumps(done))
    args = ["figure7", str(tmp_path / "analysis.json"), "--out", str(tmp_path / "7.png")]
    result = CliRunner().invoke(reproduce, args, catch_exceptions=False)

    assert result.exit_code == 0
    assert (tmp_path / "7.png").read_bytes().startswith(b"\x89PNG")


def test_figure_8_resumes_and_says_whether_the_crossing_appears(toys, tmp_path: Path):
    toys.write(toys.looks(20), tmp_path / "compiled")
    params = Path(__file__).parents[3] / "params.yaml"
    args = ["figure8", "--params", str(params), "--compiled", str(tmp_path / "compiled")]
    args += ["--out", str(tmp_path / "out"), "--seeds", "1", "--episodes", "150"]
    first = CliRunner().invoke(reproduce, args, catch_exceptions=False)
    second = CliRunner().invoke(reproduce, args, catch_exceptions=False)

    assert first.exit_code == 0
    told = json.loads((tmp_path / "out" / "figure8.json").read_text())
    assert [line.split(":")[0] for line in told["verdicts"]] == [t for t in PANELS.values() for _ in range(2)]
    assert all(line in first.output for line in told["verdicts"])
    assert set(told["ends"]) == {"tabular_q", "paper_dqn", "tabular_single"}
    assert second.output.count("kept from an earlier run") == 3
    assert (tmp_path / "out" / "figure8.png").stat().st_size > 5000
