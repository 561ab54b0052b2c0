"""R11: a person rejects a promotion, or nobody answers: the champion stays, in MLflow and in the ledger."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.integration.test_dags_run import _judged, play
from tests.integration.test_registry import Office, empty_store  # noqa: F401 - a fixture
from tests.trust.conftest import ROOT, Trust

from threatwalk.registry import CHAMPION

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's own warnings

PROPERTY = "a rejected approval"
FIGURE = "reject, time out: alias unchanged in 100 %"
Runs = dict[str, tuple[str, dict[str, str]]]


@dataclass
class Moves:
    """The short form: whether the command that moves the alias was started, by a stand-in for it."""

    folder: Path
    moved: list[str] = field(default_factory=list)

    def play(self, name: str, runs: Runs) -> list[str]:
        """The states of each run's task `judge`, and what has moved since."""
        ran = play(runs, _made(self.folder / name), {})["done"]
        self.moved = [
            case for case, done in ran.items() if ["promote"] in [call["line"] for call in done["calls"]]
        ]
        return [state for done in ran.values() for state in done["tasks"]["judge"]]

    def champion(self) -> object:
        return self.moved


class Registered:
    """The full form: a champion in MLflow, and a challenger that passes the gate."""

    def __init__(self, folder: Path, tables: Path) -> None:
        self.folder = folder
        self.office = Office.founded(folder / "office", tables)
        self.office.register("run-1")
        self.office.promote()
        rewards = {"threatwalk": 0.6, "playbook": 0.2, "stop": 0.1, "oracle": 0.8}
        self.office.register("run-2", rewards, dataset="d2", actions=(3, 5))
        assert self.office.judge().winner, "there must be a move to reject"

    def play(self, name: str, runs: Runs) -> list[str]:
        env = {
            "THREATWALK_HOME": str(self.office.folder),
            "MLFLOW_TRACKING_URI": self.office.registry.uri,
            "THREATWALK_PARAMS": str(ROOT / "params.yaml"),
            "OMP_NUM_THREADS": "1",
        }
        ran = play(runs, _made(self.folder / name), env)["done"]
        return [state for done in ran.values() for state in done["tasks"]["judge"]]

    def champion(self) -> object:
        return self.office.registry.at(CHAMPION), self.office.moves()


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.mark.timeout(590)
def test_without_an_approval_the_champion_stays(
    trust: Trust, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    each = 5 if trust.full else 1
    judged = {"JUDGED": _judged("1-2-threatwalk", "person")}  # by the stand-in
    refused = {
        f"{answer}-{number}": ("promote", {**judged, "ANSWER": answer})
        for number in range(each)
        for answer in ("Reject", "none")
    }
    place = Registered(tmp_path, request.getfixturevalue("empty_store")) if trust.full else Moves(tmp_path)

    before = place.champion()
    asked = place.play("refused", refused)
    after = place.champion()
    place.play("approved", {"approved": ("promote", {**judged, "ANSWER": "Approve"})})
    moved = place.champion() != after

    ok = before == after and asked == ["success"] * 2 * each and moved
    trust.record(
        "R11",
        PROPERTY,
        value=(
            f"{each} rejected and {each} left unanswered: the champion {'stays' if before == after else 'MOVED'}; "
            f"an approval of the same move {'moves' if moved else 'does NOT move'} it"
        ),
        figure=FIGURE,
        ok=ok,
    )
    assert ok, (before, after, asked)
