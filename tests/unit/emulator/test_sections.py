"""Each finding stands once, in the section where the real service would hold it."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from threatwalk.emulator import otx, virustotal
from threatwalk.emulator.world import Found
from threatwalk.sample import Kind, Sample

DAY = datetime(2025, 1, 1, tzinfo=UTC)
NEXT = datetime(2025, 1, 2, tzinfo=UTC)
VALUES = {
    Kind.IPV4: ["198.51.100.1", "198.51.100.2"],
    Kind.DOMAIN: ["example.com", "other.net"],
    Kind.HOSTNAME: ["www.example.com", "ns1.host.net"],
    Kind.URL: ["http://www.example.com/a", "http://other.net/b"],
    Kind.MD5: ["0" * 32, "1" * 32],
    Kind.SHA1: ["0" * 40, "1" * 40],
    Kind.SHA256: ["0" * 64, "1" * 64],
    Kind.FILENAME: ["a.exe"],
}
samples = st.sampled_from([Sample(kind, value) for kind, values in VALUES.items() for value in values])
dated = st.builds(Found, samples, st.sampled_from([DAY, NEXT, None]), st.just(NEXT))


def of(kind: Kind, i: int = 0) -> Sample:
    return Sample(kind, VALUES[kind][i])


def found(*members: Sample) -> list[Found]:
    return [Found(s, datetime(2025, 1, 1 + i, tzinfo=UTC), NEXT) for i, s in enumerate(members)]


@pytest.mark.parametrize("sections", [virustotal.sections, otx.sections], ids=["virustotal", "otx"])
@given(asked=samples, members=st.lists(dated, unique_by=lambda f: f.sample))
def test_no_finding_is_lost_or_told_twice(sections: object, asked: Sample, members: list[Found]) -> None:
    placed = [f for section in sections(asked, members).values() for f in section]  # type: ignore[operator]

    assert sorted(f.sample for f in placed) == sorted(f.sample for f in members)


@pytest.mark.parametrize(
    ("asked", "finding", "section"),
    [
        (of(Kind.IPV4), of(Kind.DOMAIN), "resolutions"),
        (of(Kind.IPV4), of(Kind.SHA256), "communicating_files"),
        (of(Kind.DOMAIN), of(Kind.IPV4), "resolutions"),
        (of(Kind.DOMAIN), of(Kind.HOSTNAME), "subdomains"),
        (of(Kind.HOSTNAME), of(Kind.DOMAIN), "siblings"),
        (of(Kind.DOMAIN), of(Kind.HOSTNAME, 1), "attributes"),
        (of(Kind.MD5), of(Kind.SHA256), "attributes"),
        (of(Kind.MD5), of(Kind.MD5, 1), "dropped_files"),
        (of(Kind.MD5), of(Kind.FILENAME), "attributes"),
        (of(Kind.SHA256), of(Kind.IPV4), "contacted_ips"),
        (of(Kind.SHA256), of(Kind.URL), "contacted_urls"),
        (of(Kind.URL), of(Kind.IPV4), "last_serving_ip_address"),
        (of(Kind.URL), of(Kind.HOSTNAME), "network_location"),
        (of(Kind.URL), of(Kind.SHA256), "attributes"),
    ],
    ids=str,
)
def test_virustotal_holds_a_finding_in_its_relation(asked: Sample, finding: Sample, section: str) -> None:
    assert list(virustotal.sections(asked, found(finding))) == [section]


def test_a_files_second_sha256_is_another_file() -> None:
    sections = virustotal.sections(of(Kind.MD5), found(of(Kind.SHA256), of(Kind.SHA256, 1)))

    assert [f.sample for f in sections["attributes"]] == [of(Kind.SHA256)]
    assert [f.sample for f in sections["dropped_files"]] == [of(Kind.SHA256, 1)]


def test_a_urls_own_host_is_its_network_location_whichever_is_told_first() -> None:
    sections = virustotal.sections(of(Kind.URL), found(of(Kind.DOMAIN, 1), of(Kind.HOSTNAME)))

    assert [f.sample for f in sections["network_location"]] == [of(Kind.HOSTNAME)]
    assert [f.sample for f in sections["contacted_domains"]] == [of(Kind.DOMAIN, 1)]


@pytest.mark.parametrize(
    ("asked", "finding", "section"),
    [
        (of(Kind.IPV4), of(Kind.DOMAIN), "passive_dns"),
        (of(Kind.IPV4), of(Kind.SHA256), "malware"),
        (of(Kind.IPV4), of(Kind.IPV4, 1), "pulse 0"),
        (of(Kind.DOMAIN), of(Kind.IPV4), "passive_dns"),
        (of(Kind.DOMAIN), of(Kind.URL), "url_list"),
        (of(Kind.DOMAIN), of(Kind.URL, 1), "pulse 0"),
        (of(Kind.URL), of(Kind.IPV4), "url_list"),
        (of(Kind.SHA256), of(Kind.MD5), "pulse 0"),
    ],
    ids=str,
)
def test_open_threat_exchange_holds_a_finding_in_its_section(
    asked: Sample, finding: Sample, section: str
) -> None:
    assert list(otx.sections(asked, found(finding))) == [section]


def test_findings_of_one_day_and_several_kinds_are_a_pulse() -> None:
    one_day = [Found(of(kind), DAY, NEXT) for kind in (Kind.IPV4, Kind.URL, Kind.SHA256)]

    assert otx.sections(of(Kind.DOMAIN), one_day) == {"pulse 0": one_day}


def test_a_pulse_names_no_more_than_clients_read() -> None:
    many = [Found(Sample(Kind.IPV4, f"10.0.{i // 250}.{i % 250}"), DAY, NEXT) for i in range(1000)]
    sections = otx.sections(of(Kind.SHA256), many)

    assert [len(members) for members in sections.values()] == [399, 399, 202]
