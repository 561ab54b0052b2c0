import json
from datetime import date
from pathlib import Path

import pytest
import stix2
from hypothesis import given
from hypothesis import strategies as st

from threatwalk.errors import DataError
from threatwalk.reports import bundle
from threatwalk.reports.read import parse
from threatwalk.reports.report import Report, Tlp
from threatwalk.sample import Kind, Sample

SAMPLES = frozenset(
    {
        Sample(Kind.MD5, "a" * 32),
        Sample(Kind.SHA1, "a" * 40),
        Sample(Kind.SHA256, "a" * 64),
        Sample(Kind.FILENAME, 'a "b".exe'),
        Sample(Kind.IPV4, "203.0.113.7"),
        Sample(Kind.IPV6, "2001:db8::1"),
        Sample(Kind.DOMAIN, "evil.com"),
        Sample(Kind.HOSTNAME, "www.evil.com"),
        Sample(Kind.URL, "http://evil.com/é?a=b"),
    }
)
FULL = Report("5a3c2fcd-8328-42bb-a95e-4f4402de0b81", "A threat", date(2017, 12, 21), SAMPLES, Tlp.AMBER_STRICT, "feed",
              "a/b.json", 'Night "Heron"', True)  # fmt: skip
BARE = Report("a/b.txt", "", None, frozenset())


@pytest.mark.parametrize("report", [FULL, BARE], ids=["full", "bare"])
def test_a_bundle_gives_its_report_back(report: Report) -> None:
    assert bundle.read(json.loads(bundle.dumps(report))) == report


@pytest.mark.parametrize("report", [FULL, BARE], ids=["full", "bare"])
def test_stix2_accepts_a_bundle_without_custom_content(report: Report) -> None:
    parsed = stix2.parse(bundle.dumps(report).decode(), allow_custom=False)

    assert parsed.id == bundle.bundle(report)["id"]


@pytest.mark.parametrize("tlp", list(Tlp))
def test_stix2_accepts_every_marking(tlp: Tlp) -> None:
    report = Report("x", "t", None, SAMPLES, tlp)

    assert stix2.parse(bundle.dumps(report).decode()).objects[1].name == f"TLP:{tlp.upper()}"


def test_an_observable_has_the_id_that_stix2_gives_it() -> None:
    for one in SAMPLES:
        ours = bundle.observable(one)
        theirs = stix2.parse({key: value for key, value in ours.items() if key != "id"}, version="2.1")

        assert ours["id"] == theirs.id


def test_the_same_report_gives_the_same_bytes() -> None:
    again = Report(
        **{name: getattr(FULL, name) for name in Report.__slots__} | {"goal": frozenset(sorted(SAMPLES))}
    )

    assert bundle.dumps(again) == bundle.dumps(FULL)


def test_the_reader_of_stix_2_finds_the_same_samples() -> None:
    (report,) = parse(bundle.dumps(FULL), path="x.json")

    assert (report.goal, report.tlp, report.campaign) == (FULL.goal, FULL.tlp, 'Night "Heron"')


@pytest.mark.parametrize(
    ("report_id", "safe"),
    [
        ("5a3c2fcd-8328-42bb-a95e-4f4402de0b81", True),
        ("report--1", True),
        ("../../etc/passwd", False),
        ("https://x.com/a/status/1", False),
        (".hidden", False),
        ("a" * 200, False),
        ("", False),
    ],
)
def test_only_a_safe_id_names_a_file(report_id: str, safe: bool) -> None:
    stem = bundle.file_stem(report_id)

    assert (stem == report_id) is safe
    assert "/" not in stem
    assert len(stem) <= 120


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"objects": []}', '{"objects": [{"type": "report"}]}'])
def test_another_file_is_no_bundle(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)

    with pytest.raises(DataError, match="no bundle"):
        bundle.load(path)


@given(st.text(max_size=30), st.dates(date(1970, 1, 1), date(2100, 1, 1)), st.sampled_from([None, *Tlp]))
def test_any_report_comes_back(title: str, published: date, tlp: Tlp | None) -> None:
    clean = title.encode("utf-8", "replace").decode()
    report = Report("report--x", clean, published, SAMPLES, tlp)

    assert bundle.read(json.loads(bundle.dumps(report))) == report
