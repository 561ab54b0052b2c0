"""Equal observables become equal samples, and what is none is refused."""

import contextlib
import ipaddress
import time

import idna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from threatwalk.errors import SampleError
from threatwalk.sample import (
    LONGEST,
    Kind,
    Sample,
    digest,
    host,
    host_kind,
    parse,
    refang,
    registered_domain,
    sample,
)

MD5 = "d41d8cd98f00b204e9800998ecf8427e"

CANONICAL = {
    "upper case hash": (Kind.MD5, MD5.upper(), MD5),
    "hash with a byte order mark": (Kind.MD5, f"\ufeff{MD5} ", MD5),
    "IPv4": (Kind.IPV4, "203.0.113.7", "203.0.113.7"),
    "IPv4 with brackets": (Kind.IPV4, "203[.]0[.]113[.]7", "203.0.113.7"),
    "IPv4 of one address": (Kind.IPV4, "203.0.113.7/32", "203.0.113.7"),
    "IPv4 mapped into IPv6": (Kind.IPV4, "::ffff:203.0.113.7", "203.0.113.7"),
    "long IPv6": (Kind.IPV6, "2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
    "IPv6 in brackets": (Kind.IPV6, "[2001:db8::1]", "2001:db8::1"),
    "domain": (Kind.DOMAIN, "Evil.COM.", "evil.com"),
    "domain under two labels": (Kind.DOMAIN, "evil.co.uk", "evil.co.uk"),
    "domain under a private suffix": (Kind.DOMAIN, "camdvr.org", "camdvr.org"),
    "defanged domain": (Kind.DOMAIN, "evil[dot]com", "evil.com"),
    "international domain": (Kind.DOMAIN, "münchen.de", "xn--mnchen-3ya.de"),
    "emoji domain": (Kind.DOMAIN, "💩.la", "xn--ls8h.la"),
    "host name": (Kind.HOSTNAME, "a_b.evil.co.uk", "a_b.evil.co.uk"),
    "host name with a zero-width space": (Kind.HOSTNAME, "ev\u200bil.example.com", "evil.example.com"),
    "URL": (Kind.URL, "http://evil.com/a?b=c", "http://evil.com/a?b=c"),
    "URL without path": (Kind.URL, "http://evil.com", "http://evil.com/"),
    "URL with a query only": (Kind.URL, "http://evil.com?x=1", "http://evil.com/?x=1"),
    "URL in capitals": (Kind.URL, "HTTP://EVIL.com/PaTh", "http://evil.com/PaTh"),
    "URL with its default port": (Kind.URL, "https://evil.com:443/x", "https://evil.com/x"),
    "URL with its default port, padded": (Kind.URL, "https://evil.com:0443/x", "https://evil.com/x"),
    "URL with another port": (Kind.URL, "http://evil.com:8080/x", "http://evil.com:8080/x"),
    "URL with a fragment": (Kind.URL, "http://evil.com/x#top", "http://evil.com/x"),
    "URL with a user": (Kind.URL, "http://www.ups.com@evil.com/", "http://www.ups.com@evil.com/"),
    "URL with an IPv6 host": (Kind.URL, "http://[2001:DB8::1]:81/", "http://[2001:db8::1]:81/"),
    "URL on I2P": (Kind.URL, "http://x.b32.i2p/", "http://x.b32.i2p/"),
    "URL with brackets in its query": (Kind.URL, "http://evil.com/?a=[b]&c=]", "http://evil.com/?a=[b]&c=]"),
    "hxxp": (Kind.URL, "hXXps[:]//evil(.)com/b[.]php", "https://evil.com/b.php"),
    "hxxp with a bracketed colon and slashes": (Kind.URL, "hxxp[://]evil.com", "http://evil.com/"),
    "hxxp with backslashes": (Kind.URL, "hxxp:\\\\evil.com", "http://evil.com/"),
    "half a bracket": (Kind.DOMAIN, "evil[.com", "evil.com"),
    "file name": (Kind.FILENAME, "Readme.TXT", "Readme.TXT"),
    "Windows path": (Kind.FILENAME, "%TEMP%\\x\\~a b.exe", "~a b.exe"),
    "Unix path": (Kind.FILENAME, "/dev/.ctrl", ".ctrl"),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "raw", "value"), CANONICAL.values(), ids=CANONICAL.keys())
def test_a_value_becomes_canonical(kind: Kind, raw: str, value: str) -> None:
    assert sample(kind, raw) == Sample(kind, value)


@pytest.mark.parametrize(("kind", "raw", "value"), CANONICAL.values(), ids=CANONICAL.keys())
def test_a_canonical_value_stays_as_it_is(kind: Kind, raw: str, value: str) -> None:
    assert sample(kind, value) == Sample(kind, value)


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        (Kind.MD5, "d41d8cd98f00b204"),
        (Kind.MD5, "g" * 32),
        (Kind.MD5, "a" * 40),
        (Kind.IPV4, "999.1.1.1"),
        (Kind.IPV4, "010.0.0.1"),
        (Kind.IPV4, "203.0.113.0/24"),
        (Kind.IPV4, "2001:db8::1"),
        (Kind.IPV4, "２０３.0.113.7"),
        (Kind.IPV6, "fe80::1%eth0"),
        (Kind.DOMAIN, "co.uk"),
        (Kind.DOMAIN, "localhost"),
        (Kind.DOMAIN, "server.local"),
        (Kind.DOMAIN, "-evil.com"),
        (Kind.DOMAIN, f"{'a' * 64}.com"),
        (Kind.DOMAIN, "evil.com/path"),
        (Kind.DOMAIN, "203.0.113.7"),
        (Kind.URL, "gopher://x.com/"),
        (Kind.URL, "javascript:alert(1)"),
        (Kind.URL, "http:///nohost"),
        (Kind.URL, "http://evil.com/a b"),
        (Kind.URL, "evil.com/a"),
        (Kind.FILENAME, "C:\\folder\\"),
        (Kind.FILENAME, "x" * 256),
        (Kind.FILENAME, "a\nb.exe"),
        (Kind.FILENAME, "a\ud800.exe"),
        (Kind.URL, "http://evil.com/" + "a" * LONGEST),
    ],
)
def test_what_is_no_value_of_its_kind_is_refused(kind: Kind, raw: str) -> None:
    with pytest.raises(SampleError):
        sample(kind, raw)


def test_domains_and_host_names_are_told_apart_by_the_public_suffix_list() -> None:
    assert sample(Kind.HOSTNAME, "evil.com").kind is Kind.DOMAIN
    assert sample(Kind.DOMAIN, "www.evil.com").kind is Kind.HOSTNAME


@pytest.mark.parametrize(
    ("name", "registered"),
    [
        ("a.b.example.co.uk", "example.co.uk"),
        ("foo.bar.kawasaki.jp", "foo.bar.kawasaki.jp"),  # the rule *.kawasaki.jp
        ("a.city.kawasaki.jp", "city.kawasaki.jp"),  # and its exception
        ("www.ck", "www.ck"),
        ("x.github.io", "github.io"),  # private suffixes are off
        ("localhost", "localhost"),
    ],
)
def test_the_registered_domain_follows_rules_wildcards_and_exceptions(name: str, registered: str) -> None:
    assert registered_domain(name) == registered


def test_a_bare_suffix_has_no_kind() -> None:
    assert host_kind("com") is None
    assert host_kind("b.ck") is None


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("ipv4:203.0.113.7", Sample(Kind.IPV4, "203.0.113.7")),
        ("MD5:" + MD5.upper(), Sample(Kind.MD5, MD5)),
        ("hxxp://evil[.]com", Sample(Kind.URL, "http://evil.com/")),
        (MD5, Sample(Kind.MD5, MD5)),
        ("evil.com", Sample(Kind.DOMAIN, "evil.com")),
        ("203.0.113.7:8080", Sample(Kind.IPV4, "203.0.113.7")),
        ("[2001:db8::1]:443", Sample(Kind.IPV6, "2001:db8::1")),
        ("::1", Sample(Kind.IPV6, "::1")),
        ("filename:a.exe", Sample(Kind.FILENAME, "a.exe")),
    ],
)
def test_a_person_may_write_a_sample_in_many_ways(raw: str, value: Sample) -> None:
    assert parse(raw) == value


def test_a_text_without_a_plain_kind_is_refused_with_the_remedy() -> None:
    with pytest.raises(SampleError, match="write KIND:VALUE"):
        parse("what is this")


def test_a_hash_is_told_by_its_length() -> None:
    assert [digest("a" * size).kind for size in (32, 40, 64)] == [Kind.MD5, Kind.SHA1, Kind.SHA256]

    with pytest.raises(SampleError):
        digest("a" * 128)


def test_a_host_may_have_a_port() -> None:
    assert host("evil.com:443") == Sample(Kind.DOMAIN, "evil.com")


NAMES = st.from_regex(
    r"[a-z][a-z0-9-]{0,10}[a-z0-9](\.[a-z][a-z0-9]{1,8}){0,2}\.(com|org|co\.uk)", fullmatch=True
)
PATHS = st.from_regex(r"(/[a-zA-Z0-9_-]{1,8}){0,3}", fullmatch=True)


@given(NAMES, PATHS, st.sampled_from(["[.]", "(.)", "{.}", "[dot]", " [.] ", "[.", ".]"]))
def test_defanging_and_refanging_gives_the_same_url(name: str, path: str, dot: str) -> None:
    url = f"http://{name}{path}"

    assert refang(f"hxxp[:]//{name.replace('.', dot)}{path}") == url


@given(st.text(max_size=200), st.sampled_from(list(Kind)))
def test_any_text_is_a_stable_sample_or_refused(text: str, kind: Kind) -> None:
    try:
        one = sample(kind, text)
    except SampleError:
        return

    assert sample(one.kind, one.value) == one
    assert one.value.isprintable() or one.kind in {Kind.FILENAME, Kind.URL}


@pytest.mark.parametrize(
    "piece", ["a.", "[.]", "-", "http://", "[", ":", "xn--", "\u200b", "1.", "%", "@", " ", "é."]
)
@pytest.mark.parametrize("kind", list(Kind))
def test_a_hostile_text_is_refused_in_a_millisecond_per_kilobyte(kind: Kind, piece: str) -> None:
    text = (piece * LONGEST)[: LONGEST - 1]
    host("example.com")  # what is loaded once
    started = time.process_time()

    for _ in range(3):
        with contextlib.suppress(SampleError):
            sample(kind, text)

    assert time.process_time() - started < 3 * 0.004 + 0.01


_LETTERS = st.one_of(
    st.sampled_from("abz019üßаяαλ例漢ı्\u0301\u05d0"), st.characters(categories=("Ll", "Lo", "Lm"))
)


@given(st.text(_LETTERS, min_size=1, max_size=12).filter(lambda label: not label.isascii()))
def test_a_name_that_idna_2008_takes_is_what_it_says(label: str) -> None:
    name = f"{label}.example.com"
    try:
        by_the_rules = idna.encode(name, uts46=True).decode()
    except idna.IDNAError:
        return

    assert host(name).value == by_the_rules


@given(st.text("ab09-üя例😀☃", min_size=1, max_size=25).filter(lambda label: not label.isascii()))
def test_what_idna_2008_forbids_and_browsers_open_is_a_name(label: str) -> None:
    assert host(f"{label}.com").value == f"xn--{label.encode('punycode').decode()}.com"


@pytest.mark.parametrize(
    "label", ["\u0301a", "אa", "a\u0661", "\u0378", "xn--ü", "ü" * 60, "".join(map(chr, range(0x4E00, 0x4E00 + 50 * 99, 99)))],
    ids=["a mark first", "both directions", "arabic digit", "unassigned", "encoded twice", "long", "long when encoded"],
)  # fmt: skip
def test_what_no_browser_opens_is_no_name(label: str) -> None:
    with pytest.raises(SampleError):
        host(f"{label}.com")


@given(
    st.one_of(
        st.ip_addresses(v=6).map(str),
        st.text(alphabet="01af:.%", min_size=3, max_size=20).map(lambda t: f"{t}::"),
    )
)
def test_ipv6_reads_as_the_library_does(text: str) -> None:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        address = None
    if address is None or address.scope_id is not None:
        with pytest.raises(SampleError):
            sample(Kind.IPV6, text)
    elif not address.ipv4_mapped:
        assert sample(Kind.IPV6, text).value == address.compressed
