import io
import tarfile
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from threatwalk.errors import DocumentError
from threatwalk.reports import trails
from threatwalk.sample import Kind, Sample

TWEET = "https://twitter.com/Someone/status/1437929241295818753"
DAY = (
    f"2021-09-15 00:00:21,Someone,url,hxxps://login[.]example.com/a,#phishing,{TWEET}\r\n"
    "2021-09-15 00:03:47,other,domain,example.net,,https://x.com/other/status/1437930105637015553\r\n"
    f"2021-09-15 00:00:21,Someone,ip,192.0.2.4,#phishing,{TWEET}\r\n"
    f'2021-09-15 00:00:21,Someone,url,"http://example.org/a,b",#phishing,{TWEET}\r\n'
    f"2021-09-15 00:00:21,Someone,ip,400.1.1.1,#phishing,{TWEET}\r\n"
)


def packed(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:xz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def test_a_day_of_tweets_is_recognised_by_its_first_line() -> None:
    assert trails.recognises(DAY.encode())
    assert trails.recognises(b"\xef\xbb\xbf" + DAY.encode())
    assert not trails.recognises(b"date,author,kind,value\n")
    assert not trails.recognises(b'{"Event": {}}')
    assert not trails.recognises(b"")


def test_tables_of_lookups_are_no_reports() -> None:
    assert trails.is_lookups({"count": 1, "entries": {"192.0.2.1": {}}})
    assert trails.is_lookups({"generated_at": "2026", "scheme": "sha256[:2]", "shards": 256, "total": 1})
    assert not trails.is_lookups({"Event": {}})
    assert not trails.is_lookups([])


def test_each_tweet_is_a_report(tmp_path: Path) -> None:
    (tmp_path / "20210915.csv").write_text(DAY, newline="")

    one, other = trails.read(tmp_path / "20210915.csv")

    assert one.id == "https://x.com/someone/status/1437929241295818753"
    assert (one.title, one.published, one.source) == ("Someone, 2021-09-15", date(2021, 9, 15), "tweetfeed")
    assert one.goal == {
        Sample(Kind.URL, "https://login.example.com/a"),
        Sample(Kind.IPV4, "192.0.2.4"),
        Sample(Kind.URL, "http://example.org/a,b"),
    }
    assert [rejected.value for rejected in one.rejected] == ["400.1.1.1"]
    assert other.goal == {Sample(Kind.DOMAIN, "example.net")}


@pytest.mark.parametrize(
    "content",
    [b"one,two\n", b"\xff\xfe\x00\n", DAY.encode() + b'2021-09-15 00:00:21,"x' + b"y" * 200_000],
    ids=["too few columns", "no text", "an open quote"],
)
def test_a_broken_day_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "20210915.csv").write_bytes(content)

    with pytest.raises(DocumentError, match=r"20210915\.csv"):
        list(trails.read(tmp_path / "20210915.csv"))


def test_older_days_are_read_out_of_the_tar_file(tmp_path: Path) -> None:
    packed(tmp_path / "older.tar.xz", {"./20210915.csv": DAY.encode(), "./README": b"no day"})
    (tmp_path / "2026").mkdir()
    (tmp_path / "2026" / "20260401.csv").write_text(
        DAY.replace("1437", "2039").replace("2021-09-15", "2026-04-01")
    )
    (tmp_path / "2026" / "notes.csv").write_text("no day")

    published = [report.published for report in trails.tweets(tmp_path)]

    assert published == [date(2021, 9, 15)] * 2 + [date(2026, 4, 1)] * 2
    assert trails.recognises((tmp_path / "older.tar.xz").read_bytes()[:16])
    assert len(list(trails.read(tmp_path / "older.tar.xz"))) == 2


def test_nothing_of_a_tar_file_is_written_anywhere(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    packed(folder / "older.tar.xz", {"../20210915.csv": DAY.encode(), "/tmp/../20210916.csv": DAY.encode()})

    assert len(list(trails.tweets(folder))) == 4
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["in", "older.tar.xz"]


def test_links_and_oversized_members_are_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tarfile.TarInfo("20210915.csv")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
    with tarfile.open(tmp_path / "older.tar.xz", "w:xz") as tar:
        tar.addfile(link)
    assert list(trails.tweets(tmp_path)) == []

    monkeypatch.setattr(trails, "MAX_DAY_BYTES", 10)
    packed(tmp_path / "older.tar.xz", {"20210915.csv": DAY.encode()})
    with pytest.raises(DocumentError, match="too many for a day of tweets"):
        list(trails.tweets(tmp_path))


def test_a_file_that_unpacks_to_too_much_is_refused_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trails, "MAX_UNPACKED_BYTES", 1_000_000)
    packed(tmp_path / "older.tar.xz", {f"{number}.txt": b" " * 300_000 for number in range(4)})

    with pytest.raises(DocumentError, match=r"older\.tar\.xz unpacks to more than 1,000,000 bytes"):
        list(trails.tweets(tmp_path))


def test_a_broken_tar_file_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "older.tar.xz", {"20210915.csv": DAY.encode() * 99})
    path.write_bytes(path.read_bytes()[:-60])

    with pytest.raises(DocumentError, match=r"older\.tar\.xz is no tar\.xz file, or a broken one"):
        list(trails.tweets(tmp_path))


@pytest.mark.parametrize(
    ("url", "one"),
    [
        ("https://twitter.com/Some_One/status/12", "https://x.com/some_one/status/12"),
        ("http://mobile.twitter.com/a/statuses/12?s=20", "https://x.com/a/status/12"),
        ("https://x.com/a/status/12/photo/1", "https://x.com/a/status/12"),
        ("https://example.com/a/status/12", None),
        ("https://x.com/a", None),
    ],
)
def test_a_tweet_has_one_address(url: str, one: str | None) -> None:
    assert trails.tweet(url) == one


def test_a_tweets_number_tells_its_time() -> None:
    assert trails.tweeted_at(TWEET) == datetime(2021, 9, 15, 0, 0, 21, 215000, tzinfo=UTC)
    assert trails.tweeted_at("https://x.com/a/status/20") is None  # older than such numbers
    assert trails.tweeted_at("https://x.com/a/status/99999999999999999999") is None
    assert trails.tweeted_at("https://example.com/") is None


MALTRAIL = """\
# Copyright (c) somebody

# Reference: https://blog.example.org/one (# 2024-11-30)
# Reference:https://www.virustotal.com/gui/ip-address/192.0.2.1/relations

example.com
192.0.2.1:8443
/path.php

# Generic

unknown.example.org

# Refernce: https://x.com/a/status/12

example.net
""".splitlines()


def test_a_block_is_references_and_the_hosts_below_them() -> None:
    one, two = trails.blocks(MALTRAIL)

    assert one.references == (
        ("https://blog.example.org/one", "(# 2024-11-30)"),
        ("https://www.virustotal.com/gui/ip-address/192.0.2.1/relations", ""),
    )
    assert one.hosts() == {Sample(Kind.DOMAIN, "example.com"), Sample(Kind.IPV4, "192.0.2.1")}
    assert two.references == (("https://x.com/a/status/12", ""),)
    assert two.trails == ("example.net",)


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("a.example.com", Sample(Kind.HOSTNAME, "a.example.com")),
        ("192.0.2.1:80", Sample(Kind.IPV4, "192.0.2.1")),
        ("example.com:4433", Sample(Kind.DOMAIN, "example.com")),
        ("http://192.0.2.1", Sample(Kind.URL, "http://192.0.2.1/")),
        ("example.com/gate.php", Sample(Kind.URL, "http://example.com/gate.php")),
        ("2001:db8::1", Sample(Kind.IPV6, "2001:db8::1")),
        ("example.com # a note", Sample(Kind.DOMAIN, "example.com")),
        ("/gate.php", None),
        ("192.0.2.0/24", Sample(Kind.URL, "http://192.0.2.0/24")),
        ("no.suffix.here-", None),
    ],
)
def test_a_line_of_maltrail_is_a_sample_or_none(line: str, meant: Sample | None) -> None:
    assert trails.trail(line) == meant
