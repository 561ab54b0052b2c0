"""ThreatCrowd's recorded answers, read by its adapter. Expected pivots are written from the bodies.

No report of an address or a file was recorded: their bodies here follow the interface's description.
"""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.contract.sources.recordings import ELSEWHERE, bodies, found, pivots, text

from threatwalk.errors import AnswerError
from threatwalk.sample import parse


def body(shared: Path, name: str) -> str:
    return text(shared / "data" / "providers" / "threatcrowd" / name)


def test_every_recorded_body_is_read(shared: Path) -> None:
    read = {name: pivots("threatcrowd", ELSEWHERE, raw) for name, raw in bodies(shared, "threatcrowd")}

    assert len(read) >= 4
    assert sum(map(bool, read.values())) >= 3  # the fourth says that nothing is known


SUBDOMAINS = (
    "media e finance game zone share update flash mail webmail email info auto pop ftp smtp ks stratos "
    "documents sports news www"
)


def test_a_domain_has_addresses_and_subdomains(shared: Path) -> None:
    raw = body(shared, "hrbrmstr_domain_aoldaily.com.json")

    assert found("threatcrowd", "domain:aoldaily.com", raw) == {
        *("ipv4:50.116.42.33", "ipv4:50.63.202.70", "ipv4:66.228.48.134", "ipv4:69.195.129.70"),
        *("ipv4:69.195.129.72", "ipv4:81.166.122.234"),
        *(f"hostname:{name}.aoldaily.com" for name in SUBDOMAINS.split()),
    }


def test_a_resolution_is_dated_by_its_last_day_and_cites_a_report(shared: Path) -> None:
    raw = body(shared, "hrbrmstr_domain_aoldaily.com.json")

    read = {str(pivot.found): pivot for pivot in pivots("threatcrowd", parse("domain:aoldaily.com"), raw)}

    assert read["ipv4:50.116.42.33"].last_seen == datetime(2013, 9, 3, tzinfo=UTC)
    assert read["ipv4:50.116.42.33"].first_seen is None
    assert read["ipv4:66.228.48.134"].last_seen is None  # 0000-00-00
    assert read["ipv4:50.116.42.33"].reference == "http://blog.shadowserver.org/2013/02/"


def test_the_files_of_an_antivirus_name_are_md5s(shared: Path) -> None:
    raw = body(shared, "apiv2_1.json")

    read = found("threatcrowd", "ipv4:203.0.113.9", raw)

    assert len(read) == 50
    assert {one.partition(":")[0] for one in read} == {"md5"}
    assert {
        "md5:321c1d36c16833477ada58ccfa012c6e",
        "md5:22201573c8831f01293c611f8d851bf1",
        "md5:c557b6dc0edab783781fd9312f6886c3",
    } <= read


def test_the_domains_of_an_email_address(shared: Path) -> None:
    raw = body(shared, "apiv2_2.json")

    assert found("threatcrowd", "domain:aoldaily.com", raw) == {
        *("domain:aunewsonline.com", "domain:cnndaily.com", "domain:usnewssite.com"),
    }


def test_what_is_not_known_is_read_as_nothing(shared: Path) -> None:
    assert found("threatcrowd", "ipv4:1.2.3.4", body(shared, "notfound.json")) == set()


MD5 = "md5:31d0e421894004393c48de1769744687"


@pytest.mark.parametrize(
    ("sample", "answer", "expected"),
    [
        pytest.param(
            MD5,
            {
                "md5": "31d0e421894004393c48de1769744687",
                "sha1": "4f0eb746d81a616fb9bdff058997ef47a4209a76",
                "scans": ["", "Malware-gen"],
                "hashes": ["", "93cc00543b369a24c4db031b0411c65a"],
                "ips": ["198.51.100.8", "0.0.0.0", "-"],
                "domains": ["files.example.com\r", "example.org"],
                "references": [""],
            },
            {
                "sha1:4f0eb746d81a616fb9bdff058997ef47a4209a76",
                "md5:93cc00543b369a24c4db031b0411c65a",
                "ipv4:198.51.100.8",
                "hostname:files.example.com",
                "domain:example.org",
            },
            id="a file",
        ),
        pytest.param(
            "ipv4:198.51.100.8",
            {
                "resolutions": [
                    {"last_resolved": "2015-02-17", "domain": "files.example.com"},
                    {"last_resolved": None, "domain": "-"},
                    "odd",
                ],
                "hashes": ["93CC00543B369A24C4DB031B0411C65A"],
                "votes": -1,
            },
            {"hostname:files.example.com", "md5:93cc00543b369a24c4db031b0411c65a"},
            id="an address",
        ),
        pytest.param(MD5, {"resolutions": None, "hashes": "", "ips": [7], "md5": []}, set(), id="odd types"),
    ],
)
def test_reports_are_read_as_the_interface_describes_them(
    sample: str, answer: dict[str, object], expected: set[str]
) -> None:
    assert found("threatcrowd", sample, json.dumps({"response_code": "1"} | answer)) == expected


@pytest.mark.parametrize(
    "raw",
    [
        *("", "[]", '"ok"', "<html>", '{"response_code": "1", "hashes": [', "{}", '{"response_code": "-1"}'),
        '{"error": "too many requests"}',
    ],
)
def test_what_is_no_answer_is_refused(raw: str) -> None:
    with pytest.raises(AnswerError):
        pivots("threatcrowd", ELSEWHERE, raw)
