"""The quick way to a host's kind against the public suffix list's own algorithm."""

import random

from threatwalk import sample
from threatwalk.sample import Kind, host_kind, registered_domain


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
