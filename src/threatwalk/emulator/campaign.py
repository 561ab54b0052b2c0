"""A campaign: what its style says is made, linked, published in reports, and found by the sources."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from threatwalk.emulator.graph import UNDATED, Ids
from threatwalk.emulator.internet import UNDATED_SOURCES, Internet
from threatwalk.sample import Kind

ALIGNED = 0  # `each` of a Link: the i-th origin finds the i-th found

DARK = 0.07  # part of a campaign's samples that no source knows
HIDDEN = 0.13  # part that sources know when asked about it, but never name when asked about others
CHAFF = 0.20  # strangers that stray into a campaign's answers, for each thing rightly found
LATE = 0.08  # part of the evidence that is younger than the report
UNREPORTED = 0.12  # part of a campaign's samples that its reports do not name


@dataclass(frozen=True, slots=True)
class Role:
    """One part of a campaign's infrastructure: `share` of the reported samples; 0: made, never reported.

    `make(campaign, count)` gives kind and values; it may build on the roles before it.
    """

    name: str
    make: Callable[["Campaign", int], tuple[Kind, list[str]]]
    share: float


@dataclass(frozen=True, slots=True)
class Link:
    """`source` answers the part `known` of the origins, each with `each` of the found role."""

    source: str
    origin: str
    found: str
    each: int
    known: float


@dataclass(frozen=True, slots=True)
class Strangers:
    """`source` answers the part `known` of the origins, each with `count` members of a pool.

    `same`: the same members for all origins of the campaign.
    """

    source: str
    origin: str
    pool: str
    count: int
    known: float
    same: bool = False


@dataclass(frozen=True, slots=True)
class Hub:
    """`source` answers the part `known` of the origins, each with `count` of the campaign's own hubs."""

    source: str
    origin: str
    hub: str
    count: int
    known: float


@dataclass(frozen=True, slots=True)
class Pointer:
    """DNS (and Internet Storm Center) name the provider's own host name for the part `known` of the origins."""

    origin: str
    zone: str
    known: float


@dataclass(frozen=True, slots=True)
class Pulse:
    """Open Threat Exchange: with chance `exact` a pulse of just this campaign, with `mega` one of everything."""

    exact: float
    mega: float
    known: float = 0.6


STRANGERS = {  # the pools that chaff of a kind comes from: mostly quiet, sometimes next to a hub
    Kind.IPV4: ("quiet_ips", "ips"),
    Kind.DOMAIN: ("quiet", "sites"),
    Kind.HOSTNAME: ("quiet_subs", "subs"),
    Kind.URL: ("urls", "urls"),
    Kind.MD5: ("quiet_md5", "md5"),
    Kind.SHA256: ("quiet_sha256", "sha256"),
}
LOUD = 0.01  # part of the chaff that stands next to a hub

Rule = Link | Strangers | Hub | Pointer | Pulse


@dataclass(frozen=True, slots=True)
class Style:
    """How campaigns of a kind look and who knows what of them. `variant` differs in looks and rules."""

    name: str
    variant: str
    weight: float
    roles: tuple[Role, ...]
    rules: tuple[Rule, ...]


@dataclass(slots=True)
class Campaign:
    """One campaign in the making; `born` is the day of its first report."""

    net: Internet
    style: Style
    born: int
    roles: dict[str, Ids] = field(default_factory=dict)
    hubs: dict[str, Ids] = field(default_factory=dict)
    looks: dict[str, str] = field(default_factory=dict)  # what a role's maker keeps: a brand, a path
    dark: set[int] = field(default_factory=set)
    hidden: set[int] = field(default_factory=set)

    def values(self, role: str) -> list[str]:
        return [self.net.graph.samples[i].value for i in self.roles[role]]


def found_campaign(net: Internet, style: Style, born: int, size: int) -> Campaign:
    """The infrastructure of a campaign whose reports name about `size` samples, with all its evidence."""
    campaign = Campaign(net, style, born)
    for role in style.roles:
        count = max(1, round(size * (role.share or 0.1) / (1 - UNREPORTED)))
        kind, values = role.make(campaign, count)
        campaign.roles[role.name] = net.graph.add(kind, values)
    everything = np.concatenate(list(campaign.roles.values()))
    fate = net.rng.random(len(everything))
    campaign.dark = set(everything[fate < DARK].tolist())
    campaign.hidden = set(everything[fate < DARK + HIDDEN].tolist())
    for rule in style.rules:
        _apply(campaign, rule)
    return campaign


def _apply(campaign: Campaign, rule: Rule) -> None:
    net = campaign.net
    match rule:
        case Link(source, origin, found, each, known):
            _link(campaign, source, *_pairs(campaign, origin, found, each, known))
        case Strangers(source, origin, pool, count, known, same):
            origins = _known(campaign, origin, known)
            if len(origins):
                one = net.draw(pool, count)
                sets = [one if same else net.draw(pool, count) for _ in origins]
                net.link(source, np.repeat(origins, [len(s) for s in sets]), np.concatenate(sets))
        case Hub(source, origin, hub, count, known):
            hubs = campaign.hubs.setdefault(
                hub, net.rng.choice(net.hubs[hub], min(3, len(net.hubs[hub])), False)
            )
            if hub.startswith("ns"):
                pair = net.hubs[hub].reshape(-1, 2)
                hubs = pair[hubs[0] % len(pair)]
            origins = _known(campaign, origin, known)
            for i in range(min(count, len(hubs))):
                net.link(source, origins, np.full(len(origins), hubs[i], np.int32))
        case Pointer(origin, zone, known):
            origins = _known(campaign, origin, known)
            names = net.pointers(origins, zone)
            half = net.rng.random(len(names)) < 0.5
            net.link("isc", origins[half], names[half])
        case Pulse(exact, mega, known):
            _pulse(campaign, net.rng.random(), exact, mega, known)


def _role(campaign: Campaign, role: str) -> Ids:
    """The samples of a role, or of several (`a+b`)."""
    return np.concatenate([campaign.roles[name] for name in role.split("+")])


def _without(samples: Ids, excluded: set[int]) -> NDArray[np.bool_]:
    return np.array([i not in excluded for i in samples.tolist()], bool)


def _known(campaign: Campaign, role: str, known: float) -> Ids:
    """The samples of a role about which a source can be asked with success."""
    samples = _role(campaign, role)
    return samples[_without(samples, campaign.dark) & (campaign.net.rng.random(len(samples)) < known)]


def _pairs(campaign: Campaign, origin: str, found: str, each: int, known: float) -> tuple[Ids, Ids]:
    rng = campaign.net.rng
    origins, targets = _role(campaign, origin), _role(campaign, found)
    if each == ALIGNED:
        targets = targets[np.arange(len(origins)) % len(targets)]
        keep = rng.random(len(origins)) < known
        keep &= _without(origins, campaign.dark) & _without(targets, campaign.hidden)
        return origins[keep], targets[keep]
    origins, targets = _known(campaign, origin, known), targets[_without(targets, campaign.hidden)]
    rows, columns = np.nonzero(rng.random((len(origins), len(targets))) < each / max(1, len(targets)))
    return origins[rows], targets[columns]


def _link(campaign: Campaign, source: str, origins: Ids, found: Ids) -> None:
    """Evidence of a campaign: most of it older than its first report, some younger; and chaff."""
    net, rng, count = campaign.net, campaign.net.rng, len(origins)
    if source in UNDATED_SOURCES:
        first = last = np.full(count, UNDATED, np.int32)
    else:
        first = campaign.born - 1 - rng.exponential(25, count).astype(np.int32)
        late = rng.random(count) < LATE
        first = np.where(late, campaign.born + 1 + rng.integers(0, 60, count), first).astype(np.int32)
        last = (first + rng.exponential(30, count).astype(np.int32)).astype(np.int32)
    net.graph.link(source, origins, found, first, last)
    stray = np.flatnonzero(rng.random(count) < CHAFF)
    for i, loud in zip(stray.tolist(), (rng.random(len(stray)) < LOUD).tolist(), strict=True):
        pools = STRANGERS.get(net.graph.samples[int(found[i])].kind)
        if pools is not None:
            net.link(source, origins[i : i + 1], net.draw(pools[loud], 1))


def _pulse(campaign: Campaign, draw: float, exact: float, mega: float, known: float) -> None:
    net, rng = campaign.net, campaign.net.rng
    everyone = "+".join(role.name for role in campaign.style.roles if role.share)
    kinds = net.graph.samples
    members = _known(campaign, everyone, 0.95)
    members = (
        members[[kinds[i].kind is not Kind.FILENAME for i in members.tolist()]] if len(members) else members
    )
    askers = members[rng.random(len(members)) < known]
    if not len(askers) or draw >= exact + mega:
        return
    found = members[_without(members, campaign.hidden)]
    if draw < exact:
        delay = -rng.integers(1, 40) if rng.random() > 0.15 else rng.integers(1, 20)
        first = campaign.born + int(delay)
    else:
        junk = net.lists[int(rng.integers(len(net.lists)))]
        found = np.concatenate([found, rng.choice(junk, min(len(junk), 220), False)])
        first = campaign.born - int(rng.integers(1, 40))
    count = len(askers) * len(found)
    days = np.full(count, first, np.int32)
    net.graph.link("otx", np.repeat(askers, len(found)), np.tile(found, len(askers)), days, days + 30)
