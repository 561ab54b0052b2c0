"""How far a sample may travel: the table of TLP and PAP against the classes of sources."""

from itertools import pairwise

from threatwalk import params
from threatwalk.errors import ParamsError
from threatwalk.reports.report import Pap, Tlp
from threatwalk.sources.filter import Opsec

_RANK = {opsec: rank for rank, opsec in enumerate(Opsec)}
_STRICTNESS = {tlp: rank for rank, tlp in enumerate(Tlp)}


class Policy:
    """The table in `params.yaml: gate`. The stricter of TLP and PAP wins; untagged is amber in both.

    Raises:
        ParamsError: the table lacks a colour, names an unknown one or an unknown class, or lets a stricter colour
            go further than a freer one.
    """

    def __init__(self, limits: params.Gate) -> None:
        self._tlp = {Tlp(colour): top for colour, top in _table("tlp", limits.tlp, [*map(str, Tlp)]).items()}
        self._pap = {Pap(colour): top for colour, top in _table("pap", limits.pap, [*map(str, Pap)]).items()}

    def refuses(self, opsec: Opsec, *, tlp: Tlp, pap: Pap, active_dns: bool) -> str | None:
        """Why a sample with these tags may not go to a source of this class; None: it may."""
        if _RANK[opsec] > self._tlp[tlp]:
            return f"TLP:{tlp.upper()} may not go to a source of class {opsec}"
        if _RANK[opsec] > self._pap[pap]:
            return f"PAP:{pap.upper()} may not go to a source of class {opsec}"
        if opsec is Opsec.ACTIVE_DNS and not active_dns:
            return "active DNS was not asked for: the adversary's name server could see it"
        return None

    def stamp(self, tlp: Tlp, pap: Pap, *, dns: bool, kept_pap: Pap, kept_dns: bool) -> Tlp:
        """The freest TLP, no freer than `tlp`, that lets a sample go no further under `kept_pap` than its own tags do.

        For samples of which only a TLP is kept; `dns` and `kept_dns`: active DNS is chosen.
        """

        def reach(tlp: Tlp, pap: Pap, dns: bool) -> set[Opsec]:
            return {o for o in Opsec if self.refuses(o, tlp=tlp, pap=pap, active_dns=dns) is None}

        allowed = reach(tlp, pap, dns)
        stricter = list(Tlp)[_STRICTNESS[tlp] :]
        return next((one for one in stricter if reach(one, kept_pap, kept_dns) <= allowed), Tlp.RED)

    @staticmethod
    def strictness(tlp: Tlp) -> int:
        """By which TLPs are compared: the higher, the stricter."""
        return _STRICTNESS[tlp]


def _table(name: str, raw: dict[str, str], colours: list[str]) -> dict[str, int]:
    """How far each colour goes; `colours` from the freest to the strictest."""
    if set(raw) != set(colours):
        raise ParamsError(f"params.yaml: gate.{name} must name {', '.join(colours)}, no other")
    for colour, opsec in raw.items():
        if opsec not in list(Opsec):
            raise ParamsError(f"params.yaml: gate.{name}.{colour} must be one of {', '.join(Opsec)}")
    ranks = {colour: _RANK[Opsec(opsec)] for colour, opsec in raw.items()}
    for freer, stricter in pairwise(colours):
        if ranks[stricter] > ranks[freer]:
            raise ParamsError(f"params.yaml: gate.{name} lets {stricter} go further than {freer}")
    return ranks


def strictest(tags: list[Tlp]) -> Tlp:
    """The strictest of several TLP tags; amber where there is none."""
    return max(tags, key=_STRICTNESS.__getitem__, default=Tlp.AMBER)
