"""URLhaus, ThreatFox and MalwareBazaar: what is asked, what the answer means, and bodies of odd shapes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from threatwalk.errors import AnswerError, QuotaError
from threatwalk.sample import Kind, parse
from threatwalk.sources import malwarebazaar, threatfox, urlhaus
from threatwalk.sources.filter import Filter, NotKnownError
from threatwalk.sources.response import DeniedError, ThrottledError

MD5, SHA1, SHA256 = "0" * 31 + "a", "0" * 39 + "b", "0" * 63 + "c"
OTHER = "1" * 64
THREE = [urlhaus.filter_, threatfox.filter_, malwarebazaar.filter_]
each = pytest.mark.parametrize("filter_", THREE, ids=lambda f: f.name)


@dataclass
class Posted:
    """A session that answers every POST alike; what was posted is kept."""

    answer: str | Exception
    key: str | None = "a-key"
    posts: list[tuple[str, object]] = field(default_factory=list)
    headers: Mapping[str, str] | None = None

    def endpoint(self, name: str) -> str:
        return f"https://{name}.example"

    async def post(
        self, url: str, *, form: Any = None, json: Any = None, headers: Mapping[str, str] | None = None
    ) -> str:
        self.posts.append((url, form if form is not None else json))
        self.headers = headers
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def ask(filter_: Filter, sample: str, answer: object) -> Posted:
    text = answer if isinstance(answer, str | Exception) else json.dumps(answer)
    session = Posted(text)
    assert filter_.ask is not None
    assert await filter_.ask(parse(sample), session) == text
    return session


def read(filter_: Filter, sample: str, body: object) -> set[str]:
    assert filter_.read is not None
    raw = body if isinstance(body, str) else json.dumps(body)
    pivots = list(filter_.read(parse(sample), raw))
    assert {p.found.kind for p in pivots} <= filter_.yields
    return {str(p.found) for p in pivots}


KNOWN = {
    "urlhaus": {"query_status": "ok", "urls": []},
    "threatfox": {"query_status": "ok", "data": [{"ioc": "evil.example.com"}]},
    "malwarebazaar": {"query_status": "ok", "data": [{"md5_hash": MD5}]},
}


@pytest.mark.parametrize(
    ("filter_", "sample", "url", "question"),
    [
        (urlhaus.filter_, "ipv4:192.0.2.1", "v1/host/", {"host": "192.0.2.1"}),
        (urlhaus.filter_, "hostname:a.example.com", "v1/host/", {"host": "a.example.com"}),
        (urlhaus.filter_, "url:http://example.com/a?b=c", "v1/url/", {"url": "http://example.com/a?b=c"}),
        (urlhaus.filter_, f"md5:{MD5}", "v1/payload/", {"md5_hash": MD5}),
        (urlhaus.filter_, f"sha256:{SHA256}", "v1/payload/", {"sha256_hash": SHA256}),
        (threatfox.filter_, f"md5:{MD5}", "api/v1/", {"query": "search_hash", "hash": MD5}),
        (
            threatfox.filter_,
            "domain:example.com",
            "api/v1/",
            {"query": "search_ioc", "search_term": "example.com", "exact_match": False},
        ),
        (
            threatfox.filter_,
            "url:http://example.com/",
            "api/v1/",
            {"query": "search_ioc", "search_term": "http://example.com", "exact_match": False},
        ),
        (
            threatfox.filter_,
            "url:http://example.com/a/",
            "api/v1/",
            {"query": "search_ioc", "search_term": "http://example.com/a/", "exact_match": False},
        ),
        (malwarebazaar.filter_, f"sha1:{SHA1}", "api/v1/", {"query": "get_info", "hash": SHA1}),
    ],
)
async def test_a_question_costs_one_look_up(filter_: Filter, sample: str, url: str, question: object) -> None:
    body = KNOWN[filter_.name]
    if filter_.name == "threatfox":
        body = {"query_status": "ok", "data": [{"ioc": sample.partition(":")[2]}]}
    session = await ask(filter_, sample, body)

    assert session.posts == [(f"https://{filter_.name}.example/{url}", question)]
    assert session.headers == {"Auth-Key": "a-key"}


@each
def test_every_kind_that_a_source_accepts_has_a_question(filter_: Filter) -> None:
    assert Kind.FILENAME not in filter_.accepts
    assert (Kind.SHA1 in filter_.accepts) is (filter_.name == "malwarebazaar")
    assert (Kind.IPV6 in filter_.accepts) is (filter_.name == "threatfox")


@each
@pytest.mark.parametrize("status", ["no_result", "no_results", "hash_not_found"])
@pytest.mark.parametrize("more", [{}, {"data": "Nothing."}, {"data": None}, {"data": []}], ids=str)
async def test_nothing_known_is_an_answer(filter_: Filter, status: str, more: dict) -> None:
    raw = json.dumps({"query_status": status} | more)
    with pytest.raises(NotKnownError) as told:
        await ask(filter_, f"md5:{MD5}", raw)

    assert told.value.raw == raw
    assert read(filter_, f"md5:{MD5}", raw) == set()


@each
@pytest.mark.parametrize("status", ["unknown_auth_key", "no_api_key", "unauthorized", "user_blacklisted"])
async def test_a_refused_key_is_told_apart(filter_: Filter, status: str) -> None:
    with pytest.raises(DeniedError):
        await ask(filter_, f"md5:{MD5}", {"query_status": status})
    with pytest.raises(AnswerError):
        read(filter_, f"md5:{MD5}", {"query_status": status})


@each
async def test_a_rate_told_in_a_body_throttles(filter_: Filter) -> None:
    with pytest.raises(ThrottledError):
        await ask(filter_, f"md5:{MD5}", {"query_status": "rate_limited"})


@each
@pytest.mark.parametrize(
    "raw",
    [
        *("", "[]", "null", '"ok"', "7", "{}", "<html>502</html>", '{"query_status": "ok"', "[" * 5000),
        *('{"query_status": "invalid_host"}', '{"query_status": "illegal_hash"}', '{"query_status": "ok"}'),
        *('{"query_status": null}', '{"query_status": ["ok"]}', '{"query_status": {"ok": 1}}'),
        *('{"query_status": 1, "data": []}', '{"query_status": "http_post_expected"}', '{"error": "x"}'),
        *('{"query_status": "ok", "data": null}', '{"query_status": "ok", "data": "soon"}'),
    ],
)
async def test_what_is_no_answer_is_refused(filter_: Filter, raw: str) -> None:
    with pytest.raises(AnswerError):
        await ask(filter_, f"md5:{MD5}", raw)
    with pytest.raises(AnswerError):
        read(filter_, f"md5:{MD5}", raw)


@each
async def test_data_without_a_word_how_it_went_is_refused(filter_: Filter) -> None:
    with pytest.raises(AnswerError):
        await ask(filter_, f"md5:{MD5}", '{"data": []}')


@each
async def test_a_404_is_empty_only_in_the_source_s_own_words(filter_: Filter) -> None:
    own = '{"query_status": "no_results"}'
    with pytest.raises(NotKnownError):
        await ask(filter_, f"md5:{MD5}", NotKnownError(own))
    for foreign in ("<html>404</html>", '{"error": "not found"}', json.dumps(KNOWN[filter_.name])):
        with pytest.raises(AnswerError):
            await ask(filter_, f"md5:{MD5}", NotKnownError(foreign))


@each
async def test_an_error_of_the_session_goes_through(filter_: Filter) -> None:
    with pytest.raises(QuotaError):
        await ask(filter_, f"md5:{MD5}", ThrottledError("too much", 5))


async def test_no_entry_left_is_nothing_known() -> None:
    with pytest.raises(NotKnownError):
        await ask(malwarebazaar.filter_, f"md5:{MD5}", {"query_status": "ok", "data": []})
    with pytest.raises(NotKnownError):
        await ask(
            threatfox.filter_, "ipv4:8.8.8.8", {"query_status": "ok", "data": [{"ioc": "18.8.8.80:443"}]}
        )


# URLhaus


def test_urlhaus_names_what_lies_at_a_url() -> None:
    body = {
        "query_status": "ok",
        "url": "http://files.example.com/a",
        "host": "files.example.com",
        "date_added": "2026-01-02 03:04:05 UTC",
        "last_online": "2026-01-09 03:04:05 UTC",
        "payloads": [
            {
                "firstseen": "2026-01-03",
                "filename": "C:\\tmp\\a.exe",
                "response_md5": MD5.upper(),
                "response_sha256": SHA256,
            }
        ],
    }
    (host, *_) = urlhaus.filter_.read(parse("url:http://files.example.com/a"), json.dumps(body))

    assert (host.first_seen, host.last_seen) == (
        datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        datetime(2026, 1, 9, 3, 4, 5, tzinfo=UTC),
    )
    assert read(urlhaus.filter_, "url:http://files.example.com/a", body) == {
        *("hostname:files.example.com", "filename:a.exe", f"md5:{MD5}", f"sha256:{SHA256}")
    }


def test_urlhaus_names_where_a_payload_lay() -> None:
    body = {
        "query_status": "ok",
        "md5_hash": MD5,
        "sha256_hash": SHA256,
        "urls": [{"url": "http://192.0.2.1:8080/x", "filename": "x.bin", "firstseen": "2026-01-03 00:00:00"}],
    }

    assert read(urlhaus.filter_, f"md5:{MD5}", body) == {
        *(f"sha256:{SHA256}", "url:http://192.0.2.1:8080/x", "filename:x.bin")
    }


def test_urlhaus_is_read_where_its_status_is_misspelt_as_its_documentation_has_it() -> None:
    body = {"query_staus": "ok", "urls": [{"url": "http://192.0.2.1/x"}]}

    assert read(urlhaus.filter_, "ipv4:192.0.2.1", body) == {"url:http://192.0.2.1/x"}
    with pytest.raises(AnswerError):
        read(urlhaus.filter_, "ipv4:192.0.2.1", body | {"query_staus": "invalid_host"})


def test_several_bodies_of_urlhaus_are_read_but_for_those_that_know_nothing() -> None:
    several = {
        "a": {"query_status": "no_results"},
        "b": {"query_status": "ok", "urls": [{"url": "http://192.0.2.1/x"}]},
    }

    assert read(urlhaus.filter_, "ipv4:192.0.2.2", several) == {"url:http://192.0.2.1/x"}
    with pytest.raises(AnswerError):
        read(urlhaus.filter_, "ipv4:192.0.2.2", several | {"c": {"query_status": "invalid_host"}})


ODD: list[object] = [
    None,
    7,
    True,
    "",
    "nonsense",
    [],
    [[]],
    {},
    [None],
    [["http://192.0.2.1/x"]],
    {"a": [1]},
    1e300,
]


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_urlhaus_odd_parts_are_skipped(odd: object) -> None:
    good = {"url": "http://192.0.2.9/good", "firstseen": odd, "urlhaus_reference": odd, "filename": odd}
    names = ("url", "host", "md5_hash", "sha256_hash", "response_md5", "filename", "payloads", "urls")
    whole = {
        "query_status": "ok",
        "urls": [odd, good, dict.fromkeys(names, odd)],
        "payloads": odd,
        "host": odd,
    }
    whole |= {"firstseen": odd, "urlhaus_reference": odd, "md5_hash": odd, "blacklists": odd}

    assert read(urlhaus.filter_, "ipv4:192.0.2.9", whole) <= {
        "url:http://192.0.2.9/good",
        "filename:nonsense",
    }
    assert "url:http://192.0.2.9/good" in read(urlhaus.filter_, "ipv4:192.0.2.9", whole)
    assert read(urlhaus.filter_, "ipv4:192.0.2.9", {"query_status": "ok", "urls": odd}) == set()


# ThreatFox


def entry(ioc: object, **more: object) -> dict:
    return {"ioc": ioc, "first_seen": "2026-01-02 03:04:05 UTC", "last_seen": None, "reference": None, **more}


def answer(*entries: object) -> dict:
    return {"query_status": "ok", "data": list(entries)}


def test_threatfox_names_the_samples_of_a_host() -> None:
    samples = [
        {
            "time_stamp": "2026-02-01 00:00:00 UTC",
            "md5_hash": MD5,
            "sha256_hash": SHA256,
            "malware_bazaar": "x",
        }
    ]
    body = answer(entry("192.0.2.1:443", ioc_type="ip:port", malware_samples=samples))
    pivots = list(threatfox.filter_.read(parse("ipv4:192.0.2.1"), json.dumps(body)))

    assert {str(p.found) for p in pivots} == {f"md5:{MD5}", f"sha256:{SHA256}"}
    assert {p.first_seen for p in pivots} == {datetime(2026, 2, 1, tzinfo=UTC)}


def test_threatfox_names_whom_a_sample_calls() -> None:
    body = answer(
        entry("192.0.2.1:443"),
        entry("[2001:db8::1]:443"),
        entry("c2.example.com", reference="https://blog.example.net/report"),
        entry("hxxp://c2.example.com/gate[.]php"),
        entry("phish@example.org", ioc_type="envelope_from"),
        entry(OTHER, ioc_type="sha256_hash"),
    )
    pivots = list(threatfox.filter_.read(parse(f"md5:{MD5}"), json.dumps(body)))

    assert {str(p.found): p.reference for p in pivots} == {
        "ipv4:192.0.2.1": None,
        "ipv6:2001:db8::1": None,
        "hostname:c2.example.com": "https://blog.example.net/report",
        "url:http://c2.example.com/gate.php": None,
        f"sha256:{OTHER}": None,
    }


@pytest.mark.parametrize(
    ("sample", "ioc", "expected"),
    [
        ("ipv4:8.8.8.8", "18.8.8.80:443", set()),
        ("ipv4:8.8.8.8", "http://8.8.8.8:81/x", {"url:http://8.8.8.8:81/x", f"md5:{MD5}"}),
        ("ipv4:8.8.8.8", "http://18.8.8.8/x", set()),
        ("ipv4:8.8.8.8", "http://evil.com/8.8.8.8", set()),
        ("domain:evil.com", "notevil.com", set()),
        ("domain:evil.com", "evil.com.example.org", set()),
        ("domain:evil.com", "C2.Evil.com", {"hostname:c2.evil.com", f"md5:{MD5}"}),
        ("domain:evil.com", "http://u@c2.evil.com/x", {"url:http://u@c2.evil.com/x", f"md5:{MD5}"}),
        ("domain:evil.com", "http://a[b@notevil.com/x", set()),
        ("domain:evil.com", "admin@evil.com", set()),
        ("url:http://evil.com/a", "http://evil.com/a", {f"md5:{MD5}"}),
        ("url:http://evil.com/a", "http://evil.com/abc", set()),
        ("url:http://evil.com/", "http://evil.com", {f"md5:{MD5}"}),
    ],
)
def test_threatfox_entries_that_only_hold_the_sample_s_text_are_left_out(
    sample: str, ioc: str, expected: set[str]
) -> None:
    body = answer(entry(ioc, malware_samples=[{"md5_hash": MD5}]))

    assert read(threatfox.filter_, sample, body) == expected


def test_threatfox_one_entry_and_exported_entries_are_read_too() -> None:
    one = {
        "query_status": "ok",
        "data": {"ioc_value": "192.0.2.1:80", "first_seen_utc": "2026-01-02 00:00:00"},
    }

    assert read(threatfox.filter_, f"md5:{MD5}", one) == {"ipv4:192.0.2.1"}


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_threatfox_odd_parts_are_skipped(odd: object) -> None:
    samples = [odd, {"md5_hash": MD5, "time_stamp": odd, "sha256_hash": odd, "malware_bazaar": odd}]
    good = {
        "ioc": "192.0.2.1:443",
        "first_seen": odd,
        "reference": odd,
        "tags": odd,
        "malware_samples": samples,
    }
    body = answer(odd, good, entry(odd, malware_samples=odd))

    assert read(threatfox.filter_, "ipv4:192.0.2.1", body) == {f"md5:{MD5}"}


# MalwareBazaar


def test_malwarebazaar_names_hashes_further_files_and_whom_it_calls() -> None:
    file = {
        "md5_hash": MD5,
        "sha1_hash": SHA1,
        "sha256_hash": SHA256,
        "file_name": "invoice.exe",
        "first_seen": "2026-01-02 03:04:05",
        "last_seen": None,
        "file_information": [
            {"context": "dropped_by_malware", "value": "Mossfrog"},
            {"context": "dropped_by_sha256", "value": OTHER},
            {"context": "twitter", "value": "https://social.example.net/1"},
        ],
        "vendor_intel": {
            "CAPE": {"detection": None, "link": "https://cape.example.net/1"},
            "UnpacMe": [
                {"sha256_hash": "2" * 64, "md5_hash": "3" * 32, "sha1_hash": "4" * 40, "detections": []}
            ],
            "ANY.RUN": [{"file_name": "other.exe", "tags": []}],
            "Triage": {
                "malware_config": [
                    {"extraction": "c2", "c2": "192.0.2.1:4443"},
                    {"extraction": "c2", "c2": "tcp://c2.example.com:80"},
                    {"extraction": "c2", "c2": "http://192.0.2.2/gate.php"},
                ]
            },
        },
    }
    pivots = list(malwarebazaar.filter_.read(parse(f"md5:{MD5}"), json.dumps(answer(file))))

    assert {str(p.found) for p in pivots} == {
        *(f"sha1:{SHA1}", f"sha256:{SHA256}", "filename:invoice.exe", f"sha256:{OTHER}"),
        *(f"sha256:{'2' * 64}", f"md5:{'3' * 32}", f"sha1:{'4' * 40}", "filename:other.exe"),
        *("ipv4:192.0.2.1", "hostname:c2.example.com", "url:http://192.0.2.2/gate.php"),
    }
    assert {p.reference for p in pivots} == {"https://social.example.net/1"}
    assert {p.found.kind for p in pivots if p.first_seen} == {Kind.SHA1, Kind.SHA256, Kind.FILENAME}


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_malwarebazaar_odd_parts_are_skipped(odd: object) -> None:
    names = (
        "sha1_hash",
        "sha256_hash",
        "first_seen",
        "last_seen",
        "tags",
        "file_information",
        "vendor_intel",
    )
    vendors = {
        "UnpacMe": odd,
        "ANY.RUN": [odd, {"file_name": odd}],
        "Triage": {"malware_config": [odd, {"c2": odd}]},
    }
    good = dict.fromkeys(names, odd) | {"md5_hash": MD5}
    nested = {"md5_hash": odd, "file_information": [odd, {"value": odd}], "vendor_intel": vendors}

    found = read(malwarebazaar.filter_, f"sha1:{SHA1}", answer(odd, good, nested))

    assert found - {"filename:nonsense"} - {"url:http://192.0.2.1/x"} == {f"md5:{MD5}"}
