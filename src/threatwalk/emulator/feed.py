"""A MISP feed over HTTP: manifest.json, hashes.csv and one file an event, with conditional requests."""

import csv
import hashlib
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path

import orjson

from threatwalk.emulator.corpus import event
from threatwalk.emulator.http import Reply, Request, Route
from threatwalk.reports.report import Report

_ABOUT = ("info", "date", "timestamp", "publish_timestamp", "analysis", "threat_level_id", "Orgc", "Tag")
_TYPES = {".json": "application/json", ".csv": "text/csv; charset=utf-8"}

Event = dict[str, object]


@dataclass(frozen=True, slots=True)
class File:
    """One file of a feed as it is served."""

    body: bytes
    modified: datetime  # aware, UTC, whole seconds
    tag: str

    @classmethod
    def of(cls, body: bytes, modified: datetime) -> "File":
        digest = hashlib.blake2b(body, digest_size=12).hexdigest()
        return cls(body, modified.replace(microsecond=0), f'"{digest}"')


def of_reports(reports: Iterable[Report]) -> dict[str, File]:
    """The feed of a world's reports."""
    return of_events([event(report) for report in reports])


def of_folder(folder: Path) -> dict[str, File]:
    """The feed of a corpus's reports: its own manifest where it has one, else one of its MISP events."""
    if (folder / "manifest.json").is_file():
        paths = [path for path in sorted(folder.iterdir()) if path.suffix in _TYPES and path.is_file()]
        return {
            path.name: File.of(path.read_bytes(), datetime.fromtimestamp(path.stat().st_mtime, UTC))
            for path in paths
        }
    return of_events([one for path in sorted(folder.rglob("*.json")) if (one := _event(path)) is not None])


def _event(path: Path) -> Event | None:
    try:
        body = orjson.loads(path.read_bytes())
    except ValueError:
        return None
    found = body.get("Event") if isinstance(body, dict) else None
    return found if isinstance(found, dict) and isinstance(found.get("uuid"), str) else None


def of_events(events: Iterable[Event]) -> dict[str, File]:
    """MISP events as a feed, with its manifest and the MD5 of each value (MISP's feed format)."""
    files: dict[str, File] = {}
    manifest: dict[str, Event] = {}
    hashes = io.StringIO()
    lines = csv.writer(hashes, lineterminator="\n")
    newest = datetime(2000, 1, 1, tzinfo=UTC)
    for one in events:
        name = str(one["uuid"])
        modified = datetime.fromtimestamp(int(str(one.get("timestamp", 0))), UTC)
        newest = max(newest, modified)
        files[f"{name}.json"] = File.of(orjson.dumps({"Event": one}), modified)
        manifest[name] = {key: one[key] for key in _ABOUT if key in one}
        attributes = one.get("Attribute")
        for attribute in attributes if isinstance(attributes, list) else ():
            value = str(attribute.get("value", ""))
            lines.writerow((hashlib.md5(value.encode(), usedforsecurity=False).hexdigest(), name))
    files["manifest.json"] = File.of(orjson.dumps(manifest), newest)
    files["hashes.csv"] = File.of(hashes.getvalue().encode(), newest)
    return files


def route(files: Mapping[str, File]) -> Route:
    """The feed's folder; a client that shows what it has gets 304 where that is still so."""

    def answer(request: Request) -> Reply:
        name = request.path or "index.html"
        if name == "index.html":
            return Reply("\n".join(sorted(files)).encode(), media_type="text/plain")
        file = files.get(name)
        if file is None:
            return Reply(b"<html><body><h1>404 Not Found</h1></body></html>\n", 404, "text/html")
        headers = (
            ("ETag", file.tag),
            ("Last-Modified", format_datetime(file.modified, usegmt=True)),
            ("Cache-Control", "no-cache"),
        )
        media_type = _TYPES[Path(name).suffix]
        if _unchanged(request, file):
            return Reply(b"", 304, media_type, headers)
        return Reply(file.body, 200, media_type, headers)

    return answer


def _unchanged(request: Request, file: File) -> bool:
    """RFC 9110, 13.1: the tag decides where one is shown, else the date."""
    shown = request.headers.get("if-none-match")
    if shown is not None:
        return shown.strip() == "*" or file.tag in {
            tag.strip().removeprefix("W/") for tag in shown.split(",")
        }
    since = request.headers.get("if-modified-since")
    if since is None:
        return False
    try:
        return file.modified <= parsedate_to_datetime(since).replace(tzinfo=UTC)
    except (TypeError, ValueError):
        return False
