"""The registries of the made-up internet: who holds a domain, and which protocol tells it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b

from threatwalk.emulator.answers import Answers, Found
from threatwalk.sample import Kind, Sample

# What the RDAP bootstrap lists: generic names, and country codes whose registries have RDAP. The rest
# (.ru, .jp, .de, .it, .io ...) answer on port 43 alone.
_RDAP = """
com net org info biz name mobi pro tel asia cat jobs travel xyz top online site club shop store live icu vip
work space website tech fun host press link click buzz cloud app dev page fit wang win bid loan men download
stream review trade party date racing science cyou rest bar monster quest world today life zone email center
digital network solutions services systems agency media news blog art design company group limited finance
bank insure ltd inc llc moscow uk fr nl pl cz fi no dk br ar au nz in id sg tw ca us tv is lu si es
"""
RDAP_TLDS = tuple(_RDAP.split())
_NOW = datetime(2026, 11, 1, tzinfo=UTC)  # the made-up internet's today: registrations end later
_REGISTRARS = (
    ("Northlight Domains Ltd", 9101),
    ("Registrarium GmbH", 9102),
    ("NameHarbor, LLC", 9103),
    ("Papaya Names B.V.", 9104),
    ("Domainwerk AG", 9105),
    ("First Address Co.", 9106),
)
RIRS = ("arin", "ripe", "apnic", "lacnic", "afrinic")


@dataclass(frozen=True, slots=True)
class Registration:
    """What a registry says of one domain. Times are UTC; `nameservers` are lower-case host names."""

    domain: str
    nameservers: tuple[Found, ...]
    handle: str
    registrar: str
    registrar_id: int
    created: datetime
    updated: datetime
    expires: datetime


def number(text: str) -> int:
    """64 bits that depend on the text alone: what the world leaves open is drawn from them."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def tld(domain: str) -> str:
    return domain.rpartition(".")[2]


def registration(world: Answers, domain: Sample) -> Registration | None:
    """The registration of a domain; None where its registry knows of none."""
    servers = tuple(f for f in world.answer("whois", domain) if f.sample.kind in {Kind.DOMAIN, Kind.HOSTNAME})
    if not servers and not world.knows(domain):
        return None
    drawn = number(domain.value)
    registrar, registrar_id = _REGISTRARS[drawn % len(_REGISTRARS)]
    firsts = [f.first_seen for f in servers if f.first_seen is not None]
    lasts = [f.last_seen for f in servers if f.last_seen is not None]
    created = min(firsts, default=datetime(2015, 1, 1, tzinfo=UTC) + timedelta(days=drawn % 1500))
    updated = max(lasts, default=created + timedelta(days=drawn % 300))
    years = 1 + max(0, (_NOW - created).days) // 365
    expires = created + timedelta(days=365 * years)
    handle = f"{drawn % 10**10}_DOMAIN_{tld(domain.value).upper()}"
    return Registration(domain.value, servers, handle, registrar, registrar_id, created, updated, expires)


def rir(first_octet: int) -> str:
    """Which of the five regional registries holds a /8 (or, for IPv6, a /16) of the made-up internet."""
    return RIRS[number(f"/8 {first_octet}") % len(RIRS)]
