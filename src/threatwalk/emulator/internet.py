"""The harmless rest of a made-up internet: hubs with thousands of unrelated neighbours, and strangers.

Every stranger has answers of its own, so that a walk which strays among them goes on straying.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date

import numpy as np

from threatwalk.emulator.graph import UNDATED, Builder, Ids
from threatwalk.emulator.names import THINGS, TRADES, Names
from threatwalk.sample import Kind

EPOCH = date(1970, 1, 1)
OLD = (date(2016, 1, 1) - EPOCH).days, (date(2023, 1, 1) - EPOCH).days
END = (date(2026, 10, 31) - EPOCH).days

UNDATED_SOURCES = frozenset({"dns", "whois", "nsrl", "threatexpert"})  # what they say bears no date
PASSIVE = ("virustotal", "passivetotal", "otx", "censys", "threatcrowd")

SITE_TLDS = ("com", "de", "co.uk", "it", "fr", "com.br", "pl", "nl", "com.au", "es")
PARKED_TLDS = ("com", "net", "xyz", "club", "site", "live", "icu", "info", "online", "shop")
JUNK_TLDS = ("ru", "cc", "info", "biz", "su", "top", "pw", "work", "club", "com", "org")
POPULAR = (
    *("setup.exe", "svchost.exe", "update.exe", "install.exe", "flashplayer.exe", "explorer.exe"),
    *("winword.exe", "invoice.doc", "document.pdf", "scan.doc", "payment.xls", "readme.txt"),
)
DYN_PROVIDERS = {"dyn_a": ("homelink.net", "mydyndev.org"), "dyn_b": ("zaptodns.com", "ddnsnest.net")}
NS_PROVIDERS = {
    "ns": ("regdns.com", "hostreg-dns.net", "cheapdomains-ns.com", "nic-park.net", "domainhub-dns.org"),
    "ns_cdn": ("edgeshield-ns.com", "frontcache-dns.net"),
    "ns_dyn": ("dyndns-core.net", "zoneserve-dyn.com"),
}


@dataclass(slots=True)
class Internet:
    """Pools of strangers and hubs by name; `size` scales the pools (1 for 1,000 reports)."""

    graph: Builder
    names: Names
    rng: np.random.Generator
    size: float
    pools: dict[str, Ids] = field(default_factory=dict)
    hubs: dict[str, Ids] = field(default_factory=dict)
    lists: list[Ids] = field(default_factory=list)  # mega-pulses

    def draw(self, pool: str, count: int) -> Ids:
        """`count` strangers of a pool, each at most once."""
        members = self.pools[pool]
        if count >= len(members):
            return members
        picked = np.unique(self.rng.integers(len(members), size=count + count // 8))
        while len(picked) < count:  # quicker than a permutation of the pool for each draw
            picked = np.unique(np.append(picked, self.rng.integers(len(members), size=count)))
        drawn: Ids = members[self.rng.permutation(picked)[:count]]
        return drawn

    def link(self, source: str, origin: Ids, found: Ids) -> None:
        """A relation that has been there for years."""
        if source in UNDATED_SOURCES:
            first = last = np.full(len(origin), UNDATED, np.int32)
        else:
            first = self.rng.integers(*OLD, len(origin), dtype=np.int32)
            last = self.rng.integers(END - 700, END, len(origin), dtype=np.int32)
        self.graph.link(source, origin, found, first, last)

    def some(self, source: str, origins: Ids, pool: str, each: int) -> None:
        """Each of `origins` is answered with `each` members of a pool."""
        found = self.rng.choice(self.pools[pool], len(origins) * each)
        self.link(source, np.repeat(origins, each), found)

    def star(self, sources: Sequence[str], hub: int, members: Ids, known: float) -> None:
        """A hub that each source answers with the part `known` of its members, and they with it."""
        at = np.full(len(members), hub, np.int32)
        for source in sources:
            part = self.rng.random(len(members)) < known
            self.link(source, at[part], members[part])
            part = self.rng.random(len(members)) < known
            self.link(source, members[part], at[part])
        self.link("dns", members, at)

    def make(self, kind: Kind, make: Callable[[], str], count: float) -> Ids:
        return self.graph.add(kind, self.names.fresh(make, max(1, round(count))))

    def pointers(self, ips: Ids, zone: str) -> Ids:
        """The providers' own names of addresses (`12-34-56-78.pool.zone`), answered by DNS back and forth."""
        values = [f"{self.graph.samples[i].value.replace('.', '-')}.pool.{zone}" for i in ips]
        names = self.graph.add(Kind.HOSTNAME, values)
        self.link("dns", ips, names)
        self.link("dns", names, ips)
        return names


def build(graph: Builder, names: Names, rng: np.random.Generator, size: float) -> Internet:
    """The harmless part of a world."""
    net = Internet(graph, names, rng, size)
    _providers(net)
    _sites(net)
    _hosted(net)
    _files(net)
    _addresses(net)
    _quiet(net)
    _lists(net)
    return net


def _providers(net: Internet) -> None:
    for hub, zones in NS_PROVIDERS.items():
        net.hubs[hub] = net.graph.add(Kind.HOSTNAME, [f"ns{i}.{zone}" for zone in zones for i in (1, 2)])


def _sites(net: Internet) -> None:
    """Small businesses on shared hosts: some hosts hold a hundred of them, some thousands."""
    names, pick = net.names, net.names.pick
    join = ("", "-")

    def site() -> str:
        return f"{names.word()}{pick(join)}{pick(TRADES)}.{pick(SITE_TLDS)}"

    sites = net.make(Kind.DOMAIN, site, 12000 * net.size)
    net.pools["sites"] = sites
    hosts = net.make(Kind.IPV4, lambda: names.ip("shared"), max(6, 30 * net.size))
    net.hubs["shared"] = hosts
    share = net.rng.pareto(1.2, len(hosts)) + 0.3
    at = net.rng.choice(len(hosts), len(sites), p=share / share.sum())
    for i, host in enumerate(hosts):
        net.star(PASSIVE[:4], int(host), sites[at == i], 0.85)
    subs = [
        f"{pick(('mail', 'www', 'ftp', 'shop', 'cpanel'))}.{net.graph.samples[i].value}"
        for i in net.draw("sites", round(3000 * net.size))
    ]
    net.pools["subs"] = net.graph.add(Kind.HOSTNAME, subs)
    net.link("dns", net.pools["subs"], net.rng.choice(hosts, len(subs)))
    net.some("shodan", sites[::3], "subs", 3)
    _delegate(net, sites, "ns")
    urls = [
        f"http://{net.graph.samples[i].value}/{pick(THINGS)}/{pick(THINGS)}.html"
        for i in net.draw("sites", round(2500 * net.size))
    ]
    net.pools["urls"] = net.graph.add(Kind.URL, urls)
    net.some("virustotal", net.pools["urls"], "sites", 1)


def _delegate(net: Internet, domains: Ids, hub: str) -> None:
    """Whois names two servers of one provider for each domain; PassiveTotal finds the domains by them."""
    servers = net.hubs[hub].reshape(-1, 2)
    which = net.rng.integers(len(servers), size=len(domains))
    for side in (0, 1):
        net.link("whois", domains, servers[which, side])
        part = net.rng.random(len(domains)) < min(1.0, 1500 / max(1, len(domains)))
        net.link("passivetotal", servers[which[part], side], domains[part])


def _hosted(net: Internet) -> None:
    """Names on delivery networks, parking hosts and sinkholes, and under dynamic DNS."""
    names, pick = net.names, net.names.pick

    def fronted() -> str:
        return f"{pick(THINGS)}{names.word()}.{pick(('com', 'net', 'io', 'app', 'co'))}"

    def parked() -> str:
        return f"{pick(THINGS)}-{names.word()}.{pick(PARKED_TLDS)}"

    def junk() -> str:
        return f"{names.random_label(6, 14)}.{pick(JUNK_TLDS)}"

    for hub, make, count, hosts, each in (
        ("cdn", fronted, 5000, 10, 1500),
        ("park", parked, 3000, 4, 1800),
        ("sink", junk, 4000, 3, 1500),
    ):
        pool = net.make(Kind.DOMAIN, make, count * net.size)
        net.pools[hub] = pool
        net.hubs[hub] = net.make(Kind.IPV4, lambda hub=hub: names.ip(hub), hosts)  # type: ignore[misc]
        for host in net.hubs[hub]:
            net.star(PASSIVE, int(host), net.draw(hub, each), 0.9)
        _delegate(net, pool, "ns_cdn" if hub == "cdn" else "ns")
    for provider, zones in DYN_PROVIDERS.items():
        hosts_below: list[Ids] = []
        for zone in zones:
            parent = net.graph.add(Kind.DOMAIN, [zone])
            below = net.make(Kind.HOSTNAME, lambda zone=zone: _below(names, zone), 900 * net.size)  # type: ignore[misc]
            hosts_below.append(below)
            for source in ("virustotal", "passivetotal", "otx", "shodan"):
                net.link(source, np.repeat(parent, len(below)), below)
        net.pools[provider] = np.concatenate(hosts_below)


def _below(names: Names, zone: str) -> str:
    return f"{names.pick(THINGS)}{names.pick(THINGS)}{names.rng.randrange(100)}.{zone}"


def _files(net: Internet) -> None:
    """Strangers' files, hosts that half of all programs contact, and file names that half of them bear."""
    names, pick = net.names, net.names.pick
    count = 3500 * net.size
    md5 = net.make(Kind.MD5, lambda: names.hex(32), count)
    sha256 = net.make(Kind.SHA256, lambda: names.hex(64), count)
    net.pools |= {"md5": md5, "sha256": sha256}
    net.link("virustotal", md5, sha256)
    net.link("virustotal", sha256, md5)
    net.link("nsrl", md5[::2], sha256[::2])
    net.link("nsrl", sha256[::2], md5[::2])

    def busy() -> str:
        role = pick(("update", "ocsp", "telemetry", "cdn", "time", "crl"))
        return f"{role}.{pick(names.brands)}{pick(('soft', 'trust', 'media'))}.com"

    def advert() -> str:
        return f"{pick(('ads', 'pixel', 'track', 'sdk', 'metrics'))}.{names.word()}{pick(('ads', 'mob', 'tics'))}.com"

    net.pools["busy"] = net.make(Kind.HOSTNAME, busy, 24)
    net.pools["ads"] = net.make(Kind.HOSTNAME, advert, 60)
    for pool, known in (("busy", 1200), ("ads", 250)):
        for name in net.pools[pool]:
            for source, kind in (("virustotal", "sha256"), ("threatcrowd", "md5"), ("threatexpert", "md5")):
                found = net.draw(kind, known)
                net.link(source, np.full(len(found), name, np.int32), found)
        net.link("dns", net.pools[pool], net.rng.choice(net.hubs["cdn"], len(net.pools[pool])))
    net.some("virustotal", sha256[::4], "busy", 2)
    net.some("virustotal", md5[::4], "busy", 2)
    net.some("threatexpert", md5[::4], "busy", 3)
    net.some("threatcrowd", md5[::4], "busy", 2)
    net.hubs["popular"] = net.graph.add(Kind.FILENAME, POPULAR)
    for name in net.hubs["popular"]:
        for kind in ("md5", "sha256"):
            found = net.draw(kind, 700)
            net.link("nsrl", np.full(len(found), name, np.int32), found)


def _addresses(net: Internet) -> None:
    names = net.names
    ips = net.make(Kind.IPV4, lambda: names.ip("stranger"), 5000 * net.size)
    net.pools["ips"] = ips
    pointers = net.pointers(ips[::2], "rentaserver.net")
    net.link("isc", ips[::2], pointers)
    net.some("passivetotal", ips, "sites", 4)
    net.some("virustotal", ips, "sites", 3)
    net.some("otx", ips[::2], "sites", 4)
    net.some("censys", ips, "subs", 2)
    net.some("shodan", ips, "subs", 2)
    net.some("virustotal", ips[::2], "sha256", 5)


def _quiet(net: Internet) -> None:
    """Strangers on servers of their own: each leads to a few more, never to thousands."""
    names, pick = net.names, net.names.pick
    count = 1500 * net.size
    ips = net.make(Kind.IPV4, lambda: names.ip("stranger"), count)
    owned = net.make(Kind.DOMAIN, lambda: f"{names.word()}{names.word()}.{pick(SITE_TLDS)}", count)
    at = ips[np.arange(len(owned)) % len(ips)]
    for source in ("virustotal", "passivetotal", "otx", "censys", "threatcrowd", "shodan"):
        part = net.rng.random(len(owned)) < 0.6
        net.link(source, owned[part], at[part])
        net.link(source, at[part], owned[part])
    net.link("dns", owned, at)
    subs = net.graph.add(Kind.HOSTNAME, [f"www.{net.graph.samples[i].value}" for i in owned.tolist()])
    net.link("dns", subs, at)
    net.link("censys", subs, owned)
    net.link("virustotal", owned[::2], subs[::2])
    _delegate(net, owned, "ns")
    net.pools |= {"quiet_ips": ips, "quiet": owned, "quiet_subs": subs}
    files = round(1500 * net.size)
    net.pools["quiet_md5"] = net.make(Kind.MD5, lambda: names.hex(32), files)
    net.pools["quiet_sha256"] = net.make(Kind.SHA256, lambda: names.hex(64), files)
    net.link("virustotal", net.pools["quiet_md5"], net.pools["quiet_sha256"])
    net.link("virustotal", net.pools["quiet_sha256"], net.pools["quiet_md5"])


def _lists(net: Internet) -> None:
    """Pulses that gather everything of a month: hundreds of samples with nothing in common."""
    for _ in range(max(6, round(25 * net.size))):
        parts = [net.draw("sink", 250), net.draw("ips", 150), net.draw("md5", 50), net.draw("sha256", 50)]
        parts += [net.draw("urls", 60), net.draw("park", 90)]
        net.lists.append(np.concatenate(parts))
