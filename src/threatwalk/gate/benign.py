"""What is no part of a threat: MISP's warning lists, and hashes and addresses that are known to be good.

Such a sample is kept and marked, and nobody is asked about it: a hub leads to thousands of strangers.
"""

import ipaddress
import json
import socket
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from threatwalk.errors import ParamsError
from threatwalk.sample import FILE_KINDS, Kind, Sample

_IPS = frozenset({Kind.IPV4, Kind.IPV6})
_NAMES = frozenset({Kind.DOMAIN, Kind.HOSTNAME})
_LONGEST = 64  # labels of a name that are looked at

Check = Callable[[Sample], str | None]
"""Why a sample is known to be good; None: it is not known to be."""


class WarningLists:
    """Lists of MISP by the names of their folders, as the package pymispwarninglists carries them.

    Entries match as MISP matches them: networks hold addresses, host names hold what lies below them, texts are
    equal. Of the lists `exact` a name matches itself alone: below a popular domain anybody may live. A URL is
    never benign for its host, since threats lie on good hosts, too.

    Raises:
        ParamsError: a list is not in the package, or is of a type that cannot be matched quickly.
    """

    def __init__(
        self, names: Iterable[str], exact: Iterable[str] = (), *, folder: Path | None = None
    ) -> None:
        self._equal: dict[str, str] = {}
        self._below: dict[str, str] = {}
        networks: dict[int, list[tuple[int, int, str]]] = {4: [], 6: []}
        chosen = dict.fromkeys(names, False) | dict.fromkeys(exact, True)
        for name, alone in chosen.items():
            raw = _load(folder or _folder(), name)
            for entry in raw["list"]:
                self._add(name, raw["type"], str(entry).strip().lower(), alone=alone, networks=networks)
        self._networks = {version: _merged(made) for version, made in networks.items()}

    def _add(
        self,
        name: str,
        type_: str,
        entry: str,
        *,
        alone: bool,
        networks: Mapping[int, list[tuple[int, int, str]]],
    ) -> None:
        span = _span(entry) if type_ == "cidr" else None
        if span is not None:
            version, first, last = span
            networks[version].append((first, last, name))
        elif type_ == "hostname" and not alone:
            self._below.setdefault(entry.lstrip("."), name)
        else:
            self._equal.setdefault(entry.lstrip("."), name)

    def __call__(self, sample: Sample) -> str | None:
        """The list that holds the sample."""
        if sample.kind in _IPS:
            return self._of_address(sample.value)
        if sample.kind in _NAMES:
            return self._equal.get(sample.value) or next(self._above(sample.value), None)
        return self._equal.get(sample.value.lower())

    def _above(self, name: str) -> Iterator[str]:
        labels = name.split(".")[-_LONGEST:]
        for i in range(len(labels)):
            found = self._below.get(".".join(labels[i:]))
            if found is not None:
                yield found

    def _of_address(self, value: str) -> str | None:
        address = ipaddress.ip_address(value)
        starts, ends, names = self._networks[address.version]
        i = bisect_right(starts, int(address)) - 1
        return names[i] if i >= 0 and int(address) <= ends[i] else None


Intervals = tuple[Sequence[int], Sequence[int], Sequence[str]]


def _merged(networks: list[tuple[int, int, str]]) -> Intervals:
    """Disjoint intervals in order: of overlapping networks the wider one speaks for all."""
    kept: list[tuple[int, int, str]] = []
    for first, last, name in sorted(networks, key=lambda one: (one[0], -one[1])):
        if not kept or last > kept[-1][1]:
            kept.append((first, last, name))
    return [one[0] for one in kept], [one[1] for one in kept], [one[2] for one in kept]


def _span(entry: str) -> tuple[int, int, int] | None:
    """IP version, first and last address of a network or a single address; None: it is neither."""
    try:
        if "/" not in entry:  # most entries, and a hundred times faster than a network
            version, family = (6, socket.AF_INET6) if ":" in entry else (4, socket.AF_INET)
            address = int.from_bytes(socket.inet_pton(family, entry), "big")
            return version, address, address
        network = ipaddress.ip_network(entry, strict=False)
    except (OSError, ValueError):
        return None
    return network.version, int(network.network_address), int(network.broadcast_address)


def _folder() -> Path:
    import pymispwarninglists  # noqa: PLC0415 - only who asks live needs it

    return Path(pymispwarninglists.__file__).parent / "data" / "misp-warninglists" / "lists"


def _load(folder: Path, name: str) -> dict[str, Any]:
    path = folder / name / "list.json"
    try:
        raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise ParamsError(
            f"params.yaml: gate.warning_lists names {name!r}, which MISP's lists do not hold"
        ) from err
    if raw["type"] not in {"cidr", "hostname", "string"}:
        raise ParamsError(
            f"params.yaml: the warning list {name} is of type {raw['type']}, which is not matched"
        )
    return raw


class Benign:
    """The warning lists and every known-good check, asked in turn; what was found out is remembered."""

    def __init__(self, checks: Callable[[], Sequence[Check]]) -> None:
        """`checks` is called at the first question: lists take a moment to load."""
        self._checks = checks
        self._made: Sequence[Check] | None = None
        self.why = lru_cache(maxsize=8192)(self._why)

    def _why(self, sample: Sample) -> str | None:
        if self._made is None:
            self._made = self._checks()
        return next((reason for check in self._made if (reason := check(sample)) is not None), None)


def listed(lists: WarningLists) -> Check:
    """The warning lists as a check."""

    def check(sample: Sample) -> str | None:
        name = lists(sample)
        return None if name is None else f"it stands on MISP's warning list {name}"

    return check


def among(samples: frozenset[Sample], reason: str) -> Check:
    """A set of samples that are known to be good for one reason."""
    return lambda sample: reason if sample in samples else None


def hashes_in(knows: Callable[[Sample], bool], reason: str) -> Check:
    """A database of known files, asked about hashes."""
    hashes = FILE_KINDS - {Kind.FILENAME}
    return lambda sample: reason if sample.kind in hashes and knows(sample) else None
