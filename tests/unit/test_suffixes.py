"""The quick way to a host's kind against the public suffix list's own algorithm."""

import random

import pytest

from threatwalk import sample
from threatwalk.errors import SampleError
from threatwalk.sample import Kind, Sample, host, host_kind, registered_domain


def test_every_rule_of_the_list_is_met_the_same_both_ways() -> None:
    plain, wild, exceptions = sample._suffix_rules()
    draw = random.Random(0)
    for rule in sorted([*plain, *wild, *exceptions, "unknowntld", "b.unknowntld"]):
        for depth in range(4):
            name = ".".join([*(draw.choice(["a", "co", "www", "city", "sch"]) for _ in range(depth)), rule])
            at = sample._registered_at(name)
            expected = None if at is None else Kind.HOSTNAME if at else Kind.DOMAIN
            assert host_kind(name) is expected, name
            if expected is Kind.DOMAIN:
                assert registered_domain(name) == name


@pytest.mark.parametrize(
    "raw", ["co.uk", "com", ".com", "x.ck", f"{'a' * 64}.com", "a..com", "-a.com", "\u00b2.x"]
)
def test_what_looks_like_a_plain_name_and_is_no_host_is_refused(raw: str) -> None:
    with pytest.raises(SampleError):
        host(raw)


@pytest.mark.parametrize(
    ("raw", "kind", "value"),
    [
        ("evil.com", Kind.DOMAIN, "evil.com"),
        (f"{'a' * 63}.com", Kind.DOMAIN, f"{'a' * 63}.com"),
        ("Evil.com", Kind.DOMAIN, "evil.com"),
        ("1.com", Kind.DOMAIN, "1.com"),
        ("evil.us", Kind.DOMAIN, "evil.us"),
        ("www.ck", Kind.DOMAIN, "www.ck"),
        ("\u00e9vil.com", Kind.DOMAIN, "xn--vil-9la.com"),
        ("a.evil.co.uk", Kind.HOSTNAME, "a.evil.co.uk"),
    ],
)
def test_quick_and_slow_ways_to_a_host_meet(raw: str, kind: Kind, value: str) -> None:
    assert host(raw) == Sample(kind, value)
