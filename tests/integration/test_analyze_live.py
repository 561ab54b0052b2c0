"""The nightly job as a command, through the gate, against the emulator."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import stix2

from threatwalk.desk.ration import SPENT
from threatwalk.emulator import feed
from threatwalk.emulator.log import RequestLog
from threatwalk.emulator.serve import KEY, Generated, start, write_endpoints
from threatwalk.emulator.world import World, make_world
from threatwalk.learning import stored
from threatwalk.learning.baselines import Playbook
from threatwalk.params import load
from threatwalk.sources import catalog

pytestmark = pytest.mark.slow

PARAMS = Path(__file__).parents[2] / "params.yaml"
FILTERS = load(PARAMS).filters
DNS, VIRUSTOTAL, OTX = 1, 4, 512


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(5, 30)


@dataclass
class Installation:
    """A home of its own, the emulator as its internet, and a stored playbook to walk with."""

    home: Path
    indicators: list[str]
    env: dict[str, str]
    log: Path

    async def run(self, *line: str, code: int = 0, **env: str) -> tuple[str, str]:
        command = str(Path(sys.executable).parent / "threatwalk")
        process = await asyncio.create_subprocess_exec(
            command,
            *line,
            env=self.env | env,
            cwd=self.home,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert process.returncode == code, err.decode()
        return out.decode(), err.decode()

    async def queue(self) -> None:
        await self.run("queue", "add", *self.indicators, "--tlp", "clear", "--pap", "clear", "--active-dns")

    async def analyze(self, *options: str, code: int = 0, **env: str) -> tuple[str, str]:
        return await self.run(
            "analyze", "--policy", str(self.home / "models" / "playbook"), *options, code=code, **env
        )

    async def states(self) -> list[str]:
        out, _ = await self.run("queue", "list", "--json")
        return [json.loads(line)["state"] for line in out.splitlines()]

    def requests(self) -> int:
        return len(self.log.read_text().splitlines()) if self.log.exists() else 0


@pytest.fixture
async def installation(world: World, tmp_path: Path) -> AsyncIterator[Installation]:
    log = tmp_path / "requests.jsonl"
    emulator = await start(Generated(world), feed.of_reports(world.reports), log=RequestLog(log))
    write_endpoints(emulator.endpoints, tmp_path / "endpoints.json")
    stored.save(Playbook("playbook", (DNS | VIRUSTOTAL, OTX)), tmp_path / "models", filters=FILTERS)
    env = {
        name: value for name, value in os.environ.items() if not name.startswith(("THREATWALK_", "MLFLOW_"))
    } | {
        "THREATWALK_HOME": str(tmp_path / "home"),
        "THREATWALK_PARAMS": str(PARAMS),
        "THREATWALK_ENDPOINTS": str(tmp_path / "endpoints.json"),
        "THREATWALK_KEY_VIRUSTOTAL": KEY,
        "THREATWALK_KEY_SHODAN": KEY,
        "THREATWALK_KEY_OTX": KEY,
    }
    goals = sorted(min(report.goal) for report in world.reports)
    indicators = [str(s) for s in dict.fromkeys(goals)][:6]
    yield Installation(tmp_path, indicators, env, log)
    await emulator.close()


async def test_a_night_gives_each_indicator_one_result_and_a_repeat_asks_nobody(
    installation: Installation,
) -> None:
    await installation.queue()
    first = json.loads((await installation.analyze("--json"))[0])
    asked = installation.requests()
    await installation.queue()
    second = json.loads((await installation.analyze("--json"))[0])

    assert first["analysed"] == second["analysed"] == len(installation.indicators)
    assert (first["failed"], first["unanswered"]) == (0, 0)
    assert first["lookups"] == second["lookups"] > 0
    assert asked == installation.requests() > 0
    assert set(await installation.states()) == {"done"}
    for one, again in zip(first["results"], second["results"], strict=True):
        old, new = (json.loads((Path(folder) / "analysis.json").read_text()) for folder in (one, again))
        assert old["samples"] == new["samples"]
        made = stix2.parse((Path(one) / "bundle.json").read_text())
        assert {"grouping", "identity"} <= {o["type"] for o in made.objects}
        assert "Who was asked what" in (Path(one) / "report.html").read_text()


async def test_the_archive_alone_walks_the_same_walk_without_a_connection(installation: Installation) -> None:
    await installation.queue()
    live = json.loads((await installation.analyze("--json"))[0])
    asked = installation.requests()
    await installation.queue()
    replayed = json.loads((await installation.analyze("--json", THREATWALK_OFFLINE="1"))[0])

    assert installation.requests() == asked
    assert (replayed["samples"], replayed["lookups"]) == (live["samples"], live["lookups"])


async def test_without_any_source_the_night_ends_with_75_and_the_queue_stays(
    installation: Installation,
) -> None:
    dead = installation.home / "dead.json"
    table = json.loads((installation.home / "endpoints.json").read_text())
    http = dict.fromkeys(table, "http://127.0.0.1:9")
    dead.write_text(json.dumps(http | {"dns": "127.0.0.1:9", "whois": "127.0.0.1:9"}))
    await installation.queue()
    _, err = await installation.analyze("--limit", "2", code=75, THREATWALK_ENDPOINTS=str(dead))

    assert err.splitlines()[-1].startswith("threatwalk: 2 of 2 indicators not analysed: 1, 2 (see")
    assert "the first: no source answered" in err.splitlines()[-1]
    assert set(await installation.states()) == {"queued"}


async def test_what_little_a_source_allows_goes_to_each_indicator_first(installation: Installation) -> None:
    source = catalog.known("otx")
    assert source is not None
    quota = source.cost * 10  # nine questions without the reserve, for six indicators
    await installation.queue()
    told = json.loads((await installation.analyze("--json", THREATWALK_QUOTA_OTX=f"{quota}/day"))[0])
    analyses = [json.loads((Path(folder) / "analysis.json").read_text()) for folder in told["results"]]
    put = [
        [q for step in one["steps"] for q in step["questions"] if q["filter"] == "otx"] for one in analyses
    ]
    let_out = [sum(q["outcome"] != "not_asked" for q in some) for some in put]

    assert len(let_out) == len(installation.indicators)
    assert all(n >= 1 for n, some in zip(let_out, put, strict=True) if some), let_out
    assert sum(map(len, put)) > 9 >= sum(let_out)
    assert any(SPENT in (q["reason"] or "") for some in put for q in some)


async def test_a_worker_killed_in_mid_night_loses_nothing(installation: Installation) -> None:
    await installation.queue()
    params = installation.home / "params.yaml"
    params.write_text(PARAMS.read_text().replace("lease_s: 600", "lease_s: 3"))
    command = [
        str(Path(sys.executable).parent / "threatwalk"),
        "analyze",
        "--policy",
        str(installation.home / "models/playbook"),
    ]
    env = installation.env | {"THREATWALK_PARAMS": str(params)}
    killed = await asyncio.create_subprocess_exec(*command, env=env, stderr=asyncio.subprocess.PIPE)
    assert killed.stderr is not None
    await killed.stderr.readline()  # the first result is written
    killed.kill()
    await killed.communicate()
    await asyncio.sleep(3.5)
    await installation.analyze(THREATWALK_PARAMS=str(params))

    assert await installation.states() == ["done"] * len(installation.indicators)
    results = installation.home / "home" / "results"
    assert len([p for p in results.iterdir() if not p.name.startswith(".")]) == len(installation.indicators)


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--policy", "nowhere/none"], 2, "nowhere holds no stored policy none"),
        (["--shard", "3/2"], 2, "--shard '3/2' is not like 1/4"),
    ],
    ids=["policy", "shard"],
)
async def test_wrong_use_is_one_line(
    installation: Installation, options: list[str], code: int, says: str
) -> None:
    _, err = await installation.run("analyze", *options, code=code)

    assert err == f"threatwalk: {says}\n"


async def test_without_a_champion_it_says_what_to_run(installation: Installation) -> None:
    _, err = await installation.run("analyze", code=1)

    assert err.splitlines()[-1].startswith("threatwalk: no model is champion yet: run `threatwalk register`")
