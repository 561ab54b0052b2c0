"""R12: the disk is full, the object store is away, an artefact is cut: nothing partial under its final name, a clear error."""

import os
import random
import resource
import shutil
import signal
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.trust.archived import fill
from tests.trust.conftest import Trust

from threatwalk.analysis.analysis import Analysis, Stopped
from threatwalk.archive.snapshot import snapshot
from threatwalk.archive.store import Archive
from threatwalk.desk import dataset, result
from threatwalk.desk.queue import Indicator, State, Wanted
from threatwalk.errors import ModelError, ThreatwalkError, UnavailableError
from threatwalk.learning import stored
from threatwalk.learning.baselines import Playbook
from threatwalk.reports.report import Pap, Tlp
from threatwalk.sample import Kind, Sample
from threatwalk.settings import Settings

PROPERTY = "disk full, object store away, truncated artefact"
FIGURE = "fault injection: nothing partial is readable under its final name; a clear error"


NAME = Sample(Kind.DOMAIN, "evil.example.org")
MOMENT = datetime(2026, 5, 1, tzinfo=UTC)


def publish(folder: Path) -> Callable[[], object]:
    """A result folder."""
    analysis = Analysis(NAME, "p", (), (NAME,), Stopped.POLICY, Tlp.CLEAR, Pap.CLEAR, MOMENT, MOMENT)
    indicator = Indicator(1, Wanted(NAME), State.LEASED, 1, MOMENT)
    return lambda: result.publish(folder / "out", indicator, analysis, author="t")


def write_snapshot(folder: Path) -> Callable[[], object]:
    """A snapshot of the archive and reports that lie in `folder`; SQLite's own files are there before the disk is full."""
    archive = Archive.open(f"sqlite:///{folder / 'threatwalk.db'}")
    archive.counts()
    return lambda: snapshot(archive, {}, folder, folder / "out", 1000)


WRITES = {"result": publish, "snapshot": write_snapshot}


def write(what: str, folder: Path, limit: int) -> str:
    """What a process says whose disk is full after `limit` bytes of a file: `done`, or its error."""
    says, tells = os.pipe()
    child = os.fork()
    if child == 0:
        said = "done"
        try:
            writing = WRITES[what](folder)
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that a write beyond the limit is an error
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            writing()
        except ThreatwalkError as err:
            said = f"{type(err).__name__}: {err}"
        except BaseException as err:  # noqa: BLE001 - the parent judges it
            said = f"uncaught {err!r}"
        os.write(tells, said.encode()[:4000])
        os._exit(0)
    os.close(tells)
    with os.fdopen(says) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


def visible(folder: Path) -> dict[str, int]:
    """Files under their final names: what begins with a dot or ends in .part is none."""
    if not folder.exists():
        return {}
    return {
        str(path.relative_to(folder)): path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }


@pytest.mark.timeout(590)
@pytest.mark.parametrize("what", ["result", "snapshot"])
def test_a_full_disk_leaves_nothing_partial(trust: Trust, tmp_path: Path, what: str) -> None:
    fill(tmp_path, 40)
    (tmp_path / "reports/inbox").mkdir(parents=True)
    (tmp_path / "reports/inbox/one.txt").write_text("x" * 9000)
    for left in tmp_path.glob("threatwalk.db-*"):
        assert left.stat().st_size == 0, "the archive is closed: its log is in the database"
    assert write(what, tmp_path, 2**30) == "done"
    whole = visible(tmp_path / "out")
    sizes = [max(whole.values()) * i // (21 if trust.full else 3) for i in range(1, 21 if trust.full else 3)]
    partial, unclear, again = 0, 0, 0

    for size in sizes:
        shutil.rmtree(tmp_path / "out")
        said = write(what, tmp_path, size)
        partial += bool(visible(tmp_path / "out"))
        unclear += not (said.startswith("StoreError: ") and "File too large" in said)
        again += write(what, tmp_path, 2**30) == "done" and visible(tmp_path / "out") == whole

    ok = partial == unclear == 0 and again == len(sizes)
    value = f"full at {len(sizes)} sizes: {partial} times something partial, {unclear} unclear errors, {again} whole at the next try"
    trust.record("R12", PROPERTY, value=value, figure=FIGURE, ok=ok, part=what)
    assert ok, said


def test_a_cut_or_changed_model_is_refused(trust: Trust, tmp_path: Path) -> None:
    path = stored.save(Playbook("playbook", (1, 2)), tmp_path, filters=("dns", "otx"))
    text = path.read_bytes()
    cuts = random.Random(12).sample(range(len(text.rstrip())), 20)
    refused = 0
    for cut in cuts:
        path.write_bytes(text[:cut])
        try:
            stored.load(tmp_path, "playbook")
        except ModelError:
            refused += 1

    ok = refused == len(cuts)
    trust.record(
        "R12", PROPERTY, value=f"{refused} of {len(cuts)} refused", figure=FIGURE, ok=ok, part="cut model"
    )
    assert ok


def test_an_object_store_that_is_away_is_said(
    trust: Trust, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    place = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
    place |= {"AWS_MAX_ATTEMPTS": "1", "NO_PROXY": "127.0.0.1", "THREATWALK_DVC_REMOTE": "s3://bucket/prefix"}
    place["THREATWALK_S3_ENDPOINT"] = f"http://127.0.0.1:{port}"
    for name, value in place.items():
        monkeypatch.setenv(name, value)
    made = dataset.Published("dataset-1", "c" * 40, "d" * 64, f"{'1' * 32}.dir", {})

    with pytest.raises(UnavailableError, match="s3://bucket/prefix cannot be reached") as caught:
        dataset.documents(made, Settings(tmp_path, "", {}))

    trust.record(
        "R12",
        PROPERTY,
        value=str(caught.value)[:90],
        figure=FIGURE,
        ok=not any(tmp_path.iterdir()),
        part="S3 away",
    )
