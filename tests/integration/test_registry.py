"""The registry and promotions against a real MLflow on SQLite."""

import json
import pickle
import shutil
import subprocess
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
from click.testing import CliRunner

from threatwalk import promotion
from threatwalk.analysis.shadow import Shadow
from threatwalk.archive import database
from threatwalk.archive.ledger import By, Ledger
from threatwalk.cli.models import model
from threatwalk.errors import DataError, ModelError, NoChampionError, StoreError, UnavailableError, UsageError
from threatwalk.learning import scored, stored
from threatwalk.learning.baselines import Playbook
from threatwalk.learning.finished import digest
from threatwalk.learning.policy import Policy
from threatwalk.learning.scored import REACHABLE, SCORES, Scored
from threatwalk.params import Params, load
from threatwalk.registry import CHALLENGER, CHAMPION, Registry, Version

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # MLflow's own warnings

FILE = Path(__file__).parents[2] / "params.yaml"
PARAMS = load(FILE)
FILTERS = PARAMS.filters
REWARDS = {"threatwalk": 0.42, "playbook": 0.2, "stop": 0.1, "oracle": 0.6}


def walks(policy: str, reward: float) -> list[Scored]:
    """Twenty held-out walks in ten groups, each of which scores just this."""
    group, each = np.repeat(np.arange(10), 2), np.full(20, reward)
    return [
        Scored(policy, budget, True, group, dict.fromkeys((*SCORES, *REACHABLE), each))
        for budget in PARAMS.evaluate.budgets
    ]


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's tables, made once: that takes seconds."""
    home = tmp_path_factory.mktemp("mlflow")
    Registry(f"sqlite:///{home / 'mlflow' / 'mlflow.db'}", home).versions()
    return home / "mlflow" / "mlflow.db"


class Office:
    """One installation: a registry, a ledger, and a way to make finished runs."""

    def __init__(self, folder: Path, uri: str) -> None:
        self.folder = folder
        self.registry = Registry(uri, folder)
        self.ledger = Ledger(database.engine(f"sqlite:///{folder / 'threatwalk.db'}"))
        self.rated: list[str] = []
        self.champion_reward = REWARDS["threatwalk"]
        self.shadow = Shadow(missing="no night has analysed anything yet")
        self.looked: list[str] = []

    @classmethod
    def founded(cls, folder: Path, empty_store: Path) -> Self:
        """One that keeps its registry in its own folder."""
        (folder / "mlflow").mkdir(parents=True)
        shutil.copy(empty_store, folder / "mlflow" / "mlflow.db")
        return cls(folder, f"sqlite:///{folder / 'mlflow' / 'mlflow.db'}")

    def run(
        self,
        name: str,
        rewards: dict[str, float] = REWARDS,
        *,
        dataset: str = "d1",
        actions: tuple[int, ...] = (1, 2),
        filters: tuple[str, ...] = FILTERS,
    ) -> Path:
        folder = self.folder / name
        (folder / "data/evaluation").mkdir(parents=True)
        (folder / "data/curves").mkdir()
        (folder / "data/compiled").mkdir()
        shutil.copy(FILE, folder / "params.yaml")
        (folder / "dvc.lock").write_text(f"schema: '2.0'  # {dataset}\n")
        for policy in (Playbook("threatwalk", actions), Playbook("playbook", (4,))):
            stored.save(policy, folder / "data/models", filters=filters)
        scored.save(
            [row for policy, reward in rewards.items() for row in walks(policy, reward)],
            folder / "data/evaluation/walks.parquet",
        )
        held_out = {policy: {"policy": policy, "reward": reward} for policy, reward in rewards.items()}
        (folder / "data/evaluation/table.json").write_text(
            json.dumps({"held_out": held_out, "dataset": dataset})
        )
        (folder / "data/evaluation/metrics.json").write_text(
            json.dumps({"threatwalk": {"reward": rewards["threatwalk"]}})
        )
        (folder / "data/evaluation/report").mkdir()
        (folder / "data/evaluation/report/index.html").write_text("<h1>Every policy</h1>")
        (folder / "data/evaluation/figure8.png").write_bytes(b"\x89PNG\r\n\x1a\n")
        (folder / "data/curves/threatwalk.csv").write_text("episodes,reward\n0,-0.5\n1000,0.1\n2000,\n")
        return folder

    def register(self, name: str, *rest: Any, **options: Any) -> Version:
        return self.registry.register(self.run(name, *rest, **options))

    def rate(self, policy: Policy, folder: Path) -> Sequence[Scored]:
        self.rated.append(f"{policy.name} on {folder.name}")
        return walks(policy.name, self.champion_reward)

    def look(self, policy: Policy, filters: Sequence[str]) -> Shadow:
        self.looked.append(policy.name)
        return self.shadow

    def judge(self) -> promotion.Judgement:
        return promotion.judge(self.registry, self.ledger, PARAMS, rate=self.rate, look=self.look)

    def promote(self, params: Params = PARAMS, **approved: str) -> promotion.Promotion:
        return promotion.promote(
            self.registry, self.ledger, params, rate=self.rate, look=self.look, **approved
        )

    def champion(self, filters: tuple[str, ...] = FILTERS) -> promotion.Champion:
        return promotion.champion(self.registry, self.ledger, filters)

    def moves(self) -> list[tuple[By, int | None, int, bool]]:
        return [(m.by, m.from_version, m.to_version, m.done) for m in self.ledger.moves()]


@pytest.fixture
def office(tmp_path: Path, empty_store: Path) -> Office:
    return Office.founded(tmp_path / "office", empty_store)


def test_the_data_contract_of_a_run_is_shown_with_who_answered_for_a_breach(office: Office) -> None:
    import mlflow

    folder = office.run("run-1")
    checks = {
        "hubs": {"value": 0.05, "accepted": "A. Name: ticket 4711"},
        "copies": {"value": 0, "accepted": ""},
    }
    (folder / "data/contract").mkdir()
    (folder / "data/contract/contract.json").write_text(json.dumps({"ok": True, "checks": checks}))
    (folder / "data/contract/contract.html").write_text("<h1>The data contract is kept.</h1>")

    version = office.registry.register(folder)

    client = mlflow.MlflowClient(office.registry.uri)
    run = client.get_run(version.run_id)
    assert run.data.tags["contract"] == "hubs accepted by A. Name: ticket 4711"
    assert run.data.metrics["contract/hubs"] == 0.05
    assert {file.path for file in client.list_artifacts(version.run_id, "contract")} == {
        "contract/contract.html",
        "contract/contract.json",
    }


def test_a_run_is_kept_with_parameters_metrics_curve_and_hashes(office: Office) -> None:
    import mlflow

    version = office.register("run-1")

    run = mlflow.MlflowClient(office.registry.uri).get_run(version.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["reward.pay"] == "gain"
    assert run.data.params["train.threatwalk.episodes"]
    assert run.data.metrics["threatwalk.reward"] == 0.42
    assert run.data.metrics["curve/threatwalk/reward"] == 0.1
    assert (run.data.tags["dataset"], len(run.data.tags["dvc_lock"])) == ("d1", 64)
    assert run.inputs.dataset_inputs[0].dataset.digest == "d1"
    shown = mlflow.MlflowClient(office.registry.uri).list_artifacts(version.run_id, "evaluation/report")
    assert [file.path for file in shown] == ["evaluation/report/index.html"]
    assert [v.policy for v in office.registry.versions()] == ["threatwalk"]
    assert (version.filters, version.reward, office.registry.at(CHALLENGER)) == (
        FILTERS,
        0.42,
        office.registry.versions()[0],
    )


def test_a_version_names_the_dataset_by_its_tag(office: Office) -> None:
    folder = office.run("run-1")
    for line in (
        ["init", "--quiet"],
        ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "--quiet", "--allow-empty", "-m", "x"],
        ["tag", "dataset-night-1"],
        ["tag", "of-somebody-else"],
    ):
        subprocess.run(["git", *line], cwd=folder, check=True)

    assert office.registry.register(folder).tags["dataset_tag"] == "dataset-night-1"


def test_a_version_holds_the_policy_and_nothing_that_could_be_unpickled(
    office: Office, tmp_path: Path
) -> None:
    version = office.register("run-1")

    (tmp_path / "down").mkdir()
    files = {path.name for path in office.registry.files(version, tmp_path / "down").iterdir()}
    assert files == {"threatwalk.json", "MLmodel", "registered_model_meta"}
    assert "python_function" not in (tmp_path / "down" / "MLmodel").read_text()


def test_registering_a_run_again_finds_it(office: Office) -> None:
    folder = office.run("run-1")

    assert office.registry.register(folder).number == office.registry.register(folder).number == 1
    assert len(office.registry.versions()) == 1


def test_an_older_run_that_is_registered_again_does_not_become_the_challenger_again(office: Office) -> None:
    older = office.run("run-1")
    office.registry.register(older)
    office.register("run-2", actions=(1, 4))

    again = promotion.register(office.registry, office.ledger, older)

    assert (again.number, again.aliases) == (1, ())
    assert promotion.became(again).endswith("a newer version stays the challenger")
    assert [version.aliases for version in office.registry.versions()] == [(), ("challenger",)]


def test_a_run_whose_registration_died_before_the_alias_becomes_challenger_by_a_repeat(
    office: Office,
) -> None:
    office.register("run-1")
    newer = office.run("run-2", actions=(1, 4))
    office.registry.register(newer)
    office.registry.point(CHALLENGER, 1)  # as it was when the process died

    again = promotion.register(office.registry, office.ledger, newer)

    assert (again.number, again.aliases) == (2, ("challenger",))
    assert [version.aliases for version in office.registry.versions()] == [(), ("challenger",)]


def test_a_run_that_died_half_way_is_registered_by_the_next_attempt(office: Office) -> None:
    folder = office.run("run-1")
    broken = folder / "data/evaluation/metrics.json"
    whole = broken.read_text()
    broken.write_text("{")
    with pytest.raises(ValueError):
        office.registry.register(folder)
    broken.write_text(whole)

    assert office.registry.register(folder).number == 1


def test_a_folder_without_a_finished_run_is_named(office: Office) -> None:
    folder = office.run("run-1")
    (folder / "data/evaluation/table.json").unlink()

    with pytest.raises(DataError, match="threatwalk evaluate"):
        office.registry.register(folder)


def test_a_challenger_that_passes_becomes_champion_once(office: Office) -> None:
    office.register("run-1")
    first, second = office.promote(), office.promote()

    assert (first.moved, second.moved) == (True, False)
    assert office.champion().policy.name == "threatwalk"
    assert office.champion().model.startswith("version 1, sha256 ")
    assert office.moves() == [(By.GATE, None, 1, True)]


def test_a_judgement_moves_nothing_and_names_the_move(office: Office) -> None:
    office.register("run-1")
    found = office.judge()

    assert (found.winner, found.move) == ("threatwalk", "0-1-threatwalk")
    assert office.registry.at(CHAMPION) is None
    assert office.moves() == []


def test_what_a_person_approved_is_moved_in_the_person_s_name(office: Office) -> None:
    office.register("run-1")
    for moved in (True, False):  # a repeat is harmless
        done = office.promote(judged="0-1-threatwalk", approved_by="A. Analyst")
        assert done.moved is moved

    [move] = office.ledger.moves()
    assert (move.by, move.who, move.done) == (By.PERSON, "A. Analyst", True)
    champion = office.registry.at(CHAMPION)
    assert champion is not None
    assert champion.tags["promoted_by"] == "A. Analyst"
    assert champion.tags["promoted_as"] == "person"
    assert champion.tags["promoted_at"] == move.at.isoformat(timespec="seconds")


def test_an_approval_is_for_the_judged_challenger_alone(office: Office) -> None:
    office.register("run-1")
    judged = office.judge().move
    office.register("run-2", REWARDS | {"threatwalk": 0.5}, actions=(1, 4))
    with pytest.raises(DataError, match="0-1-threatwalk was judged, but now the gate says 0-2-threatwalk"):
        office.promote(judged=judged)

    assert office.registry.at(CHAMPION) is None
    assert office.moves() == []


def test_where_no_network_passes_the_best_baseline_becomes_champion(office: Office) -> None:
    office.register("run-1", {"threatwalk": 0.15, "playbook": 0.2, "stop": 0.1})
    first, second = office.promote(), office.promote()

    assert first.moved
    assert not second.moved
    assert office.champion().policy.name == "playbook"
    assert (office.champion().version.number, office.champion().version.reward) == (2, 0.2)
    assert "threatwalk does not pass: -0.050" in first.reason


def test_a_repeat_after_the_best_baseline_became_champion_changes_nothing(office: Office) -> None:
    office.register("run-1", REWARDS | {"threatwalk": -0.2})
    office.promote()
    before = office.registry.versions(), office.moves()

    again = office.promote()

    assert (office.registry.versions(), office.moves()) == before
    assert not again.moved
    assert "of the same run was promoted in its place" in again.reason


def test_a_worse_challenger_leaves_the_champion_where_it_is(office: Office) -> None:
    office.register("run-1")
    office.promote()
    office.register("run-2", REWARDS | {"threatwalk": 0.41}, actions=(1, 4))
    done = office.promote()

    assert not done.moved
    assert office.champion().version.number == 1
    assert "the champion stays" in done.reason


@pytest.mark.parametrize(("reward", "winner"), [(0.31, 2), (0.29, 1)], ids=["better", "worse"])
def test_on_another_dataset_the_champion_walks_again(office: Office, reward: float, winner: int) -> None:
    office.register("run-1")
    office.promote()
    office.champion_reward = 0.3
    office.register("run-2", {"threatwalk": reward, "playbook": 0.2}, dataset="d2", actions=(1, 4))
    office.promote()
    office.promote()  # what it scored is kept

    assert office.rated == ["threatwalk on run-2"]
    assert office.champion().version.number == winner


def test_without_that_dataset_nothing_is_promoted(office: Office) -> None:
    office.register("run-1")
    office.promote()
    office.register("run-2", dataset="d2", actions=(1, 4))
    shutil.rmtree(office.folder / "run-2/data/compiled")
    done = office.promote()

    assert (done.moved, office.rated) == (False, [])
    assert "cannot be rated" in done.reason


def test_a_champion_for_other_filters_does_not_hinder(office: Office) -> None:
    office.register("run-1", filters=FILTERS[:3])
    office.promote(replace(PARAMS, filters=FILTERS[:3]))
    office.register("run-2", dataset="d2")
    done = office.promote()

    assert done.moved
    assert "knows other filters" in done.reason
    assert office.champion().version.number == 2


def test_a_challenger_that_the_night_would_refuse_is_not_promoted(office: Office) -> None:
    office.register("run-1", filters=FILTERS[:3])
    done = office.promote()

    assert (done.moved, office.looked) == (False, [])
    assert "knows the filters dns, whois, virustotal, params.yaml names others" in done.reason


@pytest.mark.parametrize(
    ("shadow", "moved"),
    [
        (Shadow(walked=9, agreed=0.5, lookups=(90, 60), samples=(40, 30)), True),
        (Shadow(walked=9, crashed=("ValueError: odd",)), False),
        (Shadow(walked=9, forbidden=("otx about a domain: it is TLP:RED",)), False),
    ],
    ids=["fine", "crashed", "forbidden"],
)
def test_who_crashes_or_asks_what_is_forbidden_in_the_shadow_of_last_night_stays_challenger(
    office: Office, shadow: Shadow, moved: bool
) -> None:
    office.shadow = shadow
    office.register("run-1")
    done = office.promote()

    assert (done.moved, office.looked) == (moved, ["threatwalk"])
    if not moved:
        assert done.reason.startswith("in the shadow of 9 walks: 1 ")


def test_the_verdict_stands_on_the_version_as_a_tag_and_as_a_table(office: Office) -> None:
    import mlflow

    office.shadow = Shadow(walked=9, agreed=0.5, lookups=(90, 60), samples=(40, 30))
    office.register("run-1")
    found = office.judge()

    raw = mlflow.MlflowClient(office.registry.uri).get_model_version("threatwalk", "1")
    assert raw.tags["verdict"] == found.reason
    assert raw.description == found.report
    assert "| best playbook: playbook | 80, as at night | 0.420 | 0.200 | +0.220 |" in found.report
    assert "| lookups | 90 | 60, 0 unknown to the archive |" in found.report


def test_nobody_is_champion_before_the_first_promotion(office: Office) -> None:
    with pytest.raises(NoChampionError, match="threatwalk promote"):
        office.champion()


def test_a_run_that_tells_only_means_cannot_be_judged(office: Office) -> None:
    folder = office.run("run-1")
    (folder / "data/evaluation/walks.parquet").unlink()
    office.registry.register(folder)

    with pytest.raises(DataError, match=r"lacks evaluation/walks\.parquet"):
        office.promote()


def test_there_must_be_a_challenger_to_promote(office: Office) -> None:
    with pytest.raises(DataError, match="no challenger"):
        office.promote()


def test_a_model_for_another_list_of_filters_is_an_error(office: Office) -> None:
    office.register("run-1")
    office.promote()

    with pytest.raises(ModelError, match=r"params\.yaml names whois, dns"):
        office.champion(("whois", "dns"))


def test_a_model_may_know_archive_only_filters_behind_the_list(office: Office) -> None:
    office.register("run-1", filters=(*FILTERS, "netblock"))
    office.promote()

    assert office.champion().version.filters == (*FILTERS, "netblock")


def test_a_file_that_was_changed_in_the_store_is_refused(office: Office) -> None:
    office.register("run-1")
    office.promote()
    (model,) = (office.folder / "mlflow").rglob("artifacts/models/*/artifacts/threatwalk.json")
    model.write_text(model.read_text().replace("1", "3"))

    with pytest.raises(ModelError, match="digest"):
        office.champion()


def test_model_show_tells_the_history_and_fails_where_the_champion_was_changed(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", office.registry.uri)
    monkeypatch.setenv("THREATWALK_HOME", str(office.folder))
    monkeypatch.delenv("THREATWALK_DATABASE", raising=False)
    office.register("run-1")
    office.promote()
    whole = CliRunner().invoke(model, ["show"])
    (file,) = (office.folder / "mlflow").rglob("artifacts/models/*/artifacts/threatwalk.json")
    file.write_text(file.read_text().replace("1", "3"))
    changed = CliRunner().invoke(model, ["show"])

    assert (whole.exit_code, whole.output) == (0, changed.output)
    assert whole.output.startswith("champion    threatwalk (version 1)\nchallenger  threatwalk (version 1)\n")
    assert isinstance(changed.exception, ModelError)


@pytest.mark.parametrize(
    ("tag", "value"), [("filters", ",".join((*FILTERS, "netblock"))), ("encoding", "another-1")]
)
def test_a_tag_that_somebody_changed_in_mlflow_is_held_against_the_files(
    office: Office, tag: str, value: str
) -> None:
    office.register("run-1")
    office.promote()
    office.registry.note(1, **{tag: value})

    with pytest.raises(ModelError, match=f"the tag {tag} .*somebody changed it"):
        office.champion()


@pytest.mark.parametrize("name", ["../../outside/evil", "/etc/passwd", "*", "..", "threatwalk*"])
def test_a_policy_whose_name_leads_elsewhere_is_refused(office: Office, name: str) -> None:
    office.register("run-1")
    office.promote()
    office.registry.note(1, policy=name)

    with pytest.raises(ModelError, match="no name of a policy"):
        office.champion()


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("MLmodel", "flavors: !!python/object/apply:os.getcwd []"),
        ("MLmodel", "[]"),
        ("threatwalk.json", "[" * 100_000),
    ],
    ids=["python", "list", "deep"],
)
def test_a_description_that_somebody_damaged_is_refused(office: Office, file: str, text: str) -> None:
    version = office.register("run-1")
    office.promote()
    [folder] = {
        path.parent for path in (office.folder / "mlflow").rglob("models/*/artifacts/threatwalk.json")
    }
    (folder / file).write_text(text)
    office.registry.note(version.number, digest=digest(folder, "threatwalk"))

    with pytest.raises(ModelError, match="damaged"):
        office.champion()


def test_a_pickle_that_somebody_made_champion_is_never_opened(office: Office, tmp_path: Path) -> None:
    import mlflow

    class Evil:
        def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
            return Path.touch, (tmp_path / "owned",)  # type: ignore[return-value]

    office.register("run-1")
    office.promote()
    folder = tmp_path / "evil"
    folder.mkdir()
    (folder / "model.pkl").write_bytes(pickle.dumps(Evil()))
    client = mlflow.MlflowClient(office.registry.uri)
    run = client.create_run(client.get_experiment_by_name("threatwalk").experiment_id)
    client.log_artifacts(run.info.run_id, str(folder), "model")
    made = client.create_model_version("threatwalk", f"runs:/{run.info.run_id}/model", run.info.run_id)
    office.registry.point(CHAMPION, int(made.version))

    with pytest.raises(ModelError, match="not registered by threatwalk"):
        office.champion()
    assert not (tmp_path / "owned").exists()
    assert office.moves()[-1] == (By.HAND, 1, 2, True)


def test_a_model_that_is_a_pickle_is_refused_by_mlflow_itself(office: Office, tmp_path: Path) -> None:
    import mlflow

    class Odd(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        def predict(self, model_input: list[str]) -> list[str]:
            return model_input

    with warnings.catch_warnings(action="ignore"):  # of what else such a model should have
        mlflow.pyfunc.save_model(tmp_path / "odd", python_model=Odd(), pip_requirements=["mlflow"])

    with pytest.raises(mlflow.exceptions.MlflowException, match="MLFLOW_ALLOW_PICKLE_DESERIALIZATION"):
        mlflow.pyfunc.load_model(str(tmp_path / "odd"))


def test_an_alias_that_a_person_moved_is_taken_and_entered_as_such(office: Office) -> None:
    office.register("run-1")
    office.promote()
    office.register("run-2", REWARDS | {"threatwalk": 0.3}, actions=(1, 4))
    office.registry.point(CHAMPION, 2)

    assert office.champion().version.number == 2
    assert office.champion().version.number == 2
    assert office.moves() == [(By.GATE, None, 1, True), (By.HAND, 1, 2, True)]


@pytest.mark.parametrize("times", [1, 3])
def test_a_tag_that_another_process_sets_at_the_same_moment_is_set_again(
    office: Office, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    from mlflow.exceptions import MlflowException

    version, client = office.register("run-1"), office.registry._client
    really, tried = client.set_model_version_tag, []

    def meets_another(*told: Any) -> None:
        tried.append(told)
        if len(tried) <= times:
            raise MlflowException("(sqlite3.IntegrityError) UNIQUE constraint failed: model_version_tags.key")
        really(*told)

    monkeypatch.setattr(client, "set_model_version_tag", meets_another)

    if times == 1:
        office.registry.note(version.number, verdict="it is better")
        assert office.registry.versions()[0].tags["verdict"] == "it is better"
    else:
        with pytest.raises(StoreError, match="UNIQUE constraint"):
            office.registry.note(version.number, verdict="it is better")


def test_rollback_makes_the_one_before_champion_again(office: Office) -> None:
    office.register("run-1")
    office.promote()
    office.register("run-2", REWARDS | {"threatwalk": 0.5}, actions=(1, 4))
    office.promote()
    started = time.monotonic()
    back = promotion.rollback(office.registry, office.ledger)

    assert back.number == office.champion().version.number == 1
    assert office.moves()[-1] == (By.ROLLBACK, 2, 1, True)
    assert time.monotonic() - started < 60
    with pytest.raises(UsageError):
        promotion.rollback(office.registry, office.ledger, 99)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("at", ["write", "point", "pointed", "close_move"])
def test_killed_at_any_point_there_is_one_champion_and_the_ledger_agrees(office: Office, at: str) -> None:
    office.register("run-1")
    office.promote()
    office.register("run-2", REWARDS | {"threatwalk": 0.5}, actions=(1, 4))

    class DyingRegistry(Registry):
        def point(self, alias: str, number: int) -> None:
            if at == "point":
                raise Killed
            super().point(alias, number)
            if at == "pointed":
                raise Killed

    class DyingLedger(Ledger):
        def write(self, **move: Any) -> int:
            if at == "write":
                raise Killed
            return super().write(**move)

        def close_move(self, id: int) -> None:  # noqa: A002
            if at == "close_move":
                raise Killed
            super().close_move(id)

    engine = database.engine(f"sqlite:///{office.folder / 'threatwalk.db'}")
    with pytest.raises(Killed):
        promotion.promote(
            DyingRegistry(office.registry.uri, office.folder),
            DyingLedger(engine),
            PARAMS,
            rate=office.rate,
            look=office.look,
        )
    left = office.registry.at(CHAMPION)
    office.promote()

    assert left is not None
    assert left.number in {1, 2}
    assert office.champion().version.number == 2
    assert [m for m in office.moves() if m[3]] == [(By.GATE, None, 1, True), (By.GATE, 1, 2, True)]


def test_an_unreachable_server_is_said_in_one_line_within_seconds(tmp_path: Path) -> None:
    registry = Registry("http://somebody:secret@127.0.0.1:9", tmp_path)
    started = time.monotonic()

    with pytest.raises(UnavailableError, match="cannot be reached") as caught:
        registry.versions()
    assert "secret" not in str(caught.value)
    assert time.monotonic() - started < 30
