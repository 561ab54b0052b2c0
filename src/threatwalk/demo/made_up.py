"""The demo: the whole platform against the emulator's made-up internet."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from threatwalk.demo.drive import Job, Journal, enqueue, run_job
from threatwalk.demo.platform import Ports, commands, platform_environment
from threatwalk.demo.services import Service

SEED = 7
REPORTS = 240
HELD_BACK = 12  # campaigns that nobody has published yet: their trailheads are what the night analyses
KEY = "emulated"

VALUES: dict[str, Any] = {
    "filters": ["dns", "whois", "virustotal", "shodan", "otx"],
    "gate.active_dns": True,
    # a made-up internet has hubs of its own, and an NSRL that is one more source
    "gate.warning_lists": [],
    "gate.exact_lists": [],
    "gate.known_good": [],
    "record.pap": "clear",
    "promote.approval": "gate",  # nobody sits beside it
    "contract.compare": False,  # another seed or size is another internet, no later state of the same
    "record.questions": 20000,
    "train.selective.episodes": 6000,  # two hundred reports are soon learned
    "train.threatwalk.episodes": 60000,
}
TIMEOUTS_S = {"collect": 120, "record": 400, "retrain": 600, "promote": 240, "analyze": 300}


def demo(home: Path, ports: Ports, project: Path) -> dict[str, Any]:
    """Run the demo below `home`; returns its summary (see `drive.run_job`)."""
    keys = {f"AIRFLOW_CONN_{source}": f"generic://:{KEY}@" for source in ("VIRUSTOTAL", "SHODAN", "OTX")}
    env = platform_environment(
        home,
        ports,
        project,
        THREATWALK_ENDPOINTS=str(home / "endpoints.json"),
        DATASETS_REMOTE=str(home / "datasets.git"),
        **keys,
    )
    job = Job("demo", home, project, dict(VALUES), env, _start, _queue, lambda *_: {}, TIMEOUTS_S)
    return run_job(job, ports)


def _start(job: Job, journal: Journal) -> Sequence[Service]:
    journal.tell(f"making an internet of {REPORTS} reports (seed {SEED}) ...")
    endpoints = job.home / "endpoints.json"
    endpoints.unlink(missing_ok=True)
    argv = [str(commands() / "threatwalk"), "emulator", "--seed", str(SEED), "--reports", str(REPORTS)]
    argv += ["--hold-back", str(HELD_BACK), "--indicators", str(job.home / "indicators.txt")]
    argv += ["--endpoints", str(endpoints)]
    emulator = Service("the emulator", argv, job.env, job.home / "logs" / "emulator.log", job.project)
    emulator.start()
    try:
        emulator.wait(endpoints.exists, 120)
    except BaseException:
        emulator.stop()
        raise
    feed = json.loads(endpoints.read_text(encoding="utf-8"))["feed"]
    job.values["feeds"] = [{"name": "emulated", "form": "misp", "url": feed, "tlp": "clear"}]
    journal.tell("the emulator is up: a MISP feed, DNS, WHOIS, RDAP, VirusTotal, Shodan, OTX on loopback")
    return [emulator]


def _queue(job: Job, _dataset: Path, _journal: Journal) -> int:
    """Queue the held-back trailheads: made up, hence TLP:CLEAR and PAP:CLEAR with active DNS chosen."""
    return enqueue(job, job.home / "indicators.txt", "--active-dns", "--note", "demo")
