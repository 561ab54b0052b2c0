"""What there is to watch, and a collector that takes it by OTLP."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from threatwalk.archive import database
from threatwalk.archive.ledger import By, Ledger
from threatwalk.cli.metrics import metrics as command
from threatwalk.desk.metrics import UNITS, metrics
from threatwalk.desk.queue import Queue, Wanted
from threatwalk.errors import SettingsError, UnavailableError
from threatwalk.gate import quota, tables
from threatwalk.gate.breaker import Breaker
from threatwalk.gate.nights import Nights
from threatwalk.sample import Kind, Sample
from threatwalk.sources.filter import Quota

NOW = datetime(2026, 5, 1, 23, tzinfo=UTC)
DASHBOARD = Path(__file__).parents[3] / "docs/dashboard.json"


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An installation in the midst of a night."""
    url = f"sqlite:///{tmp_path / 'a.db'}"
    monkeypatch.setenv("THREATWALK_DATABASE", url)
    engine = database.engine(url)
    tables.create(engine)
    queue = Queue(engine, lambda: NOW - timedelta(hours=1))
    queue.add([Wanted(Sample(Kind.DOMAIN, f"{i}.example.org")) for i in range(5)])
    first, _ = queue.claim(2, "w", 60)
    queue.finish(first.id, "w", run="r", result="x")
    nights = Nights(engine, lambda: NOW)
    nights.count("otx", "found", 2.0)
    nights.count("otx", "failed", 4.0)
    nights.keep()
    quota.Ledger(engine).grant("virustotal", Quota(per_day=500), requests=20, now=lambda: NOW)
    Breaker("otx", engine, failures=1, wait_s=60, probe_s=1, now=lambda: NOW).failed("HTTP 503")
    Ledger(engine).write(
        who="a", by=By.GATE, from_version=None, to_version=7, policy="selective", reason="", done=True
    )
    engine.dispose()
    return url


def test_every_figure_is_read_from_the_database(url: str) -> None:
    engine = database.engine(url)
    found = {str(one).rpartition(" ")[0]: one.value for one in metrics(engine, NOW)}
    engine.dispose()

    assert found['threatwalk.queue.depth{state="queued"}'] == 3
    assert found['threatwalk.queue.depth{state="leased"}'] == 1
    assert found["threatwalk.queue.age"] == 3600
    assert found['threatwalk.analyses{state="done"}'] == 1
    assert found['threatwalk.lookups{source="otx",outcome="found"}'] == 1
    assert found['threatwalk.lookups{source="otx",outcome="failed"}'] == 1
    assert found['threatwalk.lookup.time{source="otx"}'] == 3.0
    assert found['threatwalk.drift{source="otx"}'] == 0
    assert found['threatwalk.quota.left{source="virustotal",span="day"}'] == 480
    assert found['threatwalk.breaker{source="otx"}'] == 2
    assert found['threatwalk.model.version{policy="selective"}'] == 7


class Collector(BaseHTTPRequestHandler):
    """Takes what is posted; one that is `away` says so."""

    taken: list[ExportMetricsServiceRequest]
    status = 200

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.taken.append(ExportMetricsServiceRequest.FromString(body))
        self.send_response(self.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Collector]]:
    kind = type("OneCollector", (Collector,), {"taken": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield kind
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_collector_gets_them_all(url: str, collector: type[Collector]) -> None:
    done = CliRunner().invoke(command, ["--export"], catch_exceptions=False)

    (request,) = collector.taken
    (resource,) = request.resource_metrics
    sent = {metric.name for scope in resource.scope_metrics for metric in scope.metrics}
    printed = CliRunner().invoke(command, ["--json"], catch_exceptions=False).output
    assert done.exit_code == 0
    assert {a.key: a.value.string_value for a in resource.resource.attributes}["service.name"] == "threatwalk"
    assert sent == {json.loads(line)["name"] for line in printed.splitlines()}
    assert sent <= set(UNITS)


def test_a_collector_that_refuses_is_named(url: str, collector: type[Collector]) -> None:
    collector.status = 400

    with pytest.raises(UnavailableError, match="OTEL_EXPORTER_OTLP_ENDPOINT"):
        CliRunner().invoke(command, ["--export"], catch_exceptions=False)


def test_without_an_endpoint_nothing_is_sent(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", raising=False)

    with pytest.raises(SettingsError, match="needs OTEL_EXPORTER_OTLP_ENDPOINT"):
        CliRunner().invoke(command, ["--export"], catch_exceptions=False)


def test_the_example_dashboard_shows_every_figure_and_no_other() -> None:
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    shown = " ".join(target["expr"] for panel in panels for target in panel["targets"])
    names = {name.replace(".", "_") for name in UNITS}

    assert {name for name in names if name in shown} == names
    assert not [
        word
        for word in shown.replace("(", " ").split()
        if word.startswith("threatwalk") and not any(map(word.startswith, names))
    ]
