"""An installation that is offline asks nobody."""

from pathlib import Path

from click.testing import CliRunner

from threatwalk.archive.store import Archive
from threatwalk.cli.record import record
from threatwalk.gate.gate import Caller, Gate
from threatwalk.params import load
from threatwalk.pivot import Outcome
from threatwalk.reports.report import Pap, Tlp
from threatwalk.sample import parse
from threatwalk.sources import catalog

ROOT = Path(__file__).parents[3]


async def test_an_offline_gate_sends_nothing_and_says_why(tmp_path: Path) -> None:
    params = load(ROOT / "params.yaml")
    archive = Archive.open(f"sqlite:///{tmp_path / 'a.db'}")
    filters = catalog.chosen(["otx"])
    dead = {"otx": "http://127.0.0.1:9"}
    async with Gate(archive, filters, params.gate, dead, caller=Caller.ASK, offline=True) as gate:
        answer = await gate.ask(
            "otx", parse("evil.example.org"), tlp=Tlp.CLEAR, pap=Pap.CLEAR, active_dns=False
        )
        requests = gate.requests("otx")

    assert answer.outcome is Outcome.NOT_ASKED
    assert "offline" in (answer.reason or "")
    assert requests == 0


def test_an_offline_recorder_stops_before_it_reads_a_report(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("THREATWALK_OFFLINE", "1")
    done = CliRunner().invoke(record, ["--params", str(ROOT / "params.yaml")])

    assert done.exit_code == 0
    assert "nothing is asked" in done.output
