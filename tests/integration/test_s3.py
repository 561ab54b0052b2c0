"""S3 over HTTP: feeds and inboxes from it, datasets to it and from it, large objects in parts, and faults on the way.

The store is moto's server, behind a proxy that resets, refuses, cuts and changes.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from boto3.s3.transfer import TransferConfig
from tests.integration.faulty_proxy import Fault, FaultyProxy
from tests.integration.test_runs import git, project  # noqa: F401

from threatwalk import runs
from threatwalk.desk import dataset
from threatwalk.errors import DataError, UnavailableError
from threatwalk.params import Feed, Form
from threatwalk.reports.feed import sync
from threatwalk.reports.kept import Synced
from threatwalk.settings import Settings

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
]  # of moto's

LINES = b"A note\n\nevil[.]example\n203.0.113.7\n"
LARGE = LINES + b"x" * (9 * 2**20)  # a text in two parts


@pytest.fixture
def proxy(s3: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """Between us and the store; the client `s3` itself goes straight to it."""
    host, _, port = s3.meta.endpoint_url.removeprefix("http://").partition(":")
    made = FaultyProxy(host, int(port))
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", made.url)
    monkeypatch.setenv("AWS_ENDPOINT_URL", made.url)
    monkeypatch.setenv("THREATWALK_S3_ENDPOINT", made.url)
    yield made
    made.close()


@pytest.fixture
def inbox(s3: Any) -> str:
    s3.create_bucket(Bucket="inbox")
    for name in ("a.txt", "b.txt"):
        s3.put_object(
            Bucket="inbox", Key=f"in/{name}", Body=LINES + name.encode(), ChecksumAlgorithm="SHA256"
        )
    return "s3://inbox/in"


async def collected(url: str, folder: Path) -> Synced:
    feed = Feed("inbox", Form.FOLDER, url, "clear")
    return await sync(feed, reports=folder / "r", quarantined=folder / "q")


def kept(folder: Path) -> dict[str, bytes]:
    found = (path for path in (folder / "r/inbox").rglob("*") if path.name[0] != ".")
    return {path.name: path.read_bytes() for path in found if path.is_file()}


@pytest.mark.parametrize("fault", [Fault.RESET, Fault.BUSY])
async def test_a_store_that_stumbles_is_asked_again_at_once(
    proxy: FaultyProxy, inbox: str, tmp_path: Path, fault: Fault
) -> None:
    proxy.faults += [("list-type", fault), ("a.txt", fault), ("a.txt", fault)]

    done = await collected(inbox, tmp_path)

    assert (done.fetched, done.failed) == (2, {})
    assert proxy.faults == []


@pytest.mark.parametrize("fault", [Fault.CUT, Fault.CHANGED])
async def test_a_body_that_is_cut_or_changed_is_no_document_and_is_fetched_the_next_time(
    proxy: FaultyProxy, inbox: str, tmp_path: Path, fault: Fault
) -> None:
    proxy.faults += [("a.txt", fault)]

    first = await collected(inbox, tmp_path)

    assert (first.fetched, list(first.failed)) == (1, ["a.txt"])
    assert kept(tmp_path) == {"b.txt": LINES + b"b.txt"}

    again = await collected(inbox, tmp_path)

    assert (again.fetched, again.failed) == (1, {})
    assert kept(tmp_path)["a.txt"] == LINES + b"a.txt"


async def test_a_store_that_stays_away_is_said(
    proxy: FaultyProxy, inbox: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    proxy.faults += [("list-type", Fault.BUSY)] * 2

    with pytest.raises(UnavailableError, match=f"{inbox}.*503"):
        await collected(inbox, tmp_path)


@pytest.mark.parametrize("fault", [None, Fault.CUT])
async def test_a_large_document_comes_whole_out_of_its_parts(
    s3: Any, proxy: FaultyProxy, inbox: str, tmp_path: Path, fault: Fault | None
) -> None:
    (tmp_path / "large.txt").write_bytes(LARGE)
    parts = TransferConfig(multipart_threshold=5 * 2**20, multipart_chunksize=5 * 2**20)
    s3.upload_file(tmp_path / "large.txt", "inbox", "in/large.txt", Config=parts)
    assert s3.head_object(Bucket="inbox", Key="in/large.txt")["ETag"].endswith('-2"')
    proxy.faults += [("large.txt", fault)] if fault else []

    done = await collected(inbox, tmp_path)

    assert list(done.failed) == (["large.txt"] if fault else [])
    assert kept(tmp_path).get("large.txt") == (None if fault else LARGE)


def test_a_tagged_dataset_goes_to_the_store_and_comes_back_into_a_clean_clone(
    s3: Any,
    proxy: FaultyProxy,
    project: Path,  # noqa: F811
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    s3.create_bucket(Bucket="datasets")
    monkeypatch.setenv("THREATWALK_DVC_REMOTE", "s3://datasets/of/ours")
    (home / "reports/inbox").mkdir(parents=True)
    (home / "reports/inbox/note.txt").write_bytes(LARGE)
    settings, clone = Settings.from_env(), tmp_path / "clone"
    run = runs.run_of(settings, "night 1")
    runs.open_run(run, settings, project=project, params=project / "params.yaml", values={})
    runs.call(["dvc", "repro", "--quiet"], run.folder)
    proxy.faults += [("PUT ", Fault.RESET), ("PUT ", Fault.BUSY)]
    runs.publish(run, project=project)
    for ours in (home / "dvc", run.folder):
        shutil.rmtree(ours)  # from here on the store alone has the data

    git(tmp_path, "clone", "--quiet", "--branch", run.tag, str(project), str(clone))
    runs.call(["dvc", "remote", "add", "--local", "--default", "store", "s3://datasets/of/ours"], clone)
    runs.call(["dvc", "remote", "modify", "--local", "store", "endpointurl", proxy.url], clone)
    proxy.faults += [("GET ", Fault.RESET), ("GET ", Fault.BUSY)]
    runs.call(["dvc", "pull", "--quiet"], clone)

    assert proxy.faults == []
    assert (clone / "data/snapshot/reports/inbox/note.txt").read_bytes() == LARGE
    assert [(clone / f"data/{name}/made.txt").read_text() for name in runs.STAGES] == [
        f"{name}\n" for name in runs.STAGES
    ]

    tracked = yaml.safe_load((clone / "data/snapshot.dvc").read_text())["outs"][0]["md5"]
    made = dataset.Published(run.tag, "c" * 40, "d" * 64, tracked, {})
    proxy.faults += [("GET ", Fault.CUT), ("GET ", Fault.CHANGED)]

    with pytest.raises(UnavailableError, match="s3://datasets/of/ours cannot be reached"):
        dataset.documents(made, settings)
    with pytest.raises((UnavailableError, DataError)):
        dataset.documents(made, settings)
    assert dataset.documents(made, settings)["reports"] == {"inbox": 1}
