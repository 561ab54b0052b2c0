"""S10: canaries in place of every secret, told to sources that give away what they hear: none is found in what is kept or said."""

import asyncio
import base64
import json
import secrets
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from tests.integration.test_dags_run import play
from tests.trust.conftest import ROOT, Trust
from tests.trust.echoes import WAYS, Echo
from tests.trust.pipeline import environment
from tests.unit.desk.conftest import World, walked

from threatwalk.desk import bundle
from threatwalk.learning import baselines, stored
from threatwalk.params import load
from threatwalk.sources import catalog

pytestmark = pytest.mark.slow

PROPERTY = "secrets are kept and said nowhere"
FIGURE = "0 of ≥ 20 canaries found in logs, UI, artefacts, archive, traces; all DAGs run, failures included"
DEAD = "127.0.0.1:9"  # nobody listens there
REPORT = {
    "Event": {
        "info": "made up",
        "uuid": "5f3a1c2e-0000-4000-8000-000000000001",
        "date": "2024-01-01",
        "Attribute": [
            {"type": "domain", "value": "canary-night.com"},
            {"type": "ip-dst", "value": "45.77.1.9"},
            {"type": "sha256", "value": "ab" * 32},
            {"type": "url", "value": "http://canary-night.com/gate.php"},
        ],
    }
}
SAMPLES = ("domain:canary-night.com", "ipv4:45.77.1.9", "sha256:" + "ab" * 32)
COLLECTION = "91a7b528-80eb-42ed-a74d-c6fbd5a26116"


@dataclass
class Canaries:
    """A secret of its own for each place where one may stand; `told` holds those that were heard by whom they are for."""

    of: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def one(self, place: str) -> str:
        made = f"kanari{secrets.token_hex(9)}"
        self.of[place] = (*self.of.get(place, ()), made)
        return made

    def many(self, place: str, count: int) -> str:
        return ":".join(self.one(place) for _ in range(count))

    def found(self, text: bytes) -> set[str]:
        """The places whose canary stands in a text, as it is or in one of the dresses that clients give it."""
        return {place for place, made in self.of.items() if any(one in text for one in _dressed(made))}


def _dressed(made: tuple[str, ...]) -> Iterator[bytes]:
    for text in (*made, ":".join(made)):
        raw = text.encode()
        yield from (raw, raw.hex().encode(), quote(text, safe="").encode())
        for shift in range(3):  # wherever in a longer text it begins
            whole = base64.b64encode(b"\0" * shift + raw)
            yield whole[4 if shift else 0 : len(whole) // 4 * 4 - 4]


PARTS = {"mdti": 3, "circl_pdns": 2, "passivetotal": 2, "misp-feed": 1, "taxii-feed": 2, "taxii": 2}
OTHERS = ("misp-feed", "taxii-feed", "server-feed", "taxii")
KEYED = tuple(f.name for f in catalog.CATALOG if f.needs_key or f.takes_key)


def planted(canaries: Canaries, url: str) -> dict[str, str]:
    """The environment of a command in which everything that may be a secret is a canary."""
    names = (*KEYED, *OTHERS, "misp")
    keys = {
        f"THREATWALK_KEY_{name.replace('-', '_').upper()}": canaries.many(name, PARTS.get(name, 1))
        for name in names
    }
    paces = {f"THREATWALK_QUOTA_{f.name.upper()}": "none" for f in catalog.CATALOG}  # nobody waits
    return (
        keys
        | paces
        | {
            "AWS_ACCESS_KEY_ID": canaries.one("S3 access key"),
            "AWS_SECRET_ACCESS_KEY": canaries.one("S3 secret key"),
            "AWS_SESSION_TOKEN": canaries.one("S3 token"),
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_MAX_ATTEMPTS": "1",
            "THREATWALK_S3_ENDPOINT": url,
            "OTEL_EXPORTER_OTLP_ENDPOINT": url,
            "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
            "OTEL_EXPORTER_OTLP_HEADERS": f"authorization={canaries.one('OpenTelemetry header')}",
            "MLFLOW_TRACKING_USERNAME": "somebody",
            "MLFLOW_TRACKING_PASSWORD": canaries.one("MLflow password"),
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
            "OF_SOMETHING_ELSE": canaries.one("environment"),
        }
    )


def settled(folder: Path, url: str) -> dict[str, str]:
    """An installation of its own in `folder`, all of whose sources and feeds lie at `url`."""
    folder.mkdir(parents=True)
    (folder / "inbox").mkdir()
    (folder / "inbox/report.json").write_text(json.dumps(REPORT))
    raw = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    raw["feeds"] = [
        {"name": "open", "form": "folder", "url": str(folder / "inbox"), "tlp": "clear"},
        {"name": "misp-feed", "form": "misp", "url": f"{url}/misp-feed/", "tlp": "clear"},
        {
            "name": "taxii-feed",
            "form": "taxii",
            "url": f"{url}/taxii-feed/collections/{COLLECTION}/",
            "tlp": "clear",
        },
        {"name": "server-feed", "form": "misp_server", "url": f"{url}/server-feed", "tlp": "clear"},
    ]
    # a source that rests is soon asked again: `record` waits for it
    raw["gate"] |= {
        "timeout_s": 3,
        "breaker_wait_s": 1,
        "warning_lists": [],
        "exact_lists": [],
        "known_good": [],
    }
    raw["record"] |= {"hops": 1, "questions": 100}
    raw["filters"] += [name for name in KEYED if name not in raw["filters"]]
    (folder / "params.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    places = [(name, at) for f in catalog.CATALOG for name, at in f.endpoints.items()]
    endpoints = {name: f"{url}/{name}" if at.startswith("http") else DEAD for name, at in places}
    (folder / "endpoints.json").write_text(json.dumps(endpoints))
    walk = asyncio.run(walked(World(4), budget=8, steps=1))
    made = bundle.bundle(walk, author="t", created=walk.finished_at)
    (folder / "bundle.json").write_text(bundle.dumps(made))
    params = load(folder / "params.yaml")
    stored.save(baselines.RunEverything(), folder / "models", filters=params.filters)
    return {
        "THREATWALK_HOME": str(folder / "home"),
        "THREATWALK_ENDPOINTS": str(folder / "endpoints.json"),
        "THREATWALK_PARAMS": str(folder / "params.yaml"),
        "THREATWALK_RUN": "night",
    }


def night(folder: Path, url: str) -> list[list[str]]:
    """The commands of the DAGs, and those by which people look at what came of it."""
    asked = [
        ["ask", source, sample, "--tlp", "clear", "--pap", "clear"] for source in KEYED for sample in SAMPLES
    ]
    tags = ["--tlp", "clear", "--pap", "clear"]
    return [
        ["collect"],
        *[one for one in asked if catalog.accepts(one[1]) & {one[2].partition(":")[0]}],
        [
            "record",
            "--hop",
            "1",
            "--shares",
        ],  # what it asks goes the way of `ask`, but waits for sources that rest
        ["queue", "add", *SAMPLES, *tags],
        ["analyze", "--policy", str(folder / "models/run_everything")],
        [
            "publish",
            "taxii",
            str(folder / "bundle.json"),
            "--tlp",
            "red",
            "--url",
            f"{url}/taxii/collections/{COLLECTION}/",
        ],
        ["queue", "inbox", "s3://inbox/lists"],
        *[["export", "1", "--form", form, "--dial", "0"] for form in ("csv", "text", "misp", "stix")],
        ["summary"],
        ["sources"],
        ["sources", "health"],
        ["metrics"],
        ["register"],
        ["promote", "--judge"],
        ["model", "list"],
    ]


def unreachable(canaries: Canaries) -> list[tuple[dict[str, str], list[str]]]:
    """Secrets in URLs of places that are away, refuse, or are written wrong."""
    places = []
    for scheme in ("postgresql+psycopg", "postgresql", "postgrsql", "mysql"):
        for rest in (f"@{DEAD}/db", "@[::1/db", f"@{DEAD}/db?sslmode=odd", "@"):
            url = f"{scheme}://somebody:{canaries.one('database URL')}{rest}"
            places.append(({"THREATWALK_DATABASE": url}, ["queue", "show"]))
    for line in (["model", "list"], ["promote", "--judge"], ["analyze"]):
        for scheme in ("http", "https"):  # a database would be tried again for half an hour
            url = f"{scheme}://somebody:{canaries.one('MLflow URL')}@{DEAD}"
            places.append(({"MLFLOW_TRACKING_URI": url}, line))
    return places


def searched(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every text below a folder: of files, of the rows of databases and tables, unpacked where it is packed."""
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        where, data = str(path.relative_to(folder)), path.read_bytes()
        yield where, data
        if data.startswith(b"SQLite format 3"):
            for cell in _cells(path):
                yield f"{where}, a row", cell
        elif data.startswith(b"PAR1"):
            with suppress(pa.ArrowException):
                yield f"{where}, a row", json.dumps(pq.read_table(path).to_pylist(), default=str).encode()


def _cells(path: Path) -> Iterator[bytes]:
    with closing(sqlite3.connect(path)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for row in database.execute(f'SELECT * FROM "{table}"'):
                for cell in row:
                    text = cell if isinstance(cell, bytes) else str(cell).encode("utf-8", "replace")
                    yield text
                    with suppress(zlib.error):
                        yield zlib.decompress(text)


def run(lines: list[tuple[dict[str, str], list[str]]], env: dict[str, str], out: Path) -> bytes:
    plan = "".join(json.dumps({"env": more, "line": line}) + "\n" for more, line in lines)
    done = subprocess.run(
        [sys.executable, "-m", "tests.trust.echoes"], cwd=ROOT, env=env, input=plan.encode(),
        capture_output=True, timeout=500, check=False,
    )  # fmt: skip
    out.write_bytes(done.stdout + done.stderr)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count(b" ended with ") == len(lines)
    return done.stdout + done.stderr


def test_no_secret_is_kept_or_said(trust: Trust, tmp_path: Path) -> None:
    canaries = Canaries()
    env = environment(tmp_path / "nowhere") | planted(canaries, f"http://{DEAD}")
    # in short the two in which keys were found: a proper answer, which is kept, and redirects, which are told of
    ways = [*WAYS, "dead"] if trust.full else ["proper", "circle"]
    echoes: dict[str, Echo] = {way: Echo(way) for way in ways if way in WAYS}
    lines: list[tuple[dict[str, str], list[str]]] = []
    try:
        for way in ways:
            url = echoes[way].url if way in echoes else f"http://{DEAD}"
            more = settled(tmp_path / "ways" / way, url)
            more |= {
                "THREATWALK_S3_ENDPOINT": url,
                "OTEL_EXPORTER_OTLP_ENDPOINT": url,
                "MLFLOW_TRACKING_URI": f"{url}/mlflow",
            }
            lines += [(more, line) for line in night(tmp_path / "ways" / way, url)]
        away = settled(tmp_path / "away", f"http://{DEAD}")
        lines += [(away | more, line) for more, line in unreachable(canaries)]
        said = run(lines, env, tmp_path / "said.log")
    finally:
        for echo in echoes.values():
            echo.close()

    heard = "\n".join(text for echo in echoes.values() for text in echo.heard).encode()
    texts = [("the log", said), *searched(tmp_path / "ways"), *searched(tmp_path / "away")]
    _verdict(trust, canaries, texts, heard, f"{len(lines)} commands, {len(ways)} ways")
    astray = _astray(canaries, [text for echo in echoes.values() for text in echo.heard])
    assert not astray


def _verdict(
    trust: Trust, canaries: Canaries, texts: list[tuple[str, bytes]], heard: bytes, part: str
) -> None:
    found = {where: places for where, text in texts if (places := canaries.found(text))}
    asked = {place for place in (*KEYED, *OTHERS) if place in canaries.found(heard)}
    silent = {*KEYED, *OTHERS} - asked
    ok = not found and not silent and len(canaries.of) >= 20
    value = f"{len(set().union(*found.values()))} of {len(canaries.of)} canaries found in {len(texts)} texts; {len(silent)} were never told to anybody"
    trust.record("S10", PROPERTY, value=value, figure=FIGURE, ok=ok, part=part)
    assert ok, (found, silent)


def _astray(canaries: Canaries, heard: list[str]) -> dict[str, set[str]]:
    """Canaries that were told to another source than theirs."""
    whose = {name: f.name for f in catalog.CATALOG for name in f.endpoints}
    astray: dict[str, set[str]] = {}
    for told in heard:
        place = urlsplit(told.split(" ")[1]).path.split("/")[1]
        if place in whose:
            friends = {
                f.name for f in catalog.CATALOG for one in (f, *f.successors) if one.name == whose[place]
            }
            wrong = canaries.found(told.encode()) - friends - {whose[place]}
            if wrong:
                astray[place] = wrong
    return astray


def test_dags_keep_and_say_no_secret(trust: Trust, tmp_path: Path) -> None:
    """The five DAGs in Airflow with the commands themselves: its database with XCom and rendered fields, and its logs."""
    if not trust.full:
        pytest.skip(
            "minutes of Airflow: in the full form; tests/integration/test_dags_run.py looks for one key in short"
        )
    canaries = Canaries()
    echo = Echo("bad")
    try:
        planted_ = planted(canaries, echo.url)
        more = settled(tmp_path / "ways/dags", echo.url) | {
            "THREATWALK_VERSION": "0.1.0",
            "MLFLOW_TRACKING_URI": f"{echo.url}/mlflow",
        }
        keys = {name for name in planted_ if name.startswith("THREATWALK_KEY_")}
        for name in keys:
            source = name.removeprefix("THREATWALK_KEY_").lower()
            source = source.replace("_feed", "-feed")
            more[f"AIRFLOW_CONN_{source.upper()}"] = json.dumps(
                {"conn_type": "generic", "password": planted_[name]}
            )
        more["AIRFLOW_CONN_ALERTS"] = json.dumps(
            {"conn_type": "generic", "password": f"http://{DEAD}/{canaries.one('web hook')}"}
        )
        more["AIRFLOW_CONN_SUMMARY"] = json.dumps(
            {"conn_type": "generic", "password": f"http://{DEAD}/{canaries.one('web hook of the summary')}"}
        )
        more["AIRFLOW_CONN_SMTP_DEFAULT"] = json.dumps(
            {
                "conn_type": "smtp",
                "host": "127.0.0.1",
                "port": 9,
                "login": "a",
                "password": canaries.one("mail"),
            }
        )
        more["AIRFLOW__CORE__FERNET_KEY"] = base64.urlsafe_b64encode(
            canaries.one("fernet").encode()[:32].ljust(32, b"x")
        ).decode()
        more |= {name: value for name, value in planted_.items() if name not in keys}
        cases: dict[str, tuple[str, dict[str, str]]] = {
            name: (name, {}) for name in ("collect", "record", "retrain", "promote", "analyze")
        }
        run([(more, ["queue", "add", *SAMPLES])], environment(tmp_path / "nowhere"), tmp_path / "said.log")
        (tmp_path / "ways/airflow").mkdir()
        ran = play(cases, tmp_path / "ways/airflow", more)
    finally:
        echo.close()

    texts = [
        ("the log", ran["logs"].encode()),
        ("what came of it", json.dumps(ran["done"]).encode()),
        *searched(tmp_path / "ways"),
    ]
    found = {where: places for where, text in texts if (places := canaries.found(text))}
    ok = not found and len(canaries.of) >= 20 and len(ran["done"]) == 5
    states = ", ".join(f"{name} {one['run']}" for name, one in ran["done"].items())
    value = f"{len(set().union(*found.values()))} of {len(canaries.of)} canaries found in {len(texts)} texts ({states})"
    trust.record("S10", PROPERTY, value=value, figure=FIGURE, ok=ok, part="DAGs")
    assert ok, found


def test_the_search_finds(tmp_path: Path) -> None:
    """Each dress, in each place that is looked into."""
    canaries = Canaries()
    key = canaries.many("source", 2)
    with closing(sqlite3.connect(tmp_path / "archive.db")) as database:
        database.execute("CREATE TABLE answers (raw BLOB)")
        database.execute(
            "INSERT INTO answers VALUES (?)", [zlib.compress(f'{{"you said": "{key}"}}'.encode())]
        )
        database.commit()
    pq.write_table(pa.table({"value": [f"/?key={quote(key, safe='')}"]}), tmp_path / "walks.parquet")
    basic = base64.b64encode(f"x{key}".encode()).decode()
    (tmp_path / "some.log").write_text(f"Authorization: Basic {basic}\n")

    found = {where.partition(",")[0] for where, text in searched(tmp_path) if canaries.found(text)}
    assert found == {"archive.db", "walks.parquet", "some.log"}
