"""R15: a feed of 100,000 events is collected in bounded memory, goes on where it was killed, and is then asked one thing."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest
import yaml
from tests.integration.http_server import HttpServer, Request, respond
from tests.trust.conftest import ROOT, Trust

from threatwalk.reports.state import opened

PROPERTY = "a feed of very many events is collected piece by piece"
FIGURE = (
    "killed at 15 %: nothing that was kept is fetched again; 20 % to 100 %: < 5 % more memory; a second sync asks for the "
    "manifest alone"
)
MORE = 0.05
COLLECT = "import sys; from threatwalk.cli.main import main; sys.exit(main())"


class Publisher(HttpServer):
    """A MISP feed of made-up events, each made when it is asked for. `asked` counts events, `others` is the rest."""

    protocol = "HTTP/1.1"

    def __init__(self, events: int) -> None:
        super().__init__()
        self.manifest = orjson.dumps({uuid(number): about(number) for number in range(events)})
        self.pause_s = 0.0  # before each answer
        self.forget()

    def forget(self) -> None:
        self.asked, self.others = 0, list[str]()

    def answer(self, request: Request) -> None:
        with suppress(ConnectionError):  # who asked was killed
            self._answer(request)

    def _answer(self, request: Request) -> None:
        name = request.path.rpartition("/")[2]
        if name.endswith("-000000000000.json"):
            self.asked += 1
            time.sleep(self.pause_s)
            respond(request, 200, event(int(name[:8], 16)), ETag=f'"{name[:8]}"')
            return
        self.others.append(name)
        if name != "manifest.json":
            respond(request, 404)
        elif request.headers["If-None-Match"] == '"1"':
            respond(request, 304)
        else:
            respond(request, 200, self.manifest, ETag='"1"')


def uuid(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-000000000000"


def about(number: int) -> dict[str, object]:
    return {"info": f"made up, number {number}", "date": "2024-01-01", "timestamp": str(1_700_000_000 + number), "analysis": "2",
            "threat_level_id": "2", "Orgc": {"name": "made up", "uuid": uuid(0)}, "Tag": [{"name": "tlp:clear", "colour": "#ffffff"}]}  # fmt: skip


def event(number: int) -> bytes:
    values = {"domain": f"e{number:x}.com", "ip-dst": f"11.{number >> 16}.{number >> 8 & 255}.{number & 255}", "md5": f"{number:032x}",
              "url": f"http://e{number:x}.com/a"}  # fmt: skip
    attributes = [{"type": kind, "value": value, "to_ids": True} for kind, value in values.items()]
    return orjson.dumps({"Event": {"uuid": uuid(number), **about(number), "Attribute": attributes}})


@dataclass(frozen=True)
class Collecting:
    """`threatwalk collect` in a process of its own."""

    process: subprocess.Popen[bytes]

    def held(self, what: str = "VmRSS") -> int:
        """The memory that it holds, or with `VmHWM` the most that it has held so far, in bytes; 0 where it has ended."""
        try:
            lines = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii").splitlines()
        except OSError:
            return 0
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(what)), 0)

    def until(self, reached: Callable[[], bool]) -> None:
        while not reached():
            assert self.process.poll() is None, "it ended before"
            time.sleep(0.01)

    def most(self, reached: Callable[[], bool] = lambda: False) -> int:
        """The most memory that it holds from now on until then, or until it has ended well."""
        most = 0
        while self.process.poll() is None and not reached():
            most = max(most, self.held())
            time.sleep(0.01)
        assert self.process.returncode in {None, 0}
        return most


def known(folder: Path) -> int:
    """Of how many documents a collected feed knows."""
    with opened(folder) as state:
        return state.known()


@contextmanager
def collecting(home: Path, params: Path) -> Iterator[Collecting]:
    process = subprocess.Popen(
        [sys.executable, "-c", COLLECT, "collect", "--params", str(params)],
        env={**os.environ, "THREATWALK_HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield Collecting(process)
    finally:
        process.kill()
        process.wait()


@pytest.mark.timeout(1800)
def test_a_large_feed_is_collected_piece_by_piece(trust: Trust, home: Path) -> None:
    events = 100_000 if trust.full else 2_000
    publisher = Publisher(events)
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["feeds"] = [{"name": "large", "form": "misp", "url": publisher.url, "tlp": "clear"}]
    home.mkdir()
    (home / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    folder = home / "reports/large"
    began = time.monotonic()
    try:
        with collecting(home, home / "params.yaml") as first:
            first.until(lambda: publisher.asked >= events * 0.15)
            publisher.pause_s = 0.5  # it saves now and then, which is not to be missed
            first.until(lambda: known(folder) > 0)
        publisher.pause_s = 0.0
        saved = known(folder)
        before, _ = publisher.asked, publisher.forget()

        with collecting(home, home / "params.yaml") as second:
            second.until(lambda: saved + publisher.asked >= events * 0.2)
            early = second.most(lambda: saved + publisher.asked >= events * 0.25)
            peak = second.held("VmHWM")
            late = second.most()
        again = publisher.asked
        took = time.monotonic() - began
        publisher.forget()

        with collecting(home, home / "params.yaml") as third:
            third.most()
        requests = [*publisher.others, *["event"] * publisher.asked]
    finally:
        publisher.close()

    kept = sum(1 for path in folder.iterdir() if not path.name.startswith("."))
    more = late / early - 1
    ok = (
        0 < saved < events * 0.5
        and again == events - saved
        and kept == events
        and more < MORE
        and requests == ["manifest.json"]
    )
    value = (
        f"{kept:,} of {events:,} events kept; killed after {before:,}, of which {saved:,} were kept, then {again:,} fetched; at most "
        f"{early / 1e6:.0f} MB from 20 to 25 %, {late / 1e6:.0f} MB after that ({100 * more:+.1f} %), {max(peak, late) / 1e6:.0f} MB at all; "
        f"a second sync asked for {requests}; {events / took:.0f} events a second"
    )
    trust.record("R15", PROPERTY, value=value, figure=FIGURE, ok=ok)
    assert ok, value
