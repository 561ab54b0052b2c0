import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from threatwalk.desk.shown import prose, shown, visible
from threatwalk.sample import Kind, Sample, parse, sample


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (Kind.IPV4, "192.0.2.1", "192[.]0[.]2[.]1"),
        (Kind.IPV6, "2001:db8::1", "2001[:]db8[:][:]1"),
        (Kind.HOSTNAME, "a.evil.example.com", "a[.]evil[.]example[.]com"),
        (
            Kind.URL,
            "https://evil.example.com:8080/a.b?u=http://x.y/",
            "hxxps://evil[.]example[.]com:8080/a.b?u=http[:]//x.y/",
        ),
        (Kind.URL, "tcp://evil.example.com:1/", "tcp[:]//evil[.]example[.]com:1/"),
        (Kind.FILENAME, "a.exe", "a.exe"),
        (Kind.FILENAME, "http://evil.example/", "hxxp[:]//evil.example/"),
        (Kind.FILENAME, "cod\u202egpj.exe", "cod⟨U+202E⟩gpj.exe"),
        (Kind.FILENAME, "a\x1b[31mb\r\n", "a⟨U+001B⟩[31mb⟨U+000D⟩⟨U+000A⟩"),
        (Kind.FILENAME, "a\ud800", "a⟨U+D800⟩"),
    ],
)
def test_a_value_is_shown_defanged_and_plain_to_see(kind: Kind, value: str, text: str) -> None:
    assert shown(Sample(kind, value)) == text


@settings(deadline=None)
@given(st.from_regex(r"\Ahttps?://[a-z]{1,8}\.example\.com(:[0-9]{2,4})?(/[a-z0-9.?=&%-]{0,20})?\Z"))
def test_what_is_shown_reads_back_as_the_same_sample(url: str) -> None:
    s = sample(Kind.URL, url)

    assert parse(shown(s)) == s


@settings(deadline=None)
@given(st.text())
def test_no_prose_holds_a_live_url_or_a_hidden_character(text: str) -> None:
    safe = prose(text)

    assert "http://" not in safe
    assert "https://" not in safe
    assert visible(safe) == safe
