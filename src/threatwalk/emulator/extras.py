"""What sources beyond the paper's eleven say: drawn from what the eleven say, the same for each asking.

The made-up internet itself is frozen with eleven sources, since the benchmarks rest on it. A source more costs
one row here: whose answers it shares, which part of them it knows, and what its interface can say at all.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from threatwalk.emulator.answers import Found
from threatwalk.emulator.relations import RELATIONS, Yields
from threatwalk.sample import Kind, Sample

_NAMES = frozenset({Kind.DOMAIN, Kind.HOSTNAME})
_HOSTS = _NAMES | {Kind.IPV4}
_HASHES = frozenset({Kind.MD5, Kind.SHA1, Kind.SHA256})
_URL = frozenset({Kind.URL})
_FILE = _HASHES | {Kind.FILENAME}

Asking = Callable[[str, Sample], Sequence[Found]]


@dataclass(frozen=True, slots=True)
class Extra:
    """`share` of what the sources `of` say, as far as `yields` has room for it."""

    of: tuple[str, ...]
    share: float
    yields: Yields


def _each(kinds: frozenset[Kind], found: frozenset[Kind]) -> Yields:
    return dict.fromkeys(kinds, found)


_IP = frozenset({Kind.IPV4})
EXTRAS: dict[str, Extra] = {
    # successors of the retired
    "mdti": Extra(("passivetotal",), 1.0, _each(_IP, _NAMES) | _each(_NAMES, _IP | _NAMES)),
    "circl_pdns": Extra(
        ("passivetotal", "virustotal"), 0.8, _each(_IP, _NAMES) | _each(_NAMES, _IP | _NAMES)
    ),
    "hybrid_analysis": Extra(
        ("threatexpert", "virustotal"),
        0.9,
        _each(_HASHES, _HOSTS | _HASHES | _URL) | _each(_HOSTS, frozenset({Kind.SHA256})),
    ),
    "hashlookup": Extra(("nsrl",), 1.0, _each(_HASHES, _FILE)),
    # sources that analysts use today
    "urlhaus": Extra(
        ("otx", "virustotal"),
        0.8,
        _each(_HOSTS, _URL) | _each(_URL, _HOSTS | _FILE - {Kind.SHA1}) | _each(_HASHES - {Kind.SHA1}, _URL),
    ),
    "threatfox": Extra(
        ("virustotal", "threatcrowd"),
        0.6,
        _each(_HOSTS | _URL, _HASHES - {Kind.SHA1}) | _each(_HASHES - {Kind.SHA1}, _HOSTS | _URL),
    ),
    "malwarebazaar": Extra(("virustotal", "nsrl"), 0.7, _each(_HASHES, _FILE)),
    "crtsh": Extra(("censys", "shodan", "virustotal"), 0.9, _each(_NAMES, _NAMES)),
}


def accepts(source: str) -> frozenset[Kind]:
    """The kinds that a source of this internet may be asked about."""
    return frozenset(EXTRAS[source].yields if source in EXTRAS else RELATIONS[source])


def answer(asking: Asking, source: str, sample: Sample) -> tuple[Found, ...]:
    """What an extra source says; `asking` is how to ask the eleven."""
    extra = EXTRAS[source]
    room = extra.yields.get(sample.kind, frozenset())
    found: dict[Sample, Found] = {}
    for name in extra.of:
        for one in asking(name, sample):
            if (
                one.sample.kind in room
                and one.sample != sample
                and _known(extra.share, source, sample, one.sample)
            ):
                found.setdefault(one.sample, one)
    return tuple(found.values())


def _known(share: float, source: str, origin: Sample, found: Sample) -> bool:
    digest = blake2b(f"{source} {origin} {found}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64
