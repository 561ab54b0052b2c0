"""What the strings of reports imply: evidence for the trails benchmark, where nobody recorded the answers.

A report that names `a.b.example` shows that passive DNS knows this subdomain of `b.example`; one that names
a URL, that its host serves it; one that names an address, that its /24 holds it. Each pivot carries the day
and group of the reports that show it, so that the audit can drop what the goal itself or a younger report
shows. A URL names its own host and a host its registered domain: these need no report, and no audit drops
them. All this flatters precision: strings of reports hold few benign neighbours. Hence the hub noise.
"""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_network
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from threatwalk.errors import DataError, SampleError
from threatwalk.learning.building import Evidence, Goals, Keys
from threatwalk.learning.dataset import NO_GROUP, UNDATED
from threatwalk.sample import Kind, Sample, host, registered_domain

Ints = NDArray[np.int32]
Longs = NDArray[np.int64]
Rows = tuple[NDArray[Any], ...]  # filter, origin, found, day, group

SUBDOMAINS = "passivetotal"
URLS = "virustotal"
NEIGHBOURS = "netblock"
REGISTERED = "whois"
FILTERS = (SUBDOMAINS, URLS, NEIGHBOURS, REGISTERED)
"""The filters that give implied answers; `netblock` is archive-only."""

WARNINGLISTS = "warninglists"
"""The folder of a corpus that holds MISP's warning lists, as in their repository: lists/NAME/list.json."""

EVIDENCE = 8  # groups kept for each pivot, the earliest
HUB_GROUPS = 20  # a host in so many groups of reports is shared, whatever the lists say

_CDN_LISTS = (
    "akamai", "amazon-aws", "bunny-net", "cloudflare", "fastly", "github", "google-gcp", "microsoft-azure",
    "oracle-oci", "ovh-cluster", "parking-domain", "stackpath",
)  # fmt: skip
_SHARED_LISTS = ("dynamic-dns", "link-in-bio", "lots-project", "public-ipfs-gateways", "url-shortener")
_SEPARATOR = "\x1f"
_URL_HOST = re.compile(r"[a-z]+://(?:[^@/?#]*@)?(\[[^\]]*\]|[^:/?#]*)")
_NAMES = {Kind.DOMAIN, Kind.HOSTNAME}


@dataclass(frozen=True)
class Edges:
    """Implied pivots as rows: `filter` is a number into FILTERS, origin and found into `samples`."""

    samples: tuple[Sample, ...]
    filter: NDArray[np.int8]
    origin: Ints
    found: Ints
    day: Ints
    group: Ints


@dataclass(frozen=True)
class Hubs:
    """Hosts that many unrelated parties share: networks as (first, last) address, and names."""

    first: Longs
    last: Longs
    names: frozenset[str]

    def holds(self, addresses: Longs) -> NDArray[np.bool_]:
        """Which IPv4 addresses (as numbers) lie in one of the networks."""
        if not len(self.first):
            return np.zeros(len(addresses), dtype=np.bool_)
        place = np.searchsorted(self.first, addresses, side="right") - 1
        return (place >= 0) & (addresses <= self.last[np.maximum(place, 0)])


NO_HUBS = Hubs(np.empty(0, np.int64), np.empty(0, np.int64), frozenset())


def hubs(warninglists: Path) -> Hubs:
    """CDN, cloud, parking, shared and dynamic-DNS hosts of a folder of MISP warning lists.

    Raises:
        DataError: none of the lists that are needed is there, or one is broken.
    """
    networks: list[IPv4Network] = []
    for text in _entries(warninglists, _CDN_LISTS):
        network = ip_network(text, strict=False)
        if isinstance(network, IPv4Network):
            networks.append(network)
    names = {text.lstrip(".").lower() for text in _entries(warninglists, _SHARED_LISTS)}
    if not networks or not names:
        raise DataError(
            f"{warninglists} holds no warning lists (lists/NAME/list.json) of CDNs and shared hosts"
        )
    spans = np.array(
        sorted((int(one.network_address), int(one.broadcast_address)) for one in networks), dtype=np.int64
    )
    return Hubs(spans[:, 0], np.maximum.accumulate(spans[:, 1]), frozenset(names))


def copy_lists(warninglists: Path, into: Path) -> int:
    """Keep the lists that `hubs` reads, for the corpora to come; the number of lists copied."""
    found = [warninglists / "lists" / name / "list.json" for name in _CDN_LISTS + _SHARED_LISTS]
    found = [path for path in found if path.is_file()]
    for path in found:
        kept = into / path.relative_to(warninglists)
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, kept.with_name("list.json.part"))
        kept.with_name("list.json.part").replace(kept)
    return len(found)


def _entries(warninglists: Path, lists: tuple[str, ...]) -> Iterator[str]:
    for name in lists:
        path = warninglists / "lists" / name / "list.json"
        if path.is_file():
            try:
                yield from json.loads(path.read_text(encoding="utf-8"))["list"]
            except (ValueError, KeyError, TypeError) as err:
                raise DataError(f"{path} is no warning list: {err!r}") from err


def edges(
    samples: list[Sample], owner: Longs, member: Ints, days: Ints, groups: Ints, *, noise: int = 0,
    shared: Hubs = NO_HUBS, seed: int = 0,
) -> Edges:  # fmt: skip
    """Every implied pivot, a row for each of its (at most EVIDENCE) earliest groups.

    Row i of (owner, member) says that report owner[i] holds samples[member[i]]; days and groups are
    the reports'. `noise` unrelated neighbours are given to each hub by passive DNS and VirusTotal
    alike: undated, of no group, so that no audit drops them. Hosts that only a URL names are new samples.
    """
    world = _World(samples)
    shown = world.shown_by(owner, member, days, groups)
    domain, below = world.subdomains()
    place, url = world.url_hosts()
    shown_pairs = [(0, domain, below), (1, place, url), (2, *world.neighbours())]
    parts = [_with_evidence(name, origin, found, shown) for name, origin, found in shown_pairs]
    parts += [_undated(1, url, place), _undated(3, below, domain)]
    if noise:
        rng = np.random.default_rng(seed)
        parts += _noise(world, world.hubs(shared, shown), noise, rng)
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return Edges(tuple(world.samples), columns[0].astype(np.int8), *(c.astype(np.int32) for c in columns[1:]))


def evidence(goals: Goals, filters: tuple[str, ...], *, noise: int, shared: Hubs, seed: int) -> Evidence:
    """The same for the reports of a dataset in the making; `filters` must hold all of FILTERS."""
    split = (text.split(_SEPARATOR, 1) for text in goals.samples.texts.to_pylist())
    samples = [Sample(Kind(kind), value) for kind, value in split]
    made = edges(
        samples,
        goals.owner,
        goals.samples.codes,
        goals.day,
        goals.group,
        noise=noise,
        shared=shared,
        seed=seed,
    )
    texts = pa.array([f"{one.kind}{_SEPARATOR}{one.value}" for one in made.samples], pa.string())
    number = np.array([filters.index(name) for name in FILTERS], dtype=np.int16)
    return Evidence(
        number[made.filter], Keys(texts, made.origin), Keys(texts, made.found), made.day, made.group
    )


@dataclass(frozen=True)
class _Shown:
    """For each sample the reports' (day, group) that show it: rows indptr[s] : indptr[s + 1], earliest first."""

    indptr: Longs
    day: Ints
    group: Ints
    groups: Longs  # distinct groups in all, before the cut


class _World:
    """The samples with their hosts and registered domains, all numbered."""

    def __init__(self, samples: list[Sample]) -> None:
        self.samples = list(samples)
        self._number = {one: i for i, one in enumerate(self.samples)}
        self.host_of = np.array([self._host(i) for i in range(len(samples))], dtype=np.int32)
        self._domain_of = [self._domain(one) for one in list(self.samples)]

    def _add(self, one: Sample) -> int:
        number = self._number.setdefault(one, len(self.samples))
        if number == len(self.samples):
            self.samples.append(one)
        return number

    def _host(self, i: int) -> int:
        """The number of a URL's host; -1 where it has none that is a sample, or is no URL."""
        one = self.samples[i]
        match = _URL_HOST.match(one.value) if one.kind is Kind.URL else None
        try:
            return self._add(host(match[1])) if match else -1
        except SampleError:
            return -1

    def _domain(self, one: Sample) -> int:
        if one.kind is not Kind.HOSTNAME:
            return -1
        return self._add(Sample(Kind.DOMAIN, registered_domain(one.value)))

    def of_kind(self, *kinds: Kind) -> Ints:
        wanted = set(kinds)
        return np.array([i for i, one in enumerate(self.samples) if one.kind in wanted], dtype=np.int32)

    def shown_by(self, owner: Longs, member: Ints, days: Ints, groups: Ints) -> _Shown:
        """A report shows its samples and the hosts of its URLs."""
        hosts = self.host_of[member]
        sample = np.concatenate([member, hosts[hosts >= 0]])
        report = np.concatenate([owner, owner[hosts >= 0]])
        day, group = days[report], groups[report]
        order = np.lexsort((day, group, sample))  # the earliest day of each (sample, group) first
        sample, day, group = sample[order], day[order], group[order]
        fresh = _fresh(sample, group)
        sample, day, group = sample[fresh], day[fresh], group[fresh]
        order = np.lexsort((group, day, sample))  # now each sample's groups by day
        sample, day, group = sample[order], day[order], group[order]
        counts = np.bincount(sample, minlength=len(self.samples))
        rank = np.arange(len(sample)) - np.repeat(np.cumsum(counts) - counts, counts)
        early = rank < EVIDENCE
        return _Shown(_indptr(np.minimum(counts, EVIDENCE)), day[early], group[early], counts)

    def subdomains(self) -> tuple[Ints, Ints]:
        domain = np.array(self._domain_of, dtype=np.int32)
        below = np.flatnonzero(domain >= 0).astype(np.int32)
        return domain[below], below

    def url_hosts(self) -> tuple[Ints, Ints]:
        """(host, URL on it)."""
        urls = np.flatnonzero(self.host_of >= 0).astype(np.int32)
        return self.host_of[urls], urls

    def addresses(self) -> tuple[Ints, Longs]:
        """The IPv4 samples, and their addresses as numbers."""
        found = self.of_kind(Kind.IPV4)
        parts = np.array([self.samples[i].value.split(".") for i in found.tolist()], dtype=np.int64)
        return found, parts.reshape(-1, 4) @ np.array([1 << 24, 1 << 16, 1 << 8, 1])

    def neighbours(self) -> tuple[Ints, Ints]:
        """Every ordered pair of addresses in one /24."""
        found, address = self.addresses()
        order = np.argsort(address)
        found, block = found[order], address[order] >> 8
        _, start, size = np.unique(block, return_index=True, return_counts=True)
        each = np.repeat(size, size)  # of every address, how many its block holds
        origin = np.repeat(np.arange(len(found)), each)
        offset = np.arange(len(origin)) - np.repeat(np.cumsum(each) - each, each)
        other = np.repeat(np.repeat(start, size), each) + offset
        apart = origin != other
        return found[origin[apart]], found[other[apart]]

    def hubs(self, shared: Hubs, shown: _Shown) -> Ints:
        """Hosts that the lists know as shared, or that too many groups of reports name."""
        found, address = self.addresses()
        listed = [found[shared.holds(address)]]
        names = self.of_kind(*_NAMES)
        listed.append(
            np.array([i for i in names.tolist() if self.samples[i].value in shared.names], dtype=np.int32)
        )
        hosts = np.concatenate([found, names])
        listed.append(hosts[shown.groups[hosts] >= HUB_GROUPS])
        return np.unique(np.concatenate(listed)).astype(np.int32)


def _with_evidence(name: int, origin: Ints, found: Ints, shown: _Shown) -> Rows:
    count = np.diff(shown.indptr)[found]
    row = np.repeat(np.arange(len(found)), count)
    place = shown.indptr[found][row] + np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    return np.full(len(row), name), origin[row], found[row], shown.day[place], shown.group[place]


def _undated(name: int, origin: Ints, found: Ints) -> Rows:
    """Pivots that hold without any report."""
    count = len(origin)
    return np.full(count, name), origin, found, np.full(count, UNDATED), np.full(count, NO_GROUP)


def _noise(world: _World, origins: Ints, noise: int, rng: np.random.Generator) -> list[Rows]:
    parts: list[Rows] = []
    for name, pool in ((0, world.of_kind(*_NAMES)), (1, world.of_kind(Kind.URL))):
        if not len(pool):
            continue
        origin = np.repeat(origins, noise)
        found = pool[rng.integers(len(pool), size=len(origin))]
        apart = origin != found
        origin, found = origin[apart], found[apart]
        parts.append(_undated(name, origin, found))
    return parts


def _fresh(*columns: Ints) -> NDArray[np.bool_]:
    """True at the first of each run of equal rows."""
    new = np.zeros(len(columns[0]), dtype=np.bool_)
    new[:1] = True
    for column in columns:
        new[1:] |= column[1:] != column[:-1]
    return new


def _indptr(counts: NDArray[np.integer]) -> Longs:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
