"""S8: files that run code where they are loaded as a model, wherever we load one: nothing runs, each is refused by type."""

import json
import pickle
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from tests.integration.test_registry import Office, empty_store  # noqa: F401 - a fixture
from tests.trust import hostile_models
from tests.trust.conftest import Trust
from tests.unit.learning.conftest import Toys, toys  # noqa: F401 - a fixture
from tests.unit.learning.test_stored import FILTERS, policies, set_policy

from threatwalk.errors import ThreatwalkError
from threatwalk.learning import figure8, lightning, stored
from threatwalk.learning.dataset import Dataset
from threatwalk.learning.finished import digest
from threatwalk.learning.selective.exam import Beliefs
from threatwalk.learning.selective.net import SelectiveNet
from threatwalk.learning.selective.policy import SelectivePolicy
from threatwalk.learning.selective.walking import Manner

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # MLflow's own warnings

PROPERTY = "model files run nothing"
FIGURE = "0 executed; each refused by type; only safetensors plus JSON are loaded, digest checked"

_unpickled: list[str] = []
_hooked: list[bool] = []


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if event == "pickle.find_class":
        _unpickled.append(".".join(map(str, args)))


@contextmanager
def watched() -> Iterator[list[str]]:
    """What is looked up for a pickle meanwhile."""
    if not _hooked:
        sys.addaudithook(_hook)  # it stays for as long as the process does
        _hooked.append(True)
    _unpickled.clear()
    yield _unpickled


class Case:
    """What was tried: how many were refused by type, and what went wrong."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.refused = 0
        self.wrong: dict[str, object] = {}

    def __call__(self, what: str, load: Callable[..., object], *args: object) -> None:
        with watched() as unpickled:
            try:
                load(*args)
                self.wrong[what] = "was loaded"
            except ThreatwalkError:
                self.refused += 1
            except Exception as err:  # noqa: BLE001 - nothing else may be raised
                self.wrong[what] = repr(err)[:300]
            if unpickled:
                self.wrong[f"{what}, unpickled"] = unpickled[:3]
        if self.marker.exists():
            self.wrong[f"{what}, executed"] = True
            self.marker.unlink()

    @property
    def marker(self) -> Path:
        """The file that a payload makes where it runs."""
        return self.folder / "owned"

    def say(self, trust: Trust, part: str) -> None:
        executed = sum(one.endswith(("executed", "unpickled")) for one in self.wrong)
        value = f"{executed} executed, {self.refused} refused by type, {len(self.wrong)} wrong"
        trust.record("S8", PROPERTY, value=value, figure=FIGURE, ok=not self.wrong, part=part)
        assert not self.wrong


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


def selective() -> SelectivePolicy:
    torch.manual_seed(1)
    net = SelectiveNet(words=40, filters=3, embedding=4, width=8, dropout=0.0).eval()
    known = set_policy()
    return SelectivePolicy((net,), known.vocabulary, known.accepts, Manner(0.1, 0.5))


def networks() -> list[stored.Storable]:
    return [selective(), *(one for one in policies() if hasattr(one, "write_network"))]


def payloads(trust: Trust, at: Path, *, every: int = 1) -> dict[str, bytes]:
    made = {**hostile_models.running(), **hostile_models.looking()}
    chosen = list(made.items())[:: 1 if trust.full else every]
    return {name: write(at) for name, write in chosen}


def _altered(path: Path, **values: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **values}), encoding="utf-8")


def test_weights_run_nothing(trust: Trust, case: Case) -> None:
    """In the place of the weights of each form, with the digest of the manifest and without; beside them by other names."""
    made = payloads(trust, case.marker, every=2)
    for policy in networks():
        folder = case.folder / policy.name
        stored.save(policy, folder, filters=FILTERS)
        weights, manifest = folder / f"{policy.name}.safetensors", folder / f"{policy.name}.json"
        for name, payload in made.items():
            weights.write_bytes(payload)
            case(f"{policy.name}, {name}, by another digest", stored.load, folder, policy.name)
            _altered(manifest, digest=stored.sha256(weights))
            case(f"{policy.name}, {name}", stored.load, folder, policy.name)
            weights.unlink()
            for suffix in ("pt2", "pt", "ckpt", "pkl", "joblib", "npz"):
                (folder / f"{policy.name}.{suffix}").write_bytes(payload)
            case(f"{policy.name}, {name}, by another name", stored.load, folder, policy.name)
    case.say(trust, "weights")


def test_other_weights_are_refused(trust: Trust, case: Case) -> None:
    """Weights of a proper file that are not the network's: too few, too many, others, of another size or type."""
    from safetensors.torch import load_file, save_file

    for policy in networks():
        stored.save(policy, case.folder, filters=FILTERS)
        weights, manifest = case.folder / f"{policy.name}.safetensors", case.folder / f"{policy.name}.json"
        good = load_file(weights)
        first = next(iter(good))
        changes = {
            "fewer": {name: tensor for name, tensor in good.items() if name != first},
            "more": {**good, "../../owned": torch.zeros(1)},
            "longer": {**good, first: torch.zeros(good[first].numel() + 1)},
            "double": {name: tensor.double() for name, tensor in good.items()},
            "whole": {name: tensor.long() for name, tensor in good.items()},
            "none": {},
        }
        for name, changed in changes.items():
            save_file(changed, weights)
            _altered(manifest, digest=stored.sha256(weights))
            case(f"{policy.name}, {name}", stored.load, case.folder, policy.name)
    case.say(trust, "weights of another network")


def test_manifests_lead_nowhere(trust: Trust, case: Case) -> None:
    outside = case.folder / "outside"
    for policy in networks():
        folder = case.folder / "models" / policy.name
        stored.save(policy, folder, filters=FILTERS)
        stored.save(replace(policy, name="evil"), outside, filters=FILTERS)  # type: ignore[type-var]
        good = json.loads((folder / f"{policy.name}.json").read_text("utf-8"))
        weights = (folder / f"{policy.name}.safetensors").read_bytes()
        fit = {"policy", "filters", "form", *good}
        for what, name, text in hostile_models.manifests(good | {"policy": "evil"}):
            if what.partition(" is ")[0] not in fit and " is " in what:
                continue  # of another form
            (folder / "evil.safetensors").write_bytes(weights)
            (folder / "evil.json").write_text(text, encoding="utf-8")
            case(f"{policy.name}, {what}", stored.load, folder, name)
    case.say(trust, "manifests")


class _Still(lightning.Practised):
    def configure_optimizers(self) -> None:  # type: ignore[override]
        return None

    def training_step(self, *_: object) -> None:  # type: ignore[override]
        return None


def test_what_is_gone_on_from_runs_nothing(trust: Trust, case: Case, toys: Toys) -> None:  # noqa: F811
    """Checkpoints of training, and what figure 8, exam and dataset keep."""
    data = toys.looks(8)
    aside = case.folder / "aside.ckpt"
    runs, arrays = case.folder / "runs", case.folder / "compiled"
    runs.mkdir()
    toys.write(data, arrays)
    assert Dataset.load(arrays).filters == data.filters
    whole = {name: (arrays / name).read_bytes() for name in ("kind.npy", "samples.parquet", "meta.json")}
    trainer = lightning.trainer(toys.params.train, alone=True)
    for name, payload in payloads(trust, case.marker, every=3).items():
        aside.write_bytes(payload)
        case(f"{name}, checkpoint", lambda: lightning.fit(trainer, _Still(1), [], aside=aside))
        for agent in figure8.AGENTS:
            (runs / f"{agent}.npz").write_bytes(payload)
            case(
                f"{name}, {agent}",
                lambda agent=agent: figure8.run(agent, data, toys.params, runs, episodes=1, say=_quiet),  # type: ignore[misc]
            )
        (case.folder / "beliefs.npz").write_bytes(payload)
        case(f"{name}, beliefs", lambda: Beliefs.load(case.folder / "beliefs.npz"))
        for part, content in whole.items():
            (arrays / part).write_bytes(payload)
            case(f"{name}, {part}", lambda: Dataset.load(arrays))
            (arrays / part).write_bytes(content)
    case.say(trust, "checkpoints and arrays")


def _quiet(_: str) -> None:
    return None


def test_the_registry_loads_nothing_that_runs(
    trust: Trust, case: Case, request: pytest.FixtureRequest
) -> None:
    """Somebody may write whatever they like into MLflow and its store, tags and digests among it."""
    office = Office.founded(case.folder / "office", request.getfixturevalue("empty_store"))
    office.register("run-1")
    office.promote()
    [folder] = {
        path.parent
        for path in (case.folder / "office/mlflow").rglob("artifacts/models/*/artifacts/threatwalk.json")
    }
    shutil.copytree(folder, case.folder / "whole")
    evil = (office.folder / "outside").absolute()
    stored.save(replace(set_policy(), name="evil"), evil, filters=office.champion().version.filters)

    for what, change in _changes(trust, case, evil).items():
        shutil.rmtree(folder)
        shutil.copytree(case.folder / "whole", folder)
        tags = change(folder)
        name = tags.get("policy", "threatwalk")
        with suppress(ThreatwalkError, ValueError, OSError, NotImplementedError):
            tags = {"digest": digest(folder, name), **tags}
        model = folder / "MLmodel"
        with suppress(yaml.YAMLError, AttributeError, TypeError, OSError, KeyError, RecursionError):
            table = yaml.safe_load(model.read_text("utf-8"))
            table["flavors"]["threatwalk"].update(tags)
            model.write_text(yaml.safe_dump(table), encoding="utf-8")
        office.registry.note(1, **{"policy": "threatwalk", **tags})
        case(what, office.champion)
    case.say(trust, "the registry")


def _changes(trust: Trust, case: Case, evil: Path) -> dict[str, Callable[[Path], dict[str, str]]]:
    """What is done to a version's files -> its new tags."""

    def weights(payload: bytes) -> Callable[[Path], dict[str, str]]:
        def change(folder: Path) -> dict[str, str]:
            path = folder / "threatwalk.safetensors"
            path.write_bytes(payload)
            _altered(folder / "threatwalk.json", form="set_network", digest=stored.sha256(path))
            return {}

        return change

    def loader(folder: Path) -> dict[str, str]:
        """A flavour that runs what lies in the version."""
        (folder / "code").mkdir()
        (folder / "code/evil.py").write_text(f"open({str(case.marker)!r}, 'w').close()\n")
        (folder / "python_model.pkl").write_bytes(hostile_models.running()["pickle 5, mknod"](case.marker))
        table = yaml.safe_load((folder / "MLmodel").read_text("utf-8"))
        table["flavors"] = {
            "python_function": {"loader_module": "evil", "code": "code", "python_model": "python_model.pkl"}
        }
        (folder / "MLmodel").write_text(yaml.safe_dump(table))
        return {}

    def written(name: str, text: str) -> Callable[[Path], dict[str, str]]:
        def change(folder: Path) -> dict[str, str]:
            (folder / name).write_text(text, encoding="utf-8")
            return {}

        return change

    def away(name: str) -> Callable[[Path], dict[str, str]]:
        return lambda folder: {"policy": name, "digest": digest(evil, "evil")}

    def gone(name: str) -> Callable[[Path], dict[str, str]]:
        def change(folder: Path) -> dict[str, str]:
            (folder / name).unlink()
            return {}

        return change

    names = [
        str(evil / "evil"),
        "../../../../../outside/evil",
        "..",
        "*",
        "",
        "threatwalk*",
        "a/../threatwalk",
        "-rf",
    ]
    return {
        **{name: weights(payload) for name, payload in payloads(trust, case.marker, every=8).items()},
        **{f"a policy called {name}": away(name) for name in names},
        "a loader of Python": loader,
        "an MLmodel that runs": written("MLmodel", f"flavors: !!python/object/apply:os.system ['touch {case.marker}']\n"),
        "an MLmodel that is a list": written("MLmodel", "[]\n"),
        "an MLmodel that is text": written("MLmodel", "flavors: {threatwalk: text}\n"),
        "a deep MLmodel": written("MLmodel", "[" * 5000),
        "a deep manifest": written("threatwalk.json", "[" * 200_000),
        "a manifest that is a list": written("threatwalk.json", "[]"),
        "no MLmodel": gone("MLmodel"),
        "no manifest": gone("threatwalk.json"),
        "another digest": lambda folder: {"digest": "0" * 64},
        "no digest": lambda folder: {"digest": ""},
    }  # fmt: skip


def test_the_payloads_would_run(tmp_path: Path) -> None:
    """Each makes its file where it is loaded as it was meant: what is refused above is no harmless text."""
    marker, live = tmp_path / "owned", []
    made = hostile_models.running()
    for name, write in made.items():
        path = tmp_path / "payload.pt2"
        path.write_bytes(write(marker))
        for load in (
            lambda path=path: pickle.loads(path.read_bytes()),
            lambda path=path: torch.load(path, weights_only=False),
            lambda path=path: torch.export.load(path),
            lambda path=path: [*np.load(path, allow_pickle=True).values()],
            lambda path=path: np.load(path, allow_pickle=True)[0],
        ):
            with warnings.catch_warnings(action="ignore"), suppress(Exception):
                load()  # type: ignore[no-untyped-call]
        if marker.exists():
            live.append(name)
            marker.unlink()

    assert live == list(made)
