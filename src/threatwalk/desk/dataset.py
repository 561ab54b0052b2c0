"""A published dataset, read back: its tag, what DVC recorded of it, and the documents that it was made of."""

import hashlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from threatwalk import runs
from threatwalk.errors import DataError, StoreError, UnavailableError
from threatwalk.learning.finished import digest_of
from threatwalk.settings import Settings

_SNAPSHOT = "data/snapshot"
_FILES = ("dvc.lock", "params.yaml", f"{_SNAPSHOT}.dvc")


@dataclass(frozen=True, slots=True)
class Published:
    """One dataset on the branch `datasets`. `snapshot` is DVC's name of the folder of reports and answers."""

    tag: str
    commit: str
    lock: str  # digest of dvc.lock
    snapshot: str
    feeds: Mapping[str, Mapping[str, str]]  # name -> form and url, as its parameters say

    def __str__(self) -> str:
        return f"{self.tag}, commit {self.commit[:12]}"


def published(commit: str, lock: str, remote: str) -> Published:
    """The dataset at `commit` of the repository `remote`, whose dvc.lock has the digest `lock`.

    Raises:
        DataError: it is not there, or its files do not belong together; the text says which.
    """
    lines = runs.output(["git", "ls-remote", "--tags", remote, "refs/tags/dataset-*"], Path.cwd())
    tags = dict(line.split("\t") for line in lines.splitlines())
    if commit not in tags:
        raise DataError(f"{remote} has no tag dataset-... at commit {commit[:12]}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        runs.output(["git", "init", "--quiet"], folder)
        runs.output(["git", "fetch", "--quiet", "--no-tags", "--depth=1", remote, tags[commit]], folder)
        runs.output(["git", "checkout", "--quiet", "FETCH_HEAD", "--", *_FILES], folder)
        found = digest_of([folder / "dvc.lock"])
        if found != lock:
            raise DataError(
                f"dvc.lock of commit {commit[:12]} has digest {found[:12]}, the model learned from {lock[:12]}"
            )
        locked, params, tracked = (yaml.safe_load((folder / name).read_text("utf-8")) for name in _FILES)
    feeds = {feed["name"]: {"form": feed["form"], "url": feed["url"]} for feed in params.get("feeds", [])}
    return Published(
        tags[commit].removeprefix("refs/tags/"), commit, found, _snapshot(locked, tracked), feeds
    )


def documents(dataset: Published, settings: Settings) -> Mapping[str, Mapping[str, int]]:
    """The files of the dataset's snapshot, counted by folder and then feed or filter.

    Raises:
        DataError: neither DVC's cache nor its remote holds the list, or it is not what was published.
        UnavailableError: the object store cannot be reached.
    """
    text = _object(dataset.snapshot, settings)
    if f"{hashlib.md5(text, usedforsecurity=False).hexdigest()}.dir" != dataset.snapshot:
        raise DataError(f"DVC's object {dataset.snapshot} is damaged: `dvc pull` at {dataset.tag}")
    counts: dict[str, Counter[str]] = {"reports": Counter(), "answers": Counter()}
    for entry in json.loads(text):
        folder, _, rest = entry["relpath"].partition("/")
        if folder in counts:
            counts[folder][rest.partition("/")[0].partition(".parquet")[0]] += 1
    return counts


def _snapshot(locked: Any, tracked: Any) -> str:
    """The md5 of the snapshot that was tracked, which must be the one that the stages read."""
    try:
        (own,) = (out["md5"] for out in tracked["outs"])
        read = {dep["path"]: dep["md5"] for dep in locked["stages"]["compile"]["deps"]}
    except (KeyError, TypeError, ValueError) as err:
        raise DataError(f"dvc.lock or {_SNAPSHOT}.dvc is not DVC's: {err!r}") from err
    if read.get(_SNAPSHOT) != own:
        raise DataError(
            f"dvc.lock compiled the snapshot {read.get(_SNAPSHOT)}, but {own} was published with it"
        )
    return str(own)


def _object(name: str, settings: Settings) -> bytes:
    path, url = f"files/md5/{name[:2]}/{name[2:]}", runs.store_url(settings)
    for place in (runs.cache(settings), Path(url)):
        if (place / path).is_file():
            return (place / path).read_bytes()
    if not url.startswith("s3://"):
        raise DataError(f"neither DVC's cache nor {url} holds its snapshot {name}")
    import boto3  # noqa: PLC0415 - slow to import, and not every store is S3
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    parts = urlsplit(url)
    key = "/".join(filter(None, (parts.path.strip("/"), path)))
    try:
        client = boto3.client("s3", endpoint_url=os.environ.get("THREATWALK_S3_ENDPOINT"))
        return bytes(client.get_object(Bucket=parts.netloc, Key=key)["Body"].read())
    except ClientError as err:
        if err.response["Error"]["Code"] in {"NoSuchKey", "404"}:
            raise DataError(f"neither DVC's cache nor {url} holds its snapshot {name}") from err
        raise StoreError(f"{url} cannot be read: {err}") from err
    except BotoCoreError as err:
        raise UnavailableError(f"{url} cannot be reached: {err}") from err
