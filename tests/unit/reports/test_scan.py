import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from threatwalk.reports.read import parse
from threatwalk.reports.scan import Found, clean, scan
from threatwalk.sample import Kind, Sample, SampleSet, host, sample

MD5 = "d41d8cd98f00b204e9800998ecf8427e"
SHA1 = "da39a3ee5e6b4b0d3255bfef95601890afd80709"
SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
MS_PER_KB = 1.0


def everything(text: str) -> SampleSet:
    found = scan(text)
    return frozenset(found.samples | found.links | found.names)


def values(text: str) -> set[str]:
    return {one.value for one in everything(text)}


DOTS = ["[.]", "(.)", "{.}", "[dot]", "(dot)", "[DOT]", "[ . ]", " [.] ", "[.", ".]", "[[.]]", "<.>"]
SCHEMES = {
    "http": ["hxxp", "hXXp", "HXXP", "h**p", "htxp", "hxtp"],
    "https": ["hxxps", "hXXps", "HXXPS", "h**ps", "htxps"],
}
MARKS = ["://", "[:]//", "[://]", "(:)//", "[:]///", ":///"]
ENDS = ["", ".", ",", ")", "]", ";", "'", '"', "\r\n", " - GET /x", "\u200b"]
LABEL = st.from_regex(r"[a-z0-9](?:[a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True).filter(
    lambda one: one[2:4] != "--"
)
NAME = st.builds(
    lambda labels, end: ".".join([*labels, end]),
    st.lists(LABEL, min_size=1, max_size=3),
    st.sampled_from(["com", "co.uk", "xyz", "io"]),
)
ADDRESS = st.ip_addresses(v=4, network="203.0.112.0/20").map(str)
PATH = st.from_regex(
    r"(?:/[A-Za-z0-9_~=-]{1,8}){1,3}(?:\.php)?(?:\?[a-z]=[A-Za-z0-9%]{1,6})?", fullmatch=True
)

SLOW_AT_FIRST = settings(deadline=None)  # the first name loads the public suffix list


@SLOW_AT_FIRST
@given(name=NAME | ADDRESS, dot=st.sampled_from(DOTS), every=st.booleans(), end=st.sampled_from(ENDS))
def test_a_defanged_host_is_found_and_nothing_else(name: str, dot: str, every: bool, end: str) -> None:
    fanged = name.replace(".", dot) if every else dot.join(name.rsplit(".", 1))

    found = scan(f"C2: {fanged}{end}")

    assert found.samples == {host(name)}
    assert found.defanged
    assert not found.links
    assert not found.names


@SLOW_AT_FIRST
@given(
    scheme=st.sampled_from([(plain, fanged) for plain, all_ in SCHEMES.items() for fanged in [plain, *all_]]),
    mark=st.sampled_from(MARKS),
    name=NAME | ADDRESS,
    dot=st.sampled_from(DOTS) | st.just("."),
    port=st.sampled_from(["", ":8081", "[:]8081"]),
    path=PATH,
    end=st.sampled_from(ENDS),
)
def test_a_defanged_url_is_found_and_nothing_else(
    scheme: tuple[str, str], mark: str, name: str, dot: str, port: str, path: str, end: str
) -> None:
    fanged = f"{scheme[1]}{mark}{name.replace('.', dot)}{port}{path}"

    found = everything(f"from {fanged}{end}")

    plain_port = ":8081" if port else ""
    assert found == {sample(Kind.URL, f"{scheme[0]}://{name}{plain_port}{path}")}


@SLOW_AT_FIRST
@given(value=st.sampled_from([MD5, SHA1, SHA256]), upper=st.booleans(), before=st.sampled_from(["", "\ufeff", "\u200b", "(", "SHA256:", "ï»¿", "「"]), after=st.sampled_from(["", "\ufeff", ".", ",", ")", "\t", " file.exe", "」"]))  # fmt: skip
def test_a_hash_is_found_whatever_is_glued_to_it(value: str, upper: bool, before: str, after: str) -> None:
    raw = value.upper() if upper else value

    assert values(before + raw + after) == {value}


@pytest.mark.parametrize(
    "raw", ["2001[:]db8[:]0[:]0[:]0[:]0[:]0[:]1", "[2001:db8::1]:443", "2001:DB8::1", "2001:db8::1/128"]
)
def test_ipv6_is_found(raw: str) -> None:
    assert scan(f"at {raw}, twice").samples == {Sample(Kind.IPV6, "2001:db8::1")}


@pytest.mark.parametrize(
    "text",
    [
        f"{MD5}a 0x{MD5} {SHA256}{SHA256}",
        f"imphash: {MD5} JA3 = {MD5}, Serial number: {MD5}",
        f"https://example.com/[{MD5}]/[victim]",
        f"{'a' * 64}.com",
        "10.0.0.0/8 203.0.113.0/24 2001:db8::/32",
        "10.1.2.3 192.168.1.1 172.16.9.9 127.0.0.1",
        "1.2.3.4.5 999.999.999.999 256.1.1.1 01.02.03.04 v1.2.3.4 Chrome/120.0.0.0",
        "12:30:45 01:02:03:04:05:06 std::string aa:bb",
        "someone@example.com someone[@]example[.]com <a.b@mail.example.com>",
        r"C:\Users\x\update.com\a.exe .\Mail\.outlook.com\x /aspnet_client/shell.com",
        "invoice.zip setup.py libfoo.so kernel32.dll readme.md foo.bar(x)",
        "It is done.In the end.So what",
        "* _bank.com",
        "javascript:alert(1) http:///nohost http://",
        "\u0661\u0669\u0662.168.1.1",
    ],
    ids=[
        "hex",
        "other hashes",
        "template",
        "label",
        "networks",
        "private",
        "versions",
        "colons",
        "mail",
        "paths",
        "files",
        "words",
        "patterns",
        "nothing",
        "digits",
    ],
)
def test_what_only_looks_like_a_sample_is_none(text: str) -> None:
    assert everything(text) == frozenset()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("münchen.de", {"xn--mnchen-3ya.de"}),
        ("C2サーバevil.comから203.0.113.7へ", {"evil.com", "203.0.113.7"}),
        ("evil。com。終わり", {"evil.com"}),
        ("pаypal.com", {"xn--pypal-4ve.com"}),
        ("ev\u200bil.example[.]com", {"evil.example.com"}),
        ("evil．example．com", {"evil.example.com"}),
        ("203.0.113.7:8080", {"203.0.113.7"}),
        (r"\\203.0.113[.]7@80\share\a.msi", {"203.0.113.7"}),
        ("tcp[:]//c2.example[.]com:443", {"c2.example.com"}),
        ("evil[.]com/gate.php", {"evil.com"}),
        ("settings[.]zip", {"settings.zip"}),
        (f"{MD5}.exe", {MD5}),
        (f"pub-{MD5}.r2[.]dev", {f"pub-{MD5}.r2.dev"}),
        (
            "*.example.com .sub.example[.]org [victim].example[.]net",
            {"example.com", "sub.example.org", "example.net"},
        ),
        ("203.0.113.7/32", {"203.0.113.7"}),
        ("(http://a.com/x_(y))", {"http://a.com/x_(y)"}),
        ("http://a.com/1,http://b.com/2", {"http://a.com/1", "http://b.com/2"}),
        ("iwr 'http://a.com/1'|iex", {"http://a.com/1"}),
        ("hxxps[:]//a[.]com/x#[mail address]", {"https://a.com/x"}),
    ],
)
def test_a_sample_is_cut_out_of_what_surrounds_it(text: str, expected: set[str]) -> None:
    assert values(text) == expected


def test_plain_links_and_names_are_told_from_what_was_defanged() -> None:
    found = scan("hxxp://a[.]com/x http://b.com/y c.com d[.]com 203.0.113.7")

    assert {one.value for one in found.samples} == {"http://a.com/x", "d.com", "203.0.113.7"}
    assert {one.value for one in found.links} == {"http://b.com/y"}
    assert {one.value for one in found.names} == {"c.com"}


@SLOW_AT_FIRST
@given(st.text(max_size=300))
def test_no_text_is_too_odd(text: str) -> None:
    assert isinstance(scan(text), Found)
    assert clean(clean(text)) == clean(text)


HOSTILE = {
    one: one
    for one in (
        ".", "[.]", "[.", ".]", "f", "a.", "hxxp://hxxp://", "[", "]", "([{<", "a-", "@", "a.b@", "://", "//a.b/", "\\\\a.b@",
        "1.1.1.", "::", "a:", "1:2::", "[:]", "[://]", "http://a.com)))", "http://a.com/[", "http://a.com/,", "x.zip ",
        "é.", "evil.com被", "\u200b", "\ufeff", "a。", "[dot", f"{'f' * 64}g", f"{'f' * 64} ", "serial ", f"{'a' * 63}.",
        "xn--a.", "_", "255.255.255.255/",
    )
} | {"closing": "http://a.com/" + ")" * 100_000, "label": "a" * 100_000 + ".com", "tail": "http://a.com/" + "." * 100_000}  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE.values(), ids=[ascii(one)[:20] for one in HOSTILE])
def test_hostile_text_takes_linear_time(piece: str) -> None:
    scan("warm.example.com http://warm.example.com/")
    text = piece * (100_000 // len(piece) or 1)

    began = time.process_time()
    scan(text)
    took_ms = (time.process_time() - began) * 1000

    assert took_ms <= 3 * MS_PER_KB * len(text.encode()) / 1000  # thrice, for machines that are busy


@pytest.mark.parametrize(
    "text",
    [
        f"{'d41d8cd98f00b204e9800998ecf8427e.' * 4000}x",
        f"http://evil.example/{')' * 4000} " * 30,
        f"http://evil.example/{')]}.' * 1000} " * 30,
        f"source{' ' * 60_000}x://",
        f"see{' ' * 30_000}(){' ' * 30_000}x://",
        f"x{' ' * 2000}x",
    ],
    ids=["hashes", "parentheses", "brackets", "reference", "reference with brackets", "headline"],
)
def test_a_text_takes_time_in_proportion(text: str) -> None:
    list(parse(text.encode(), path="a.txt"))  # what is loaded once
    began = time.process_time()
    list(parse(text.encode(), path="a.txt"))

    assert time.process_time() - began < 0.3
