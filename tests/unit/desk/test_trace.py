"""From an analysis to the sources: a chain that holds, and each link that may be missing."""

import hashlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from threatwalk.analysis.analysis import Analysis, Question, Step, Stopped
from threatwalk.archive import database
from threatwalk.archive.ledger import By, Ledger
from threatwalk.archive.store import Archive
from threatwalk.desk import result
from threatwalk.desk.queue import Queue, Wanted
from threatwalk.desk.trace import Rooms, trace
from threatwalk.errors import DataError, UsageError
from threatwalk.learning.finished import digest_of
from threatwalk.pivot import Answer, Outcome
from threatwalk.registry import Version
from threatwalk.reports.report import Pap, Tlp
from threatwalk.sample import Kind, Sample
from threatwalk.settings import Settings

NOON = datetime(2026, 5, 1, 12, 0, 0, 7, tzinfo=UTC)
NAME = Sample(Kind.DOMAIN, "evil.example")
DIGEST = "ab" * 32


@dataclass
class Registered:
    """What MLflow says of the versions and of the run that made them."""

    tags: dict[str, str]
    known: list[Version] = field(default_factory=list)

    def versions(self) -> list[Version]:
        return self.known

    def tag(self, _run_id: str, name: str) -> str:
        return self.tags.get(name, "")


class Office:
    """An installation in which everything happened once: collected, published, registered, promoted, analysed."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings.from_env()
        self.repository = folder / "project"
        self.listing = json.dumps(
            [
                {"md5": "1" * 32, "relpath": path}
                for path in ("answers/dns.parquet", "reports/circl/1.json", "reports/in/2", "reports/in/3")
            ]
        ).encode()
        self.commit(f"{hashlib.md5(self.listing).hexdigest()}.dir")
        engine = database.engine(self.settings.database)
        self.queue, self.archive, self.ledger = Queue(engine), Archive(engine), Ledger(engine)
        facts: dict[str, Any] = {
            "policy": "selective",
            "digest": DIGEST,
            "filters": ("dns",),
            "encoding": "1",
        }
        rest: dict[str, Any] = {"dataset": "d1", "reward": 0.5, "run_id": "r1", "aliases": (), "tags": {}}
        self.registry = Registered(self.tags, [Version(number=3, **facts, **rest)])
        self.ledger.write(who="a", by=By.GATE, from_version=None, to_version=3, policy="selective", reason="better", done=True)  # fmt: skip
        self.archive.put("dns", NAME, raw="{}", outcome=Outcome.EMPTY, asked_at=NOON)
        asked = (
            Question("dns", NAME, Answer(Outcome.EMPTY, asked_at=NOON)),
            Question("otx", NAME, Answer(Outcome.NOT_ASKED, reason="no key")),
        )
        self.analysis = Analysis(
            NAME, "selective", (Step(1, ("dns",), asked, ()),), (NAME,), Stopped.NOTHING_NEW, Tlp.CLEAR, Pap.CLEAR,
            datetime.now(UTC), datetime.now(UTC), model=f"version 3, sha256 {DIGEST[:16]}",
        )  # fmt: skip
        self.number = self.analysed(self.analysis)

    def commit(self, snapshot: str, *, compiled: str | None = None) -> None:
        """A dataset of this snapshot on the branch, as `run publish` makes one."""
        files = {
            "dvc.lock": {"stages": {"compile": {"deps": [{"path": "data/snapshot", "md5": compiled or snapshot}]}}},
            "data/snapshot.dvc": {"outs": [{"path": "snapshot", "md5": snapshot}]},
            "params.yaml": {"feeds": [{"name": "circl", "form": "misp", "url": "https://circl.example/", "tlp": "clear"}]},
        }  # fmt: skip
        for path, content in files.items():
            (self.repository / path).parent.mkdir(parents=True, exist_ok=True)
            (self.repository / path).write_text(yaml.safe_dump(content))
        self.git("init", "--quiet")
        self.git("add", ".")
        self.git("-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "--quiet", "-m", "Dataset")
        self.git("tag", "--force", "dataset-one")
        self.tags = {
            "git_commit": self.git("rev-parse", "HEAD"),
            "dvc_lock": digest_of([self.repository / "dvc.lock"]),
        }
        place = self.settings.home / "dvc/remote/files/md5" / snapshot[:2]
        place.mkdir(parents=True, exist_ok=True)
        self.stored = place / snapshot[2:]
        self.stored.write_bytes(self.listing)

    def git(self, *line: str) -> str:
        done = subprocess.run(["git", *line], cwd=self.repository, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def analysed(self, analysis: Analysis) -> int:
        self.queue.add([Wanted(analysis.trailhead)])
        (indicator,) = self.queue.claim(1, "w", 60)
        folder = result.publish(self.settings.results, indicator, analysis, author="a")
        self.queue.finish(indicator.id, "w", run="night 1", result=str(folder))
        return indicator.id

    def other(self, **changes: Any) -> int:
        return self.analysed(replace(self.analysis, **changes))

    def trace(self, number: int | None = None) -> dict[str, Any]:
        rooms = Rooms(
            self.queue, self.archive, self.registry, self.ledger, self.settings, str(self.repository)
        )
        return {link.name: link.facts for link in trace(number or self.number, rooms)}

    def breaks(self, link: str, why: str, number: int | None = None) -> None:
        with pytest.raises(
            DataError, match=f"analysis {number or self.number} breaks at its {link}: .*{why}"
        ):
            self.trace(number)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Office(tmp_path)
    yield made
    made.queue.close()


def test_the_chain_leads_from_an_analysis_to_its_sources(office: Office) -> None:
    chain = office.trace()

    assert list(chain) == ["analysis", "model", "dataset", "reports", "answers", "sources"]
    assert (chain["analysis"]["trailhead"], chain["analysis"]["run"]) == (str(NAME), "night 1")
    assert (chain["model"]["version"], chain["model"]["promoted"]["by"]) == (3, "gate")
    assert (chain["dataset"]["tag"], chain["dataset"]["commit"]) == ("dataset-one", office.tags["git_commit"])
    assert [(one["feed"], one["documents"], one["url"]) for one in chain["reports"]] == [
        ("circl", 1, "https://circl.example/"),
        ("in", 2, "put into reports/ by hand"),
    ]
    assert [one["filter"] for one in chain["answers"]] == ["dns"]
    assert [(one["name"], one["answers"]) for one in chain["sources"]] == [("dns", 1)]


def test_what_was_not_analysed_has_no_chain(office: Office) -> None:
    (waiting,) = office.queue.add([Wanted(NAME)])

    with pytest.raises(UsageError, match="no analysis 99: nothing was queued"):
        office.trace(99)
    with pytest.raises(UsageError, match="it is queued"):
        office.trace(waiting)


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (None, "a policy, which is no version in MLflow"),
        ("a/folder, sha256 0123456789abcdef", "no version in MLflow"),
        (f"version 7, sha256 {DIGEST[:16]}", "MLflow has no version 7"),
        (f"version 3, sha256 {'0' * 16}", "the result names 0000"),
    ],
    ids=["none", "a stored policy", "an unknown version", "another digest"],
)
def test_a_model_that_is_not_in_mlflow_breaks_it(office: Office, model: str | None, why: str) -> None:
    office.breaks("model", why, office.other(model=model))


def test_a_run_without_a_commit_breaks_it(office: Office) -> None:
    del office.tags["git_commit"]

    office.breaks("dataset", "names no commit")


def test_a_dataset_that_is_not_published_breaks_it(office: Office) -> None:
    office.git("tag", "--delete", "dataset-one")

    office.breaks("dataset", "has no tag")


def test_another_lock_than_the_model_learned_from_breaks_it(office: Office) -> None:
    office.tags["dvc_lock"] = "0" * 64

    office.breaks("dataset", "the model learned from 0000")


def test_a_snapshot_that_was_not_compiled_breaks_it(office: Office) -> None:
    office.commit(f"{'1' * 32}.dir", compiled=f"{'2' * 32}.dir")
    office.registry.tags = office.tags

    office.breaks("dataset", "dvc.lock compiled the snapshot 2222")


def test_a_list_of_documents_that_is_damaged_or_gone_breaks_it(office: Office) -> None:
    office.stored.write_bytes(office.listing.replace(b"circl", b"other"))
    office.breaks("reports and answers", "is damaged")
    office.stored.unlink()

    office.breaks("reports and answers", "neither DVC's cache nor")


def test_an_answer_that_the_archive_lacks_breaks_it(office: Office) -> None:
    earlier = Question("dns", NAME, Answer(Outcome.EMPTY, asked_at=datetime(2026, 1, 1, tzinfo=UTC)))

    office.breaks(
        "sources", "lacks the answer of dns about", office.other(steps=(Step(1, ("dns",), (earlier,), ()),))
    )


def test_a_result_that_is_gone_breaks_it(office: Office) -> None:
    (result.folder_of(office.settings.results, office.queue.list()[0]) / result.ANALYSIS).unlink()

    office.breaks("result", "cannot be read")
