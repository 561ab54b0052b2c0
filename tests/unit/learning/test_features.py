import numpy as np
import pytest

from threatwalk.learning.features import GROUP_OF, hashed, words
from threatwalk.sample import Kind, Sample, parse


def test_words_of_a_host_name_tell_suffix_owner_shape_and_grams():
    found = set(words(parse("hostname:staffsolut.nichost.ru")))

    assert {"kind:hostname", "name:tld:ru", "name:under:nichost.ru", "name:^ni", "name:below:sta"} <= found


def test_words_of_an_address_are_its_blocks():
    assert list(words(parse("ipv4:195.208.1.146"))) == [
        "kind:ipv4",
        "block:195",
        "block:195.208",
        "block:195.208.1",
    ]


def test_words_of_a_url_tell_its_path_without_its_host():
    found = set(words(parse("url:http://192.0.2.7:8080/gate.php?id=1")))

    assert {"url:host:ip", "url:port::8080", "url:ends:php", "url:key:id"} <= found


def test_digits_of_a_hash_say_nothing():
    assert list(words(Sample(Kind.MD5, "0" * 32))) == ["kind:md5"]


def test_hashes_are_those_of_every_machine():
    assert hashed(parse("ipv4:195.208.1.146")).tolist() == [
        518557832,
        2879532468,
        3732309890,
        3970748711,
    ]


@pytest.mark.parametrize(
    "value", ["http://" + "a" * 5000, "ftp://[2001:db8::1]/x", "http:///", "x://\x00?\ud800"]
)
def test_a_strange_url_has_few_words(value: str):
    assert 1 <= len(hashed(Sample(Kind.URL, value))) <= 64


def test_every_kind_belongs_to_a_group():
    assert set(GROUP_OF) == set(Kind)


def test_words_are_distinct_and_sorted():
    numbers = hashed(parse("domain:aaaaaaaa.com"))

    assert np.array_equal(numbers, np.unique(numbers))
