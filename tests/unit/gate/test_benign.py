"""Warning lists match as MISP's own package matches them, only faster; known-good checks are asked in turn."""

import random
from pathlib import Path

import pytest
from pymispwarninglists import WarningList

from threatwalk import params
from threatwalk.errors import ParamsError
from threatwalk.gate import known_good, tables
from threatwalk.gate.benign import Benign, WarningLists, _folder, _load, among, hashes_in, listed
from threatwalk.sample import Kind, parse

GATE = params.load(Path(__file__).parents[3] / "params.yaml").gate


@pytest.fixture(scope="module")
def lists() -> WarningLists:
    return WarningLists(GATE.warning_lists, GATE.exact_lists)


@pytest.mark.parametrize(
    ("sample", "name"),
    [
        ("ipv4:8.8.8.8", "public-dns-v4"),
        ("ipv4:104.16.0.1", "cloudflare"),
        ("ipv6:2606:4700::1", "cloudflare"),
        ("ipv4:10.1.2.3", "rfc1918"),
        ("md5:d41d8cd98f00b204e9800998ecf8427e", "empty-hashes"),
        ("domain:google.com", "tranco10k"),
        ("hostname:outlook.office365.com", "microsoft-office365"),
        ("hostname:someone.blogspot.com", None),  # popular is the domain, not who lives below it
        ("url:https://github.com/someone/tool", None),
        ("ipv4:45.95.168.7", None),
        ("sha256:" + "ab" * 32, None),
    ],
)
def test_a_sample_stands_on_a_list_or_on_none(lists: WarningLists, sample: str, name: str | None) -> None:
    assert lists(parse(sample)) == name


@pytest.mark.parametrize(
    "name", ["cloudflare", "sinkholes", "whats-my-ip", "empty-hashes", "public-dns-v6", "akamai"]
)
def test_a_list_matches_what_the_package_matches(name: str) -> None:
    raw = _load(_folder(), name)
    theirs, ours = WarningList(raw, slow_search=True), WarningLists([name])
    rng = random.Random(name)
    entries = [str(entry) for entry in rng.sample(raw["list"], min(60, len(raw["list"])))]
    values = [entry.split("/")[0] for entry in entries if entry[0] != "."]
    values += [f"deep.{value}" for value in values if raw["type"] == "hostname"]
    values += [f"{rng.randrange(1, 223)}.{rng.randrange(256)}.7.9" for _ in range(100)]
    values += ["example.org", "aa" * 16]
    checked = 0
    for value in values:
        try:
            sample = parse(value)
        except Exception:  # noqa: BLE001 - entries that are no sample of ours cannot be asked about
            continue
        if sample.kind is Kind.IPV6 and raw["type"] == "string":
            continue  # "3::", a hash that its list cut short, reads as an address
        checked += 1
        assert (ours(sample) == name) is (sample.value in theirs), value

    assert checked >= 90


def test_a_list_that_misp_does_not_have_is_a_wrong_parameter() -> None:
    with pytest.raises(ParamsError, match="no-such-list"):
        WarningLists(["no-such-list"])


def test_a_list_of_a_slow_type_is_refused() -> None:
    with pytest.raises(ParamsError, match="substring"):
        WarningLists(["microsoft-attack-simulator"])


def test_checks_are_made_at_the_first_question_and_asked_in_turn() -> None:
    made = []
    scanner, file = parse("ipv4:198.51.100.9"), parse("md5:" + "0" * 32)

    def checks() -> list:
        made.append(True)
        return [
            listed(WarningLists(["rfc1918"])),
            among(frozenset({scanner}), "a scanner"),
            hashes_in(lambda s: s == file, "published"),
        ]

    benign = Benign(checks)
    assert made == []

    assert benign.why(parse("ipv4:10.0.0.1")) == "it stands on MISP's warning list rfc1918"
    assert (benign.why(scanner), benign.why(file)) == ("a scanner", "published")
    assert benign.why(parse("domain:example.net")) is None
    assert made == [True]


def test_a_list_of_researchers_is_kept_for_a_day(store, clock) -> None:
    tables.create(store.engine)
    scanner = parse("ipv4:198.51.100.9")
    assert known_good.stale(store.engine, "isc", clock.now)

    known_good.keep(store.engine, "isc", [scanner], clock.now)

    assert known_good.load(store.engine, "isc") == {scanner}
    assert not known_good.stale(store.engine, "isc", clock.now)


def test_an_unknown_check_is_a_wrong_parameter(store) -> None:
    from dataclasses import replace

    with pytest.raises(ParamsError, match="known_good"):
        known_good.of(replace(GATE, known_good=("virustotal",)), {}, store.engine)
