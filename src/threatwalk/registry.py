"""MLflow, and the only file that imports it: training runs, and versions of the model `threatwalk`.

A version is a folder with a policy's files (JSON, and safetensors for a network; never a pickle) and an MLmodel
file of our own flavour, which MLflow shows but cannot execute. Its tags carry the digest of those
files, the filter list and the version of the encoding; the aliases are `challenger` and `champion`.
MLflow takes seconds to import, so it is imported when a registry is opened.
"""

import json
import logging
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import yaml

from threatwalk.errors import ModelError, StoreError, UnavailableError
from threatwalk.learning.finished import Finished, digest, files_of
from threatwalk.masking import without_login
from threatwalk.settings import Settings

MODEL = "threatwalk"
CHAMPION, CHALLENGER = "champion", "challenger"

_ENVIRONMENT = {  # read by MLflow itself, some of it while it is imported
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false",  # through the server, which may alone reach its store
    "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_KIND = {"mlflow.experimentKind": "custom_model_development"}  # the web page speaks of models, not agents
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3", "MLFLOW_HTTP_REQUEST_TIMEOUT": "60"}

# What MLflow's client tells of an HTTP request in words alone
_AWAY = re.compile(r"failed with (timeout )?exception")
_DENIED = re.compile(r"error code 40[13]\b|^40[13] Client Error")


@dataclass(frozen=True, slots=True)
class Version:
    """One version of the model; `reward` is its held-out reward on `dataset`, when it was registered."""

    number: int
    policy: str
    digest: str
    filters: tuple[str, ...]
    encoding: str
    dataset: str
    reward: float | None
    run_id: str
    aliases: tuple[str, ...]
    tags: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.policy} (version {self.number})"


class Registry:
    """The tracking server and model registry that MLFLOW_TRACKING_URI names; default: SQLite below home."""

    def __init__(self, uri: str, home: Path) -> None:
        os.environ.update(_ENVIRONMENT)
        for name, value in _PATIENCE.items():
            os.environ.setdefault(name, value)
        import mlflow  # noqa: PLC0415 - takes seconds

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        self.uri = uri
        self._home = home
        if uri.startswith("sqlite:///"):
            Path(uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        with self._errors():
            mlflow.set_tracking_uri(uri)
            mlflow.set_registry_uri(uri)
            self._client = mlflow.MlflowClient(uri, uri)

    @classmethod
    def open(cls, settings: Settings) -> "Registry":
        """Raises UnavailableError or StoreError where MLflow cannot be used."""
        default = f"sqlite:///{settings.home / 'mlflow' / 'mlflow.db'}"
        return cls(os.environ.get("MLFLOW_TRACKING_URI") or default, settings.home)

    def register(self, folder: Path, *, extra: Mapping[str, str] | None = None) -> Version:
        """The finished training run in `folder` (params.yaml, data/) as a run, and the challenger where none is newer.

        A repeat finds what it made before. `extra` are tags for the version.

        Raises:
            DataError: the folder holds no finished run.
        """
        made = Finished(folder)
        tags = made.tags()
        with self._errors():
            for version in self.versions():
                if version.tags.get("key") == tags["key"]:
                    return self._challenging(version)
            run_id = self._run(made, tags)
            version = self._version(
                run_id, made.candidate, made.models, {**made.facts(made.candidate), **(extra or {})}
            )
            self._client.set_terminated(run_id, "FINISHED")
            return self._challenging(version)

    def _challenging(self, version: Version) -> Version:
        """The version, as challenger where the present one is not newer: an older run that comes late changes nothing."""
        now = self.at(CHALLENGER)
        if now and now.number > version.number:
            return version
        self.point(CHALLENGER, version.number)
        return replace(version, aliases=tuple(sorted({*version.aliases, CHALLENGER})))

    def prepare(self) -> str:
        """Make the experiment and the registered model where they are not there yet: the experiment's id.

        Who registers needs no right to make them after that.
        """
        from mlflow.exceptions import MlflowException  # noqa: PLC0415

        with self._errors():
            experiment = self._experiment()
            try:
                self._client.create_registered_model(
                    MODEL, description="Policies that choose the next mapping."
                )
            except MlflowException as err:
                if err.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
        return experiment

    def also(self, of: Version, policy: str) -> Version:
        """Another policy of the run that `of` came from, as a version of its own; a repeat finds it."""
        for version in self.versions():
            if version.run_id == of.run_id and version.policy == policy:
                return version
        with self._errors(), tempfile.TemporaryDirectory() as scratch:
            models, facts = self.stored(of.run_id, policy, Path(scratch))
            return self._version(of.run_id, policy, models, {"dataset": of.dataset, **facts})

    def stored(self, run_id: str, policy: str, scratch: Path) -> tuple[Path, dict[str, str]]:
        """A policy of a training run, version or not: its folder below `scratch`, and what a version's tags would say of it.

        Raises:
            ModelError: the run does not hold it as it was logged.
        """
        models = self.artifact(run_id, "models", scratch)
        with _damage(f"MLflow's run {run_id}"):
            facts = json.loads(self.artifact(run_id, "models.json", scratch).read_text("utf-8"))[policy]
            if digest(models, policy) != facts["digest"]:
                raise ValueError(f"it does not hold the policy {policy} that it says")
        return models, facts

    def at(self, alias: str) -> Version | None:
        """The version that an alias points to, None: none does."""
        for version in self.versions():
            if alias in version.aliases:
                return version
        return None

    def versions(self) -> list[Version]:
        """All versions, the oldest first."""
        found: list[Version] = []
        token = None
        with self._errors():
            aliases = self._aliases()
            while True:
                page = self._client.search_model_versions(
                    f"name = '{MODEL}'", max_results=200, page_token=token
                )
                found += [_version_of(raw, aliases) for raw in page]
                token = page.token
                if not token:
                    return sorted(found, key=lambda version: version.number)

    def point(self, alias: str, number: int) -> None:
        with self._errors():
            _put(lambda: self._client.set_registered_model_alias(MODEL, alias, str(number)))

    def note(self, number: int, **tags: str) -> None:
        """Write tags on a version, for people who look at it in MLflow."""
        with self._errors():
            for name, value in tags.items():
                _put(partial(self._client.set_model_version_tag, MODEL, str(number), name, value[:4000]))

    def describe(self, number: int, text: str) -> None:
        """Markdown, which MLflow shows on the version's page."""
        with self._errors():
            self._client.update_model_version(MODEL, str(number), text)

    def attach(self, run_id: str, path: Path, at: str) -> None:
        """One more file for a training run, in its folder `at`."""
        with self._errors():
            self._client.log_artifact(run_id, str(path), at)

    def tag(self, run_id: str, name: str) -> str:
        """A tag of a training run, empty where it has none."""
        with self._errors():
            return str(self._client.get_run(run_id).data.tags.get(name, ""))

    def artifact(self, run_id: str, path: str, scratch: Path) -> Path:
        """A file or folder that was logged with a training run, below `scratch`.

        Raises:
            StoreError: the run has none of this name.
            UnavailableError: the server or its artefact store is away.
        """
        from mlflow.exceptions import MlflowException  # noqa: PLC0415

        with self._errors():
            try:
                return Path(self._client.download_artifacts(run_id, path, str(scratch)))
            except MlflowException:  # MLflow says of whatever failed that there is no such path
                self._client.list_artifacts(run_id)  # fails by its true name where the store is away
                raise

    def files(self, version: Version, scratch: Path) -> Path:
        """The version's files in a folder below `scratch`.

        Raises:
            ModelError: they are not the files that were registered, or say of themselves what the tags do not.
        """
        import mlflow  # noqa: PLC0415

        with self._errors():
            uri = f"models:/{MODEL}/{version.number}"
            folder = Path(
                mlflow.artifacts.download_artifacts(uri, dst_path=str(scratch), tracking_uri=self.uri)
            )
        found = digest(folder, version.policy)
        if found != version.digest:
            raise ModelError(
                f"{version} in MLflow has digest {found[:12]}, but {version.digest[:12] or 'none'} was registered; "
                "register it again or roll back"
            )
        _signed(folder, version)
        return folder

    def _aliases(self) -> dict[int, list[str]]:
        """Searches for versions leave the aliases out, so they are read from the model."""
        from mlflow.exceptions import MlflowException  # noqa: PLC0415

        try:
            model = self._client.get_registered_model(MODEL)
        except MlflowException as err:
            if err.error_code == "RESOURCE_DOES_NOT_EXIST":
                return {}
            raise
        by_number: dict[int, list[str]] = {}
        for alias, number in sorted(model.aliases.items()):
            by_number.setdefault(int(number), []).append(alias)
        return by_number

    def _run(self, made: Finished, tags: Mapping[str, str]) -> str:
        from mlflow.entities import Metric, Param, RunTag  # noqa: PLC0415

        experiment = self._experiment()
        for left in self._client.search_runs([experiment], f"tags.key = '{tags['key']}'"):
            self._give_up(left.info.run_id)  # an earlier attempt died on the way
        run_id: str = self._client.create_run(experiment, run_name=made.folder.name).info.run_id
        self._client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])
        self._dataset(run_id, tags["dataset"])
        for part in _parts([Param(name, value) for name, value in made.params()], 100):
            self._client.log_batch(run_id, params=part)
        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, step) for name, value, step in made.metrics()]
        for part in _parts(metrics, 1000):
            self._client.log_batch(run_id, metrics=part)
        for path, at in made.artifacts():
            (self._client.log_artifacts if path.is_dir() else self._client.log_artifact)(
                run_id, str(path), at
            )
        self._client.log_dict(run_id, {name: made.facts(name) for name in made.stored()}, "models.json")
        return run_id

    def _give_up(self, run_id: str) -> None:
        """A run that nobody will finish; it stays, since whoever writes runs need not be able to delete them."""
        self._client.delete_tag(run_id, "key")
        self._client.set_terminated(run_id, "FAILED")

    def _experiment(self) -> str:
        found = self._client.get_experiment_by_name(MODEL)
        if found:
            return str(found.experiment_id)
        served = self.uri.startswith(("http://", "https://"))  # then the server knows where artifacts go
        place = None if served else (self._home / "mlflow" / "artifacts").as_uri()
        return str(self._client.create_experiment(MODEL, artifact_location=place, tags=_KIND))

    def _dataset(self, run_id: str, value: str) -> None:
        from mlflow.entities import Dataset, DatasetInput  # noqa: PLC0415

        named = Dataset("compiled", value[:36], "dvc", json.dumps({"path": "data/compiled"}))
        self._client.log_inputs(run_id, datasets=[DatasetInput(named)])

    def _version(self, run_id: str, policy: str, models: Path, facts: Mapping[str, str]) -> Version:
        """A logged model with its own folder, and the next version of the registered model for it."""
        from mlflow.entities import LoggedModelOutput  # noqa: PLC0415
        from mlflow.models import Model  # noqa: PLC0415

        logged = self._client.create_logged_model(
            self.prepare(), name=policy, source_run_id=run_id, tags=dict(facts), model_type="policy"
        )
        with tempfile.TemporaryDirectory() as scratch:
            for path in files_of(models, policy):
                (Path(scratch) / path.name).write_bytes(path.read_bytes())
            described = Model(
                logged.artifact_location, run_id, model_uuid=logged.model_id, model_id=logged.model_id
            )
            described.add_flavor("threatwalk", policy=policy, **facts)
            described.save(str(Path(scratch) / "MLmodel"))
            self._client.log_model_artifacts(logged.model_id, scratch)
        self._client.finalize_logged_model(logged.model_id, "READY")
        self._client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, 0)])
        raw = self._client.create_model_version(
            MODEL,
            f"models:/{logged.model_id}",
            run_id,
            tags={"policy": policy, **facts},
            model_id=logged.model_id,
        )
        return _version_of(raw, {})

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """The one place that turns MLflow's exceptions into ours."""
        from mlflow.exceptions import MlflowException  # noqa: PLC0415

        where = without_login(self.uri)
        try:
            yield
        except (MlflowException, OSError) as err:
            text = without_login(" ".join(str(err).split()))
            if isinstance(err, OSError) and not self.uri.startswith("http"):
                raise StoreError(f"MLflow's store {where} cannot be used: {text[:300]}") from err
            if _DENIED.search(text):
                raise StoreError(
                    f"MLflow at {where} refuses: MLFLOW_TRACKING_USERNAME and its password are wrong or lack a "
                    f"right: {text[:200]}"
                ) from err
            if isinstance(err, OSError) or _AWAY.search(text) or err.error_code == "TEMPORARILY_UNAVAILABLE":
                raise UnavailableError(f"MLflow at {where} {self._what_is_away()}") from err
            raise StoreError(f"MLflow at {where}: {text[:300]}") from err

    def _what_is_away(self) -> str:
        """The server itself, or what it keeps its things in; its page `health` needs neither stores nor login."""
        try:
            up = httpx.get(f"{self.uri}/health", timeout=10).status_code == httpx.codes.OK
        except httpx.HTTPError:
            up = False
        if not up:
            return "cannot be reached: is its server up?"
        return (
            "is up, but cannot answer: does it reach its stores, of runs (MLFLOW_STORE) and of artefacts "
            "(MLFLOW_ARTIFACTS)? Its log says why"
        )


def _put(put: Callable[[], object]) -> None:
    """Set a tag or an alias; again where another process set it at the same moment, for MLflow looks first and then inserts."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    for again in (True, True, False):
        try:
            put()
        except MlflowException as err:
            if not again or "unique" not in str(err).lower():
                raise
        else:
            return


def _signed(folder: Path, version: Version) -> None:
    """Hold a version's tags, which anybody may edit in MLflow, against what its files say."""
    with _damage(f"{version} in MLflow"):
        mine = yaml.safe_load((folder / "MLmodel").read_text("utf-8")).get("flavors", {}).get("threatwalk")
        if not isinstance(mine, dict):
            raise TypeError("it has no signature of threatwalk")
        manifest = json.loads((folder / f"{version.policy}.json").read_text("utf-8"))
        written = {"filters": ",".join(manifest["filters"]), "encoding": str(manifest.get("encoding", ""))}
    tags = {"digest": version.digest, "filters": ",".join(version.filters), "encoding": version.encoding}
    for name, told in tags.items():
        for said in (str(mine.get(name, "")), written.get(name, told)):
            if said != told:
                raise ModelError(
                    f"{version} in MLflow has the tag {name} {told!r}, but its files say {said!r}: "
                    "somebody changed it; register it again or roll back"
                )


@contextmanager
def _damage(what: str) -> Iterator[None]:
    """Turn what reading a file that somebody changed may raise into one error of ours."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, yaml.YAMLError) as err:
        raise ModelError(f"{what} is damaged: {err}; register it again or roll back") from err


def _parts(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _version_of(raw: Any, aliases: Mapping[int, Sequence[str]]) -> Version:
    tags = dict(raw.tags)
    return Version(
        number=int(raw.version),
        policy=tags.get("policy", ""),
        digest=tags.get("digest", ""),
        filters=tuple(name for name in tags.get("filters", "").split(",") if name),
        encoding=tags.get("encoding", ""),
        dataset=tags.get("dataset", ""),
        reward=float(tags["reward"]) if tags.get("reward") else None,
        run_id=raw.run_id or "",
        aliases=tuple(aliases.get(int(raw.version), ())),
        tags=tags,
    )
