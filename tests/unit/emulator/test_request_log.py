import json
from pathlib import Path

from threatwalk.emulator.faults import Fault
from threatwalk.emulator.log import RequestLog


def test_a_line_says_who_was_asked_what_and_hides_the_key(tmp_path: Path) -> None:
    log = RequestLog(tmp_path / "var" / "log.jsonl")
    log.write("shodan", "/shodan/api-info?minify=true&key=secret&page=2", 200, Fault("slow", 1.0))
    log.close()

    line = json.loads((tmp_path / "var" / "log.jsonl").read_text())
    assert line["source"] == "shodan"
    assert line["question"] == "/shodan/api-info?minify=true&key=REDACTED&page=2"
    assert (line["status"], line["fault"]) == (200, "slow")


def test_without_a_path_nothing_is_written(tmp_path: Path) -> None:
    log = RequestLog()
    log.write("dns", "example.com. A", "NOERROR")
    log.close()

    assert list(tmp_path.iterdir()) == []
