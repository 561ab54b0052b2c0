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
Says = Callable[[Sample, Sequence[Found]], Sequence[Found]]


@dataclass(frozen=True, slots=True)
class Extra:
    """`share` of what the sources `of` say, as far as `yields` has room for it.

    Where kinds alone do not tell, `says` picks what the interface can say of a sample.
    """

    of: tuple[str, ...]
    share: float
    yields: Yields
    says: Says | None = None


def _each(kinds: frozenset[Kind], found: frozenset[Kind]) -> Yields:
    return dict.fromkeys(kinds, found)


def _place(url: str) -> str:
    """The host of a canonical URL, as it stands there."""
    return url.partition("://")[2].partition("/")[0].rpartition("@")[2].partition(":")[0]


def _payloads(asked: Sample, found: Sequence[Found]) -> Sequence[Found]:
    """URLhaus lists a host's own URLs, names a URL's own host, and knows a payload, by two hashes and some
    names, if it lay at a URL.
    """
    if asked.kind in _HOSTS:
        return [f for f in found if _place(f.sample.value) == asked.value]
    if asked.kind is Kind.URL:
        own = _place(asked.value)
        return [f for f in found if f.sample.kind not in _HOSTS or f.sample.value == own]
    if not any(f.sample.kind is Kind.URL for f in found):
        return ()
    other = next((f for f in found if f.sample.kind in _HASHES - {asked.kind}), None)
    return [f for f in found if f is other or f.sample.kind in {Kind.URL, Kind.FILENAME}]


def _entries(asked: Sample, found: Sequence[Found]) -> Sequence[Found]:
    """ThreatFox finds a host's text in its entries: URLs there, and names below it."""
    if asked.kind not in _HOSTS:
        return found
    below = f".{asked.value}"
    return [
        f
        for f in found
        if f.sample.kind in _HASHES
        or (_place(f.sample.value) if f.sample.kind is Kind.URL else f.sample.value).endswith(below)
        or (f.sample.kind is Kind.URL and _place(f.sample.value) == asked.value)
    ]


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
        _each(_HASHES, _HOSTS | _FILE | _URL) | _each(_HOSTS | _URL, frozenset({Kind.SHA256})),
    ),
    "hashlookup": Extra(("nsrl",), 1.0, _each(_HASHES, _FILE)),
    # sources that analysts use today
    "urlhaus": Extra(
        ("virustotal", "otx"),
        0.8,
        _each(_HOSTS, _URL)
        | _each(_URL, _HOSTS | _FILE - {Kind.SHA1})
        | _each(_HASHES - {Kind.SHA1}, _URL | _FILE - {Kind.SHA1}),
        _payloads,
    ),
    "threatfox": Extra(
        ("virustotal", "threatcrowd"),
        0.6,
        _each(_NAMES, _HASHES - {Kind.SHA1} | _URL | {Kind.HOSTNAME})
        | _each(_IP, _HASHES - {Kind.SHA1} | _URL)
        | _each(_URL, _HASHES - {Kind.SHA1})
        | _each(_HASHES - {Kind.SHA1}, _HOSTS | _URL),
        _entries,
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
    said = list(found.values())
    return tuple(said if extra.says is None else extra.says(sample, said))


def _known(share: float, source: str, origin: Sample, found: Sample) -> bool:
    digest = blake2b(f"{source} {origin} {found}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64
