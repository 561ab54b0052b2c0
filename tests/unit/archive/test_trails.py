import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from threatwalk.archive import rows
from threatwalk.archive.store import Archive
from threatwalk.archive.trails import address_answers, cited_answers, host_answers, import_trails, lookup
from threatwalk.errors import DataError
from threatwalk.pivot import Outcome
from threatwalk.sample import Kind, Sample

HASH = "0d6ec06d1445e11e817a8749198e9a5a31e5a04bec63d3629b7637e7cbe1d839"
IP = Sample(Kind.IPV4, "192.0.2.1")


@pytest.mark.parametrize(
    ("url", "question"),
    [
        (f"https://www.virustotal.com/gui/file/{HASH}/detection", ("virustotal", Sample(Kind.SHA256, HASH))),
        (f"https://www.virustotal.com/en/file/{HASH}/analysis/", ("virustotal", Sample(Kind.SHA256, HASH))),
        (f"https://www.virustotal.com/#/file/{HASH[:32]}/behavior", ("virustotal", Sample(Kind.MD5, HASH[:32]))),
        ("https://virustotal.com/gui/ip-address/192.0.2.1/relations", ("virustotal", IP)),
        ("https://www.virustotal.com/gui/domain/a.example.com/relations",
         ("virustotal", Sample(Kind.HOSTNAME, "a.example.com"))),
        (f"https://www.threatcrowd.org/malware.php?md5={HASH[:32]}", ("threatcrowd", Sample(Kind.MD5, HASH[:32]))),
        ("https://threatcrowd.org/ip.php?ip=192.0.2.1", ("threatcrowd", IP)),
        ("https://app.validin.com/detail?type=ip&find=192.0.2.1#tab=resolutions", ("passivetotal", IP)),
        ("https://app.validin.com/axon?find=192.0.2.1", ("passivetotal", IP)),
        ("https://beta.shodan.io/host/192.0.2.1#20547", ("shodan", IP)),
        ("https://search.censys.io/hosts/192.0.2.1/data/table#80-TCP-HTTP", ("censys", IP)),
        ("https://censys.io/ipv4/192.0.2.1", ("censys", IP)),
        (f"https://otx.alienvault.com/indicator/file/{HASH}/", ("otx", Sample(Kind.SHA256, HASH))),
        ("https://otx.alienvault.com/pulse/5ad5df3d4ee4be0c2ad3a8d3", None),
        ("https://www.virustotal.com/gui/url/abc/detection", None),
        ("https://www.virustotal.com/gui/ip-address/900.1.1.1/relations", None),
        ("https://app.validin.com/detail?type=hash&find=abc", None),
        ("https://www.threatcrowd.org/searchTwo.php?data=sinkhole", None),
        ("https://blog.example.org/gui/file/x", None),
        ("https://[broken/", None),
    ],
)  # fmt: skip
def test_a_cited_page_is_a_question_or_none(url: str, question: tuple[str, Sample] | None) -> None:
    assert lookup(url) == question


def maltrail(folder: Path, text: str) -> Path:
    path = folder / "maltrail" / "trails" / "static" / "malware" / "family.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


OLD_TWEET = "https://twitter.com/Someone/status/1437929241295818753"  # 2021-09-15
TEXT = f"""
# Reference: {OLD_TWEET}
# Reference: https://www.virustotal.com/gui/ip-address/192.0.2.1/relations
# Reference: https://www.virustotal.com/gui/file/{HASH}/detection

192.0.2.1
example.com

# Reference: https://blog.example.org/report
# Reference: https://beta.shodan.io/host/192.0.2.9

example.net

# Reference: https://app.validin.com/detail?find=192.0.2.8&type=ip4 (# 2024-11-30)

example.org

# Reference: https://beta.shodan.io/host/192.0.2.7

example.edu
"""


def test_each_cited_page_answers_with_the_hosts_of_its_block(tmp_path: Path) -> None:
    by_ip, by_file, shodan, passive, _ = cited_answers(maltrail(tmp_path, TEXT))

    read = list(rows.read(by_ip.filter, by_ip.sample, by_ip.stored.raw))
    assert [(pivot.origin, pivot.filter, pivot.found.value) for pivot in read] == [
        (IP, "virustotal", "example.com")
    ]
    assert (by_file.sample.value, shodan.filter, passive.filter) == (HASH, "shodan", "passivetotal")
    found = {pivot.found.value for pivot in rows.read("virustotal", by_file.sample, by_file.stored.raw)}
    assert found == {"192.0.2.1", "example.com"}


def test_a_pivot_names_the_report_that_its_block_cites(tmp_path: Path) -> None:
    entries = list(cited_answers(maltrail(tmp_path, TEXT)))

    references = [next(iter(rows.read(one.filter, one.sample, one.stored.raw))).reference for one in entries]

    assert references == [
        "https://x.com/someone/status/1437929241295818753",
        "https://x.com/someone/status/1437929241295818753",
        "https://blog.example.org/report",
        "https://app.validin.com/detail?find=192.0.2.8&type=ip4",
        "https://beta.shodan.io/host/192.0.2.7",
    ]


def test_several_tweets_of_a_block_are_all_named(tmp_path: Path) -> None:
    text = TEXT.replace(OLD_TWEET, f"{OLD_TWEET}\n# Reference: https://x.com/b/status/1437929241295818754")

    entry = next(cited_answers(maltrail(tmp_path, text)))

    (pivot,) = rows.read(entry.filter, entry.sample, entry.stored.raw)
    assert pivot.reference == (
        "https://x.com/b/status/1437929241295818754 https://x.com/someone/status/1437929241295818753"
    )


def test_only_what_is_known_is_an_answers_date_and_pivots_are_never_too_old(tmp_path: Path) -> None:
    newest = datetime(2026, 8, 1, tzinfo=UTC)
    entries = list(cited_answers(maltrail(tmp_path, TEXT), newest))

    asked = [one.stored.asked_at and one.stored.asked_at.date().isoformat() for one in entries]
    seen = [next(iter(rows.read(one.filter, one.sample, one.stored.raw))).first_seen for one in entries]

    assert asked == ["2021-09-15", "2021-09-15", None, "2024-11-30", None]
    assert [one and one.date().isoformat() for one in seen] == [
        "2021-09-15",
        "2021-09-15",
        "2024-11-30",  # of the next dated block
        "2024-11-30",
        "2026-08-01",  # nothing later is dated
    ]


def table(folder: Path, name: str, entries: dict[str, dict[str, object]]) -> Path:
    path = folder / name / "00.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"count": len(entries), "entries": entries}))
    return path


CHECKED = "2026-08-16T22:00:44Z"


@pytest.mark.parametrize(
    ("entry", "outcomes"),
    [
        ({"status": "ok", "ips": ["192.0.2.1"], "ns": ["NS1.EXAMPLE.NET"]},
         {("dns", "a.example.com"): "found", ("whois", "a.example.com"): "found", ("whois", "example.com"): "found"}),
        ({"status": "ok", "ips": None, "ns": None}, {}),
        ({"status": "tld_unsupported", "ips": [], "ns": None}, {("dns", "a.example.com"): "empty"}),
        ({"status": "nxdomain", "ips": None, "ns": None},
         {("dns", "a.example.com"): "empty", ("whois", "a.example.com"): "empty", ("whois", "example.com"): "empty"}),
        ({"status": "ok", "ips": ["no address"], "ns": None}, {}),
    ],
    ids=["both", "unknown", "empty", "no such name", "nonsense"],
)  # fmt: skip
def test_null_is_unknown_and_nxdomain_is_empty(
    tmp_path: Path, entry: dict[str, object], outcomes: dict[tuple[str, str], str]
) -> None:
    path = table(tmp_path, "domainmeta", {"a.example.com": {"checked_at": CHECKED, **entry}})

    assert {(one.filter, one.sample.value): one.stored.outcome for one in host_answers(path)} == outcomes


def test_a_host_may_come_with_port_and_path(tmp_path: Path) -> None:
    hosts = {text: {"checked_at": CHECKED, "status": "ok", "ips": ["192.0.2.1"], "ns": None}
             for text in ("a.example.com:8080", "b.example.com/x/y.html", "192.0.2.5", "no host")}  # fmt: skip

    entries = list(host_answers(table(tmp_path, "domainmeta", hosts)))

    assert [one.sample.value for one in entries] == ["a.example.com", "b.example.com"]
    assert entries[0].stored.asked_at == datetime(2026, 8, 16, 22, 0, 44, tzinfo=UTC)


def test_an_address_that_was_looked_up_named_no_sample(tmp_path: Path) -> None:
    path = table(tmp_path, "ipmeta", {"192.0.2.1": {"org": "AS64496", "fetched_at": CHECKED}})

    (entry,) = address_answers(path)

    assert (entry.filter, entry.sample, entry.stored.outcome) == ("whois", IP, Outcome.EMPTY)


def test_everything_below_a_folder_is_imported_once(tmp_path: Path) -> None:
    maltrail(tmp_path, TEXT)
    table(tmp_path, "tweetfeed/ipmeta", {"192.0.2.1": {"fetched_at": CHECKED}})
    (tmp_path / "tweetfeed" / "ipmeta" / "meta.json").write_text('{"shards": 256}')
    archive = Archive.open(f"sqlite:///{tmp_path / 'a.db'}")
    lines: list[str] = []

    first = import_trails(archive, tmp_path, lines.append)
    second = import_trails(archive, tmp_path, lines.append)

    assert (first.answers, first.new, second.new) == (6, 6, 0)
    assert archive.counts()["virustotal"] == {Outcome.FOUND: 2}
    assert lines[:2] == ["maltrail: 1 files, 5 answers", "tweetfeed ipmeta: 2 files, 1 answers"]


def test_a_folder_without_trails_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds neither Maltrail's trails nor TweetFeed's"):
        import_trails(Archive.open("sqlite://"), tmp_path, print)


def test_a_broken_table_is_named(tmp_path: Path) -> None:
    table(tmp_path, "ipmeta", {}).write_text("{")

    with pytest.raises(DataError, match=r"00\.json is no table of TweetFeed"):
        import_trails(Archive.open("sqlite://"), tmp_path, print)
