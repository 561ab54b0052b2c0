"""Public pivot trails as they were published: TweetFeed and Maltrail in the shared data folder."""

import json
import os
import subprocess
import sys
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest

from threatwalk.archive.trails import cited_answers, lookup
from threatwalk.learning.implied import hubs
from threatwalk.reports.read import read
from threatwalk.reports.trails import blocks, tweeted_at, tweets
from threatwalk.sample import NETWORK_KINDS

pytestmark = pytest.mark.shared

ELEVEN = {"dns", "whois", "virustotal", "isc", "passivetotal", "shodan", "censys", "threatcrowd", "threatexpert", "otx",
          "nsrl"}  # fmt: skip


@pytest.fixture
def maltrail(shared: Path) -> list[Path]:
    files = sorted((shared / "data" / "maltrail").rglob("*.txt"))
    if not files:
        pytest.skip("the shared data folder holds no maltrail")
    return files


@pytest.fixture
def tweetfeed(shared: Path) -> Path:
    folder = shared / "data" / "tweetfeed"
    if not folder.is_dir():
        pytest.skip("the shared data folder holds no tweetfeed")
    return folder


def test_nearly_every_value_of_the_newest_tweets_is_a_sample(tweetfeed: Path) -> None:
    reports = [report for path in sorted(tweetfeed.glob("2026/*/*.csv")) for report in read(path)]

    samples = sum(len(report.goal) for report in reports)
    rejected = sum(len(report.rejected) for report in reports)
    assert len(reports) > 5_000
    assert samples > 30_000
    assert rejected < samples / 1000
    assert len({report.id for report in reports}) > len(reports) - 10  # two tweets stand in two days


def test_the_date_of_a_tweet_agrees_with_its_number(tweetfeed: Path) -> None:
    reports = [report for path in sorted(tweetfeed.glob("2026/*/*.csv"))[:20] for report in read(path)]

    sent = [tweeted_at(report.id) for report in reports]

    agree = sum(
        s is not None and s.date() == report.published for s, report in zip(sent, reports, strict=True)
    )
    assert agree > 0.98 * len(reports)


def test_older_tweets_are_read_as_a_stream_out_of_the_tar_file(tweetfeed: Path) -> None:
    first = list(islice(tweets(tweetfeed), 2000))

    assert all("older.tar.xz/" in report.path for report in first)
    assert all(report.published is not None and report.published.year < 2027 for report in first)


def test_cited_pages_of_virustotal_are_understood(maltrail: list[Path]) -> None:
    understood: Counter[bool] = Counter()
    for path in maltrail[:400]:
        with path.open(encoding="utf-8", errors="replace") as file:
            for block in blocks(file):
                for url, _ in block.references:
                    if "virustotal.com/" in url and not any(
                        word in url for word in ("/collection/", "/url/", "blog.")
                    ):
                        understood[lookup(url) is not None] += 1

    assert understood[True] > 1000
    assert understood[False] < understood[True] / 200


def test_cited_answers_are_of_known_sources_about_the_right_kinds(maltrail: list[Path]) -> None:
    entries = [entry for path in maltrail[:200] for entry in cited_answers(path)]

    assert {entry.filter for entry in entries} <= ELEVEN
    assert all(
        entry.sample.kind in NETWORK_KINDS for entry in entries if entry.filter in {"shodan", "censys"}
    )


def test_hubs_are_found_in_the_real_warning_lists(shared: Path) -> None:
    if not (shared / "data" / "warninglists").is_dir():
        pytest.skip("the shared data folder holds no warninglists")

    known = hubs(shared / "data" / "warninglists")

    assert len(known.first) > 5000
    assert "duckdns.org" in known.names
    assert (known.first[1:] >= known.first[:-1]).all()


MEASURED = """
import json, sys, time
from pathlib import Path
from threatwalk.archive.store import Archive
from threatwalk.archive.trails import import_trails

archive, begun = Archive.open(sys.argv[1]), time.process_time()
first = import_trails(archive, Path(sys.argv[2]), lambda line: None)
seconds = time.process_time() - begun
again = import_trails(archive, Path(sys.argv[2]), lambda line: None)
# not ru_maxrss: that also counts what the process was before it became this one, a copy of the tests' own
(peak,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
megabytes = int(peak.split()[1]) / 1024
print(json.dumps({"new": first.new, "again": again.new, "seconds": seconds, "megabytes": megabytes}))
"""


@pytest.mark.slow
def test_everything_is_imported_quickly_in_little_memory_and_once(
    maltrail: list[Path], shared: Path, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"

    done = subprocess.run(
        [sys.executable, "-c", MEASURED, url, str(shared / "data")],
        check=True, capture_output=True, text=True, env=dict(os.environ, OMP_NUM_THREADS="1"),
    )  # fmt: skip

    measured = json.loads(done.stdout)
    assert measured["new"] > 60_000
    assert measured["again"] == 0
    assert measured["seconds"] < 120  # of processor time
    assert measured["megabytes"] < 400
