"""Every source: the eleven of the paper in its order, then those that follow the retired, then those of today.

A new source is a file of its own with a `filter_`, one name in CATALOG, recorded answers with a test, and
one word in `params.yaml: filters`.
"""

from threatwalk.errors import UsageError
from threatwalk.sample import Kind
from threatwalk.sources import (
    censys,
    circl_pdns,
    crtsh,
    dns,
    hashlookup,
    hybrid_analysis,
    isc,
    malwarebazaar,
    mdti,
    nsrl,
    otx,
    passivetotal,
    shodan,
    threatcrowd,
    threatexpert,
    threatfox,
    urlhaus,
    virustotal,
    whois,
)
from threatwalk.sources.filter import Filter, Read, Status

PAPER: tuple[Filter, ...] = (
    dns.filter_,
    whois.filter_,
    virustotal.filter_,
    isc.filter_,
    passivetotal.filter_,
    shodan.filter_,
    censys.filter_,
    threatcrowd.filter_,
    threatexpert.filter_,
    otx.filter_,
    nsrl.filter_,
)
CATALOG: tuple[Filter, ...] = (
    *PAPER,
    mdti.filter_,
    hybrid_analysis.filter_,
    hashlookup.filter_,
    urlhaus.filter_,
    threatfox.filter_,
    malwarebazaar.filter_,
    crtsh.filter_,
    circl_pdns.filter_,
)

_BY_NAME = {f.name: f for f in CATALOG}
_EVERY = frozenset(Kind)


def known(name: str) -> Filter | None:
    """The source of that name; None: archive-only, known from imported answers."""
    return _BY_NAME.get(name)


def accepts(name: str) -> frozenset[Kind]:
    """The kinds that a filter may be asked about; an archive-only filter takes every kind."""
    found = _BY_NAME.get(name)
    return _EVERY if found is None else found.accepts


def filters() -> tuple[Filter, ...]:
    """The sources that have an adapter, in the paper's order."""
    return tuple(f for f in CATALOG if f.ask is not None)


def readers() -> dict[str, Read]:
    """How to read the raw answers of each source that has an adapter."""
    return {f.name: f.read for f in CATALOG if f.read is not None}


def is_live(name: str) -> bool:
    """Whether the source can be asked today: it is alive, and there is an adapter for it."""
    found = _BY_NAME.get(name)
    return found is not None and found.ask is not None and found.status is Status.LIVE


def chosen(names: tuple[str, ...]) -> tuple[Filter, ...]:
    """The sources with an adapter among `names` (params.filters), in their order.

    Raises:
        UsageError: none of them has one.
    """
    found = tuple(f for name in names if (f := _BY_NAME.get(name)) is not None and f.ask is not None)
    if not found:
        raise UsageError("none of the filters in params.yaml can be asked; name one of dns, whois, ...")
    return found
