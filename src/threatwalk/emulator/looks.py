"""How a campaign's samples look: makers for the roles of a style.

Looks are what a policy has to go by, so each variant of a style has its own: top-level domains, shapes
of names, address blocks, paths, file names. Hashes have none.
"""

from collections.abc import Callable

from threatwalk.emulator.campaign import Campaign
from threatwalk.emulator.internet import DYN_PROVIDERS
from threatwalk.emulator.names import LURES, NEWS, THINGS, TRADES, Names
from threatwalk.sample import Kind

Made = tuple[Kind, list[str]]
Maker = Callable[[Campaign, int], Made]


def _fresh(kind: Kind, campaign: Campaign, count: int, make: Callable[[Names], str]) -> Made:
    names = campaign.net.names
    return kind, names.fresh(lambda: make(names), count)


def generated(*tlds: str) -> Maker:
    """Labels of random letters, one top-level domain for each campaign."""

    def make(campaign: Campaign, count: int) -> Made:
        tld = campaign.net.names.pick(tlds)
        return _fresh(Kind.DOMAIN, campaign, count, lambda n: f"{n.random_label(9, 16)}.{tld}")

    return make


def lookalike(*tlds: str) -> Maker:
    """An invented brand's name with a lure around it."""

    def make(campaign: Campaign, count: int) -> Made:
        brands = [campaign.net.names.pick(campaign.net.names.brands) for _ in range(2)]

        def one(n: Names) -> str:
            parts = [n.pick(LURES), n.pick(brands)]
            n.rng.shuffle(parts)
            extra = n.pick(("", "", f"-{n.pick(LURES)}", str(n.rng.randrange(100))))
            return f"{'-'.join(parts)}{extra}.{n.pick(tlds)}"

        return _fresh(Kind.DOMAIN, campaign, count, one)

    return make


def business(*tlds: str) -> Maker:
    return lambda c, count: _fresh(
        Kind.DOMAIN, c, count, lambda n: f"{n.word()}-{n.pick(TRADES)}.{n.pick(tlds)}"
    )


def pairs(*tlds: str) -> Maker:
    """Two everyday words: throw-away domains."""
    return lambda c, count: _fresh(
        Kind.DOMAIN,
        c,
        count,
        lambda n: f"{n.pick(THINGS)}{n.pick(THINGS)}{n.rng.randrange(10)}.{n.pick(tlds)}",
    )


def short(*tlds: str) -> Maker:
    return lambda c, count: _fresh(
        Kind.DOMAIN, c, count, lambda n: f"{n.random_label(3, 5)}{n.rng.randrange(10)}.{n.pick(tlds)}"
    )


def news(*tlds: str) -> Maker:
    def one(n: Names) -> str:
        return f"{n.pick(NEWS)}-{n.pick(NEWS)}{n.pick(('', '-' + n.word()))}.{n.pick(tlds)}"

    return lambda c, count: _fresh(Kind.DOMAIN, c, count, one)


def dynamic(provider: str) -> Maker:
    def one(n: Names) -> str:
        return f"{n.word()}{n.rng.randrange(1000)}.{n.pick(DYN_PROVIDERS[provider])}"

    return lambda c, count: _fresh(Kind.HOSTNAME, c, count, one)


def under(role: str, *labels: str) -> Maker:
    """Host names `label.domain` under the domains of a role."""

    def make(campaign: Campaign, count: int) -> Made:
        domains = campaign.values(role)
        numbers = range(count)
        values = []
        for i in numbers:
            label = labels[(i // len(domains)) % len(labels)]
            again = i // (len(domains) * len(labels))
            values.append(f"{label}{again or ''}.{domains[i % len(domains)]}")
        campaign.net.names.used.update(values)
        return Kind.HOSTNAME, values

    return make


def api(*tlds: str) -> Maker:
    def one(n: Names) -> str:
        return f"{n.pick(('api', 'push', 'cfg', 'gw'))}.{n.word()}{n.pick(('app', 'mobi', 'play'))}.{n.pick(tlds)}"

    return lambda c, count: _fresh(Kind.HOSTNAME, c, count, one)


def mta(*tlds: str) -> Maker:
    def one(n: Names) -> str:
        return f"{n.pick(('mta', 'smtp', 'out', 'mx'))}{n.rng.randrange(100)}.{n.word()}{n.word()}.{n.pick(tlds)}"

    return lambda c, count: _fresh(Kind.HOSTNAME, c, count, one)


def addresses(pool: str) -> Maker:
    """Addresses anywhere in a pool's networks."""
    return lambda c, count: _fresh(Kind.IPV4, c, count, lambda n: n.ip(pool))


def block(pool: str) -> Maker:
    """Addresses in as few /24 blocks as hold them."""

    def make(campaign: Campaign, count: int) -> Made:
        names = campaign.net.names
        blocks = names.blocks(pool, 1 + count // 60 + (names.rng.random() < 0.5))
        return _fresh(Kind.IPV4, campaign, count, lambda n: f"{n.pick(blocks)}.{n.rng.randrange(2, 255)}")

    return make


def urls(on: str, *paths: str) -> Maker:
    """URLs on the hosts of a role; one path for each campaign, `*` in it is a fresh number."""

    def make(campaign: Campaign, count: int) -> Made:
        names, hosts = campaign.net.names, campaign.values(on)
        path = names.pick(paths)
        turn = iter(range(100 * count + 100))

        def one(n: Names) -> str:
            i = next(turn)
            host = hosts[i % len(hosts)]
            tail = path.replace("*", str(n.rng.randrange(1000)))
            query = f"?id={n.rng.randrange(10000)}" if i >= len(hosts) else ""
            return f"http://{host}/{tail}{query}"

        return _fresh(Kind.URL, campaign, count, one)

    return make


def _hashes(kind: Kind) -> Maker:
    length = {Kind.MD5: 32, Kind.SHA1: 40, Kind.SHA256: 64}[kind]
    return lambda c, count: _fresh(kind, c, count, lambda n: n.hex(length))


md5, sha1, sha256 = (_hashes(kind) for kind in (Kind.MD5, Kind.SHA1, Kind.SHA256))


def files(shape: str) -> Maker:
    """File names of one shape: `*` is a number, `@` a word."""

    def one(n: Names) -> str:
        return shape.replace("*", str(n.rng.randrange(1000, 10**6))).replace("@", n.word())

    return lambda c, count: _fresh(Kind.FILENAME, c, count, one)
