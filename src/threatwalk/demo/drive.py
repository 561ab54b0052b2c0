"""The main job from end to end: collect, record, retrain, promote, analyze, through Airflow's scheduler."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from threatwalk.demo.platform import DAGS, Platform, Ports, commands, platform, wait_for_interrupt
from threatwalk.demo.services import Service
from threatwalk.errors import DataError
from threatwalk.params import load, override
from threatwalk.runs import run_of
from threatwalk.settings import Settings

POLICIES = (
    "random",
    "run_everything",
    "run_everything_once",
    "best_single",
    "playbook",
    "playbook_by_kind",
    "tabular_q",
    "paper_dqn",
    "threatwalk",
    "selective",
    "oracle",
    "ceiling",
)
COLUMNS = ("reward", "precision", "recall", "f1", "lookups")


@dataclass(slots=True)
class Journal:
    """Progress lines with the seconds since the start, flushed at once."""

    started: float = field(default_factory=time.monotonic)
    console: Console = field(default_factory=lambda: Console(highlight=False, soft_wrap=True))

    def tell(self, text: str) -> None:
        self.console.print(f"[dim]\\[{self.seconds:4.0f} s][/dim] {text}", markup=True)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started


@dataclass(frozen=True, slots=True)
class Job:
    """What differs between the demo and a run on real data.

    `values` are dotted parameters that replace those of params.yaml; `env` is every process's environment;
    `start` runs before the first DAG, may add to `values`, and returns the services that it started; `queue` fills the queue, from
    the folder of the finished dataset, and returns how many indicators it queued; `finish` may score variants of
    that dataset, and returns what the summary says of them.
    """

    name: str
    home: Path
    project: Path
    values: dict[str, Any]
    env: Mapping[str, str]
    start: Callable[["Job", Journal], Sequence[Service]]
    queue: Callable[["Job", Path, Journal], int]
    finish: Callable[["Job", Path, Journal], dict[str, Any]]
    timeouts_s: Mapping[str, float]


def run_job(job: Job, ports: Ports) -> dict[str, Any]:
    """Run the five DAGs in their order and write `summary.json`; returns the summary.

    On a terminal the services stay up until Ctrl-C, after the summary has been printed.

    Raises:
        ThreatwalkError: a part of it failed; the services are stopped all the same.
    """
    ports.check()
    journal = Journal()
    (job.home / "summary.json").unlink(missing_ok=True)
    job.home.mkdir(parents=True, exist_ok=True)
    services: Sequence[Service] = ()
    try:
        services = job.start(job, journal)
        _write_params(job)
        journal.tell("starting MLflow and Airflow ...")
        with platform(job.home, ports, job.project, env=job.env, beside=services) as up:
            journal.tell(f"Airflow is up at {up.airflow.url}, MLflow at {up.mlflow_url}")
            summary = _run_dags(job, up, journal)
            summary["peak_pss_gb"] = round(up.memory.peak_bytes / 1e9, 2)
            _write(job.home / "summary.json", summary)
            _show(job, up, summary, journal)
            if sys.stdout.isatty():
                journal.tell("everything stays up; Ctrl-C stops it")
                wait_for_interrupt()
    finally:
        for service in services:
            service.stop()
    journal.tell("all services are stopped")
    if summary["analysed"] < summary["queued"]:
        raise DataError(
            f"only {summary['analysed']} of {summary['queued']} indicators were analysed: "
            f"the log of the DAG analyze, below {job.home / 'airflow' / 'logs'}, says why"
        )
    return summary


def _run_dags(job: Job, up: Platform, journal: Journal) -> dict[str, Any]:
    states: dict[str, str] = {}
    queued = 0
    folder = job.home
    earlier = set(_finished(job))  # of runs before this one
    for dag_id in DAGS[:-1]:
        up.airflow.unpause(dag_id)
    for dag_id in DAGS:
        # collect and analyze have a clock of their own; the others follow the assets of the one before
        if dag_id == "analyze":
            queued = job.queue(job, folder, journal)
            journal.tell(f"{queued} indicators are queued")
            # Not before: shortly after its hour Airflow makes up for the night that it missed, without a champion.
            up.airflow.unpause(dag_id)
        if dag_id in {"collect", "analyze"}:
            up.airflow.trigger(dag_id)
        run_id = up.airflow.follow(dag_id, timeout_s=job.timeouts_s[dag_id], tell=journal.tell)
        states[dag_id] = "success"
        if dag_id == "retrain":
            folder = run_of(Settings(job.home, "", {}), run_id).folder
    table = json.loads((folder / "data" / "evaluation" / "table.json").read_text(encoding="utf-8"))
    results = [folder for folder in _finished(job) if folder not in earlier]
    return {
        "dags": states,
        "queued": queued,
        "analysed": len(results),
        "champion": _champion(job),
        "held_out": scores(table),
        "world": table["world"],
        **job.finish(job, folder, journal),
        "bundles": [str(folder / "bundle.json") for folder in results],
        "pages": [str(folder / "report.html") for folder in results],
        "seconds": round(journal.seconds, 1),
    }


def scores(table: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """The table's rows without a budget, for the summary."""
    held_out = table["held_out"]
    return {p: {column: held_out[p][column] for column in COLUMNS} for p in POLICIES if p in held_out}


def _write_params(job: Job) -> None:
    raw = yaml.safe_load((job.project / "params.yaml").read_text(encoding="utf-8"))
    path = job.home / "params.yaml"
    path.write_text(yaml.safe_dump(override(raw, job.values), sort_keys=False), encoding="utf-8")
    load(path)


def ask(job: Job, *line: str, folder: Path | None = None) -> str:
    """What a threatwalk command prints; raises DataError with its error line where it fails."""
    argv = [str(commands() / "threatwalk"), *line]
    done = subprocess.run(  # noqa: S603 - a fixed list, no shell
        argv, cwd=folder or job.project, env=dict(job.env), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise DataError(f"`threatwalk {' '.join(line[:2])}` failed: {done.stderr.strip()[-400:]}")
    return done.stdout


def enqueue(job: Job, indicators: Path, *options: str) -> int:
    """Queue a file's indicators as TLP:CLEAR and PAP:CLEAR; returns how many. Raises what `ask` raises."""
    ask(job, "queue", "add", "--file", str(indicators), "--tlp", "clear", "--pap", "clear", *options)
    return len(indicators.read_text(encoding="utf-8").splitlines())


def _finished(job: Job) -> list[Path]:
    """Folders of the results of this job's indicators."""
    rows = [json.loads(line) for line in ask(job, "queue", "list", "--json").splitlines()]
    return [Path(row["result"]) for row in rows if row["result"]]


def _champion(job: Job) -> dict[str, Any]:
    champion: dict[str, Any] = json.loads(ask(job, "model", "show", "--json"))["champion"]
    return champion


def _write(path: Path, summary: Mapping[str, Any]) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def _show(job: Job, up: Platform, summary: Mapping[str, Any], journal: Journal) -> None:
    table = Table(title="every policy on held-out reports")
    table.add_column("policy")
    for column in COLUMNS:
        table.add_column(column, justify="right")
    for policy, row in summary["held_out"].items():
        cells = ("" if row[column] is None else f"{row[column]:.3f}" for column in COLUMNS)
        table.add_row(policy, *cells)
    console = journal.console
    console.print(table)
    for row in summary["world"]:
        bounds = (
            ""
            if row["low"] is None and row["high"] is None
            else f"  {'holds' if row['ok'] else 'does NOT hold'}"
        )
        console.print(f"  {row['row']:<24} {row['value']:.3f}{bounds}")
    console.print(f"champion: {summary['champion']['policy']} (version {summary['champion']['version']})")
    console.print(f"analysed {summary['analysed']} of {summary['queued']} queued indicators:")
    for bundle, page in zip(summary["bundles"], summary["pages"], strict=True):
        console.print(f"  {bundle}\n  {page}")
    console.print(f"Airflow: {up.airflow.url}   user admin, password {up.password}")
    console.print(f"  the desk in its side bar: {up.airflow.url}/plugin/threatwalk")
    console.print(f"MLflow:  {up.mlflow_url}")
    console.print(
        f"{summary['seconds']:.0f} s, at most {summary['peak_pss_gb']} GB; {job.home / 'summary.json'}"
    )
