"""S9: whatever names come from outside, nothing is read or written outside the folders meant for it."""

import asyncio
import io
import json
import os
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.trust.conftest import Trust

from threatwalk.desk.queue import Indicator, State, Wanted
from threatwalk.desk.result import folder_of
from threatwalk.errors import SampleError, ThreatwalkError
from threatwalk.params import Feed, Form
from threatwalk.reports import bundle, feed, quarantine, store
from threatwalk.reports.origin import Fetched, MissingError, opened
from threatwalk.reports.read import files, parse, read
from threatwalk.reports.state import Document, Status
from threatwalk.reports.state import opened as known
from threatwalk.sample import Kind, Sample, sample

PROPERTY = "names from outside lead nowhere outside"
FIGURE = ">= 150 cases; 0 reads or writes outside the root"
GOOD = b'{"Event":{"info":"a","uuid":"%s","Attribute":[{"type":"ip-dst","value":"203.0.113.7"}]}}'
UUID_ = "5f3a1c2e-0000-4000-8000-000000000001"


def names(outside: Path) -> list[str]:
    """Names that lead out, or try to."""
    out = str(outside)
    return [
        "../canary.json", "../../canary.json", "../outside/canary.json", "a/../../outside/canary.json", "./../outside/canary.json",
        "..", ".", "", "/", "//", "./", "../", "a/..", "a//b.json", f"{out}/canary.json", f"/{out}/canary.json", f"//{out}/canary.json",
        f"file://{out}/canary.json", f"~{out}/canary.json", "~/canary.json", "~root/.ssh/authorized_keys", "$HOME/canary.json",
        "..\\outside\\canary.json", "..\\..\\canary.json", "C:\\canary.json", "\\\\host\\share\\canary.json", "a\\..\\..\\canary.json",
        "%2e%2e/outside/canary.json", "%2e%2e%2foutside%2fcanary.json", "..%2foutside%2fcanary.json", "%252e%252e/canary.json",
        "..%5coutside%5ccanary.json", "%2e%2e%5ccanary.json", "..%c0%af..%c0%afcanary.json", "\uff0e\uff0e/outside/canary.json",
        "..\u2215outside\u2215canary.json", "..\u2044canary.json", "\u2025/canary.json", "..\0/outside/canary.json", "canary.json\0.json",
        "\0", "a\0b.json", "../outside/canary.json\0", "a\nb.json", "a\r\nb.json", "\x1b[31m.json", "\u202enosj.json", "\ud800.json",
        "/dev/null", "/dev/stdin", "/dev/zero", "/proc/self/environ", "/proc/self/cwd/canary.json", "/etc/passwd", "dev/null",
        "CON", "NUL", "PRN", "AUX", "COM1", "LPT1.json", "con.json", "nul.json", "a.json:stream", "a.json.", "a.json ", " a.json",
        "state.json", "./state.json", ".lock", ".withdrawn", ".withdrawn/a.json", "STATE.JSON", "manifest.json", "hashes.csv", ".hashes.csv",
        ".a.json.part", "a" * 255, "a" * 256 + ".json", "a" * 5000 + ".json", "a/" * 200 + "b.json", "é" * 200 + ".json", "-rf", "--help", "*",
        "a;rm -rf b", "$(touch canary)", "`touch canary`", "a|b", "a b", "link", "link/canary.json", "a/link/canary.json", "dangling",
        "link-to-file.json", f"{UUID_}.json/../../outside/canary.json", f"../{UUID_}.json", f"{UUID_}/../../canary.json", f"{UUID_}.json",
    ]  # fmt: skip


class Tree:
    """A root where things may happen, with a tree outside that must stay as it is, and be opened by nobody."""

    def __init__(self, folder: Path) -> None:
        self.root, self.outside, self.origin = folder / "root", folder / "outside", folder / "origin"
        for one in (self.root, self.outside, self.origin, self.origin / "a"):
            one.mkdir(parents=True)
        for place in (folder, self.outside):
            (place / "canary.json").write_bytes(GOOD % b"CANARYLEAK-0000-4000-8000-0000000000")
        (self.origin / "link").symlink_to(self.outside)
        (self.origin / "a/link").symlink_to(self.outside)
        (self.origin / "link-to-file.json").symlink_to(self.outside / "canary.json")
        (self.origin / "dangling").symlink_to(self.outside / "none.json")
        self.folder = folder
        self.before = self._state()

    def _state(self) -> dict[str, object]:
        inside = (self.root, self.origin)
        return {
            str(path): path.read_bytes() if path.is_file() else "folder"
            for path in sorted(self.folder.rglob("*"))
            if not any(path.is_relative_to(one) for one in inside)
        }

    def changed(self) -> set[str]:
        after = self._state()
        return {
            path for path in after.keys() | self.before.keys() if after.get(path) != self.before.get(path)
        }


_watching: list[Callable[[str, tuple[Any, ...]], None]] = []
_EVENTS = {  # where their paths stand
    "open": (0,), "os.rename": (0, 1), "os.link": (0, 1), "os.symlink": (1,), "os.mkdir": (0,), "os.remove": (0,), "os.rmdir": (0,),
    "os.truncate": (0,), "os.chmod": (0,),
}  # fmt: skip
_hooked: list[bool] = []


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if _watching and event in _EVENTS:
        for watch in _watching:
            watch(event, args)


def _reached(raw: str, event: str) -> str:
    """What a path leads to; only what opens a link follows it."""
    if event == "open":
        return os.path.realpath(raw)
    path = Path(raw)
    return str(path.parent.resolve() / path.name)


@contextmanager
def touched(tree: Tree, allowed: tuple[Path, ...]) -> Iterator[list[str]]:
    """What is opened, made, moved or removed outside the allowed folders, links resolved; the program's own files aside."""
    if not _hooked:
        sys.addaudithook(_hook)  # it stays for as long as the process does
        _hooked.append(True)
    found: list[str] = []
    program = (sys.prefix, sys.base_prefix, str(Path(__file__).parents[2] / "src"))
    inside = [str(one.resolve()) for one in allowed]

    def watch(event: str, args: tuple[Any, ...]) -> None:
        for raw in (args[at] for at in _EVENTS[event]):
            if isinstance(raw, str | bytes | os.PathLike):
                path = _reached(os.fsdecode(raw), event)
                own = event == "open" and path.startswith(program)
                if not own and not any(path == one or path.startswith(f"{one}{os.sep}") for one in inside):
                    found.append(f"{event} {path}")

    _watching.append(watch)
    try:
        yield found
    finally:
        _watching.remove(watch)


class Listed:
    """An origin that lists whatever names it likes, as a bucket may, and gives a document for each."""

    def __init__(self, listed: list[str]) -> None:
        self._listed = listed

    async def names(self) -> dict[str, str]:
        return dict.fromkeys(self._listed, "1")

    async def fetch(self, name: str, validator: str = "") -> Fetched:
        if name in {feed.MANIFEST, feed.HASHES} and name not in self._listed:
            raise MissingError(name)
        return Fetched(b"broken {" if len(name) % 3 == 0 else GOOD % UUID_.encode(), "")


def _sync_listed(tree: Tree, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Opened:
        async def __aenter__(self) -> Listed:
            return Listed([name])

        async def __aexit__(self, *_: object) -> None:
            return None

    monkeypatch.setattr(feed, "opened", lambda _url, _key: Opened())
    one = Feed(name="made-up", form=Form.FOLDER, url="s3://bucket/a", tlp="amber")
    for _ in range(2):
        asyncio.run(feed.sync(one, reports=tree.root / "reports", quarantined=tree.root / "quarantine"))


def _manifest(tree: Tree, name: str) -> None:
    place = tree.origin / "manifest.json"
    place.write_bytes(
        json.dumps({name: {"info": "a", "timestamp": "1"}, UUID_: {"info": "a", "timestamp": "2"}}).encode()
    )
    one = Feed(name="made-up", form=Form.MISP, url=str(tree.origin), tlp="amber")
    asyncio.run(feed.sync(one, reports=tree.root / "reports", quarantined=tree.root / "quarantine"))


def _fetched(tree: Tree, name: str) -> None:
    async def fetch() -> None:
        async with opened(str(tree.origin)) as origin:
            with suppress(MissingError):
                got = await origin.fetch(name)
                assert got is None or b"CANARYLEAK" not in got.data

    asyncio.run(fetch())


def _quarantined(tree: Tree, name: str) -> None:
    quarantine.keep(tree.root / "quarantine/a", name, b"x", name)


def _stored(tree: Tree, name: str) -> None:
    folder = tree.root / "reports/made-up"
    kept = store.file_name("made-up", name)
    assert Path(kept).name == kept
    document = Document("1", kept, Status.STORED)
    folder.mkdir(parents=True, exist_ok=True)
    with known(folder, write=True) as state:
        store.put(state, name, document, b"{}")
        store.save(state)
    with known(folder, write=True) as state:
        assert state.get(name) == document
        list(files(folder))
        store.withdraw(state, name, document, "now")


def _bundled(tree: Tree, name: str) -> None:
    """A report's id becomes the name of its bundle."""
    for raw in (GOOD % json.dumps(name)[1:-1].encode(),
                json.dumps({"type": "bundle", "id": name, "objects": [{"type": "report", "id": name, "name": name},
                                                                      {"type": "ipv4-addr", "value": "203.0.113.7"}]}).encode()):  # fmt: skip
        for report in parse(raw, path=name):
            stem = bundle.file_stem(report.id)
            store.write(tree.root / "bundles" / f"{stem}.json", bundle.dumps(report))


def _result(tree: Tree, name: str) -> None:
    """A result's folder is named after its sample; what a person noted plays no part."""
    found = []
    for kind, raw in ((Kind.FILENAME, name), (Kind.URL, f"http://a.example/{name}")):
        with suppress(SampleError):
            found.append(sample(kind, raw))
    for one in [*found, Sample(Kind.FILENAME, name)]:
        indicator = Indicator(1, Wanted(one, note=name), State.LEASED, 1, datetime.now(UTC))
        folder = folder_of(tree.root / "results", indicator)
        folder.mkdir(parents=True, exist_ok=True)
        assert folder.parent == tree.root / "results"


def _tar(tree: Tree, name: str) -> None:
    """Members of a packed folder of tables, of every type that may lead somewhere."""
    data = io.BytesIO()
    line = b"2024-01-01 00:00:00,a,ip,203.0.113.7,,https://x.com/a/status/1\n"
    with tarfile.open(
        fileobj=data, mode="w:xz", preset=0, format=tarfile.PAX_FORMAT, errors="surrogateescape"
    ) as tar:
        for member_name in (name.replace("\ud800", "?"), f"{name}/20240101.csv".replace("\ud800", "?")):
            for kind in (
                tarfile.REGTYPE,
                tarfile.SYMTYPE,
                tarfile.LNKTYPE,
                tarfile.CHRTYPE,
                tarfile.FIFOTYPE,
                tarfile.DIRTYPE,
            ):
                member = tarfile.TarInfo(member_name)
                member.type, member.linkname = kind, str(tree.outside / "canary.json")
                member.size = len(line) if kind == tarfile.REGTYPE else 0
                tar.addfile(member, io.BytesIO(line) if member.size else None)
    path = tree.root / "older.tar.xz"
    path.write_bytes(data.getvalue())
    for report in read(path):
        assert "CANARYLEAK" not in str(report)


def _walked(tree: Tree, name: str) -> None:
    """Documents that lie in a folder under such a name, or as a link to outside."""
    here = tree.root / "inbox"
    here.mkdir(exist_ok=True)
    tail = name.replace("/", "_")
    with suppress(OSError, ValueError):
        (here / tail).symlink_to(tree.outside / "canary.json")
    with suppress(OSError, ValueError):
        (here / f"folder {tail}").symlink_to(tree.outside)
    for path in files(here):
        for report in read(path, here):
            assert "CANARYLEAK" not in str(report)
    for path in here.iterdir():
        path.unlink()


WAYS: dict[str, Callable[[Tree, str], None]] = {
    "a manifest": _manifest,
    "a folder feed": _fetched,
    "a quarantine": _quarantined,
    "a store": _stored,
    "a bundle": _bundled,
    "a result": _result,
    "a tar": _tar,
    "an inbox": _walked,
}


def test_names_lead_nowhere(trust: Trust, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = Tree(tmp_path / "tree")
    ways = {**WAYS, "a bucket": lambda tree, name: _sync_listed(tree, name, monkeypatch)}
    wrong: dict[str, object] = {}
    cases = refused = 0
    chosen = names(tree.outside)
    for number, (way, run) in enumerate(ways.items()):
        for name in chosen if trust.full else chosen[number % 3 :: 3]:
            cases += 1
            with touched(tree, (tree.root, tree.origin)) as outside:
                try:
                    run(tree, name)
                except ThreatwalkError:
                    refused += 1
                except Exception as err:  # noqa: BLE001 - nothing else may be raised
                    wrong[f"{way}, {name[:60]!a}"] = repr(err)[:300]
            if outside:
                wrong[f"{way}, {name[:60]!a} touched"] = outside[:3]

    changed = tree.changed()
    ok = not wrong and not changed and cases >= 150
    value = f"{cases} cases in {len(ways)} ways: {len(wrong)} led outside or broke, {len(changed)} canaries changed, {refused} refused by type"
    trust.record("S9", PROPERTY, value=value, figure=FIGURE, ok=ok)
    assert ok, (wrong, changed)


def test_the_watch_sees(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "tree")
    with touched(tree, (tree.root, tree.origin)) as outside:
        (tree.origin / "link-to-file.json").read_bytes()
        (tree.root / "../canary.json").write_bytes(b"")

    assert len(outside) == 2
    assert len(tree.changed()) == 1
