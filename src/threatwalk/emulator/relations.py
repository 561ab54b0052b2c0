"""What each source can say about each kind of sample: a world holds no other relation.

Taken from what the sources' own interfaces offer, so that every answer of a world can be served in
its source's protocol. Pulses of Open Threat Exchange hold every kind but file names.
"""

from threatwalk.sample import Kind

_NAMES = frozenset({Kind.DOMAIN, Kind.HOSTNAME})
_HASHES = frozenset({Kind.MD5, Kind.SHA1, Kind.SHA256})
_IP = frozenset({Kind.IPV4})
_PULSE = _NAMES | _HASHES | _IP | {Kind.URL}

Yields = dict[Kind, frozenset[Kind]]


def _each(kinds: frozenset[Kind], found: frozenset[Kind]) -> Yields:
    return dict.fromkeys(kinds, found)


RELATIONS: dict[str, Yields] = {
    "dns": _each(_IP, _NAMES) | _each(_NAMES, _IP | _NAMES),
    "whois": _each(_NAMES, _NAMES) | _each(_IP, frozenset()),  # networks and contacts, but no samples
    "virustotal": _each(_IP, _NAMES | {Kind.SHA256})
    | _each(_NAMES, _IP | _NAMES | {Kind.SHA256})
    | _each(_HASHES, _IP | _NAMES | _HASHES | {Kind.FILENAME, Kind.URL})
    | _each(frozenset({Kind.URL}), _IP | _NAMES | {Kind.URL, Kind.SHA256}),
    "isc": _each(_IP, _NAMES),
    "passivetotal": _each(_IP, _NAMES | {Kind.MD5}) | _each(_NAMES, _IP | _NAMES | {Kind.MD5}),
    "shodan": _each(_IP, _IP | _NAMES) | _each(_NAMES, _IP | _NAMES),
    "censys": _each(_IP, _NAMES) | _each(_NAMES, _IP | _NAMES),
    "threatcrowd": _each(_IP, _NAMES | {Kind.MD5})
    | _each(_NAMES, _IP | _NAMES | {Kind.MD5})
    | _each(frozenset({Kind.MD5, Kind.SHA1}), _IP | _NAMES | {Kind.MD5, Kind.SHA1}),
    "threatexpert": _each(
        frozenset({Kind.MD5}), _IP | _NAMES | {Kind.MD5, Kind.SHA1, Kind.FILENAME, Kind.URL}
    )
    | _each(_IP | _NAMES, frozenset({Kind.MD5})),
    "otx": _each(_PULSE, _PULSE),
    "nsrl": _each(_HASHES, _HASHES | {Kind.FILENAME}) | _each(frozenset({Kind.FILENAME}), _HASHES),
}
