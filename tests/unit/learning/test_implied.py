import json
from pathlib import Path

import numpy as np
import pytest

from threatwalk.errors import DataError
from threatwalk.learning import implied
from threatwalk.learning.dataset import NO_GROUP, UNDATED
from threatwalk.learning.implied import FILTERS, Edges, Hubs, edges, hubs
from threatwalk.sample import Kind, Sample, host, parse

Row = tuple[str, str, str, int, int]


def implied_by(
    *reports: tuple[int, int, list[str]], noise: int = 0, shared: Hubs = implied.NO_HUBS, seed: int = 0
) -> Edges:
    """Edges of reports given as (day, group, samples)."""
    samples = sorted({parse(text) for _, _, texts in reports for text in texts})
    rows = [(i, samples.index(parse(text))) for i, (_, _, texts) in enumerate(reports) for text in texts]
    owner, member = (np.array(column) for column in zip(*rows, strict=True))
    days, groups = (np.array([report[i] for report in reports], dtype=np.int32) for i in (0, 1))
    return edges(samples, owner, member.astype(np.int32), days, groups, noise=noise, shared=shared, seed=seed)


def shown(made: Edges) -> set[Row]:
    """The pivots that some report shows."""
    return {row for row in table(made) if row[4] != NO_GROUP}


def table(made: Edges) -> set[Row]:
    columns = zip(made.filter, made.origin, made.found, made.day, made.group, strict=True)
    return {
        (FILTERS[f], made.samples[o].value, made.samples[x].value, int(d), int(g))
        for f, o, x, d, g in columns
    }


def test_a_host_shows_that_its_domain_has_it_and_names_its_domain() -> None:
    assert table(implied_by((10, 1, ["a.example.com"]))) == {
        ("passivetotal", "example.com", "a.example.com", 10, 1),
        ("whois", "a.example.com", "example.com", UNDATED, NO_GROUP),
    }


def test_a_url_shows_that_its_host_serves_it_and_names_its_host() -> None:
    assert table(implied_by((10, 1, ["http://example.com:8080/x"]))) == {
        ("virustotal", "example.com", "http://example.com:8080/x", 10, 1),
        ("virustotal", "http://example.com:8080/x", "example.com", UNDATED, NO_GROUP),
    }


def test_a_urls_host_counts_as_shown() -> None:
    rows = table(implied_by((10, 1, ["http://192.0.2.1/x"]), (11, 2, ["192.0.2.200"])))

    assert {row for row in rows if row[0] == "netblock"} == {
        ("netblock", "192.0.2.200", "192.0.2.1", 10, 1),
        ("netblock", "192.0.2.1", "192.0.2.200", 11, 2),
    }


def test_addresses_of_other_blocks_are_no_neighbours() -> None:
    assert table(implied_by((10, 1, ["192.0.2.1", "192.0.3.1", "2001:db8::1"]))) == set()


def test_each_group_is_evidence_once_on_its_earliest_day() -> None:
    made = implied_by((12, 1, ["a.example.com"]), (10, 1, ["a.example.com"]), (11, 2, ["a.example.com"]))

    assert shown(made) == {
        ("passivetotal", "example.com", "a.example.com", 10, 1),
        ("passivetotal", "example.com", "a.example.com", 11, 2),
    }


def test_the_earliest_groups_are_kept() -> None:
    made = implied_by(*((100 - group, group, ["a.example.com"]) for group in range(20)))

    assert sorted(day for *_, day, _ in shown(made)) == list(range(81, 81 + implied.EVIDENCE))


def test_every_pivot_is_shown_by_a_report_that_names_what_it_found() -> None:
    rng = np.random.default_rng(5)
    pool = [f"h{i}.example.com" for i in range(9)] + [f"192.0.2.{i}" for i in range(9)]
    pool += [f"http://h{i}.example.com/{i}" for i in range(9)] + ["example.com", "example.net"]
    reports = [(int(rng.integers(50)), int(rng.integers(6)), [pool[i] for i in rng.choice(len(pool), 6, replace=False)])
               for _ in range(25)]  # fmt: skip

    for _, _, found, day, group in shown(implied_by(*reports)):
        names = [host(text.split("/")[2]) if "//" in text else parse(text) for d, g, texts in reports
                 if (d, g) == (day, group) for text in texts]  # fmt: skip
        whole = [text for d, g, texts in reports if (d, g) == (day, group) for text in texts]
        assert found in {one.value for one in names} | set(whole)


def test_reports_without_names_imply_nothing() -> None:
    assert table(implied_by((1, 1, ["d41d8cd98f00b204e9800998ecf8427e"]))) == set()


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    for name, entries in {
        "cloudflare": ["192.0.2.0/24", "2001:db8::/32"],
        "amazon-aws": ["198.51.0.0/16", "198.51.100.0/24"],
        "dynamic-dns": [".example.org"],
    }.items():
        (tmp_path / "lists" / name).mkdir(parents=True)
        (tmp_path / "lists" / name / "list.json").write_text(json.dumps({"list": entries}))
    return tmp_path


def test_hubs_are_known_from_the_warning_lists(lists: Path) -> None:
    addresses = [(192 << 24) + (2 << 8) + 7, (198 << 24) + (51 << 16) + (200 << 8), (203 << 24) + 1, 0]

    known = hubs(lists)

    assert known.holds(np.array(addresses)).tolist() == [True, True, False, False]
    assert known.names == {"example.org"}


def test_a_folder_without_warning_lists_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no warning lists"):
        hubs(tmp_path)


def test_hubs_get_unrelated_neighbours_that_no_audit_drops(lists: Path) -> None:
    others = [f"http://h{i}.example.net/{i}" for i in range(50)]
    made = implied_by((10, 1, ["192.0.2.7", "example.org", *others]), noise=5, shared=hubs(lists))

    noise = [row for row in table(made) if row[4] == NO_GROUP and row[1] in {"192.0.2.7", "example.org"}]

    assert {row[1] for row in noise} == {"192.0.2.7", "example.org"}
    assert {row[3] for row in noise} == {UNDATED}
    assert {row[0] for row in noise} == {"passivetotal", "virustotal"}
    assert 15 <= len(noise) <= 20
    assert all(row[1] != row[2] for row in noise)


def test_a_host_of_many_groups_is_a_hub_without_any_list() -> None:
    reports = [
        (1, group, ["busy.example.com", f"h{group}.example.com"]) for group in range(implied.HUB_GROUPS)
    ]

    rows = table(implied_by(*reports, noise=3))
    noise = {row[1] for row in rows if row[4] == NO_GROUP and row[0] != "whois"}

    assert noise == {"busy.example.com"}


def test_noise_follows_the_seed(lists: Path) -> None:
    report = (10, 1, ["192.0.2.7", *(f"h{i}.example.net" for i in range(200))])
    made = [table(implied_by(report, noise=20, shared=hubs(lists), seed=seed)) for seed in (1, 1, 2)]

    assert made[0] == made[1]
    assert made[0] != made[2]


def test_new_samples_are_the_hosts_and_domains_that_strings_name() -> None:
    made = implied_by((1, 1, ["http://a.example.com/x"]))

    assert set(made.samples) == {
        Sample(Kind.URL, "http://a.example.com/x"),
        Sample(Kind.HOSTNAME, "a.example.com"),
        Sample(Kind.DOMAIN, "example.com"),
    }
