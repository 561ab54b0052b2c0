"""Readers on hostile bodies: pivots or AnswerError, nothing else, and pure."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from threatwalk.errors import AnswerError
from threatwalk.sample import Sample, parse
from threatwalk.sources import catalog

SAMPLES = [
    parse("ipv4:198.51.100.7"),
    parse("domain:example.org"),
    parse("url:http://example.org/a"),
    parse("md5:d41d8cd98f00b204e9800998ecf8427e"),
]

KEYS = st.sampled_from(
    [
        *(
            "data",
            "attributes",
            "type",
            "id",
            "relationships",
            "names",
            "md5",
            "last_dns_records",
            "value",
            "error",
        ),
        *(
            "passive_dns",
            "url_list",
            "analysis",
            "general",
            "pulse_info",
            "pulses",
            "indicators",
            "results",
            "hash",
        ),
        *(
            "matches",
            "domain",
            "hostnames",
            "ip_str",
            "ssl",
            "cert",
            "extensions",
            "subjectAltName",
            "subdomains",
        ),
        *(
            "nameservers",
            "ldhName",
            "objectClassName",
            "domainSearchResults",
            "events",
            "lacnic_reverseDelegations",
        ),
        *(
            "responses",
            "Answer",
            "Status",
            "whois_map",
            "Name Server",
            "search",
            "host",
            "name",
            "date",
            "detail",
        ),
    ]
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(
        [
            "file",
            "domain",
            "ip_address",
            "url",
            "resolution",
            "A",
            "TXT",
            "example.net",
            "0\\x82\\x7f",
            0,
            1,
            16,
        ]
    ),
)
BODIES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=25,
)


@pytest.mark.parametrize("name", sorted(catalog.readers()))
@given(body=BODIES, sample=st.sampled_from(SAMPLES))
@settings(max_examples=400, deadline=None)
def test_any_json_is_read_or_refused(name: str, body: object, sample: Sample) -> None:
    raw = json.dumps(body)
    read = catalog.readers()[name]
    try:
        first = list(read(sample, raw))
    except AnswerError:
        return

    assert list(read(sample, raw)) == first
    assert all(pivot.origin == sample and pivot.filter == name and pivot.found != sample for pivot in first)


@pytest.mark.parametrize("name", sorted(catalog.readers()))
@given(raw=st.text(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_text_is_read_or_refused(name: str, raw: str) -> None:
    try:
        list(catalog.readers()[name](SAMPLES[1], raw))
    except AnswerError:
        return


@pytest.mark.parametrize("name", sorted(catalog.readers()))
@pytest.mark.parametrize(
    "raw", ["[" * 100_000, '{"data":' * 50_000, "NaN", '{"a": 1, "a": "\\ud800"}', "\x00"]
)
def test_deep_and_broken_bodies_are_read_or_refused_quickly(name: str, raw: str) -> None:
    try:
        list(catalog.readers()[name](SAMPLES[1], raw))
    except AnswerError:
        return


@pytest.mark.timeout(20)
def test_a_long_line_of_port_43_is_read_in_linear_time() -> None:
    raw = "Name Server: " + "a." * 200_000 + "\n" + "x " * 200_000 + "\nName Server: ns1.example.net\n"

    found = [str(pivot.found) for pivot in catalog.readers()["whois"](SAMPLES[1], raw)]

    assert found == ["hostname:ns1.example.net"]
