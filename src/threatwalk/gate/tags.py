"""Tags: the TLP of every sample of a run. What was found is as strict as the strictest sample that led to it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from threatwalk.gate.policy import strictest
from threatwalk.reports.report import Tlp
from threatwalk.sample import Sample


class Tags:
    """Begins with the tags that samples have of their own; `found` adds what they lead to.

    A parent that becomes stricter later makes stricter what was found about it before.
    """

    def __init__(self, own: Mapping[Sample, Tlp]) -> None:
        self._tlp = dict(own)
        self._strictest = strictest(list(own.values()))
        self._one = len(set(own.values())) <= 1  # tag for all: nothing need be remembered
        self._children: defaultdict[Sample, set[Sample]] = defaultdict(set)

    def __getitem__(self, sample: Sample) -> Tlp:
        """Raises KeyError where nothing led to the sample."""
        return self._strictest if self._one else self._tlp[sample]

    def found(self, parent: Sample, children: Iterable[Sample]) -> None:
        """Note all that was found about a sample, also what is not followed: another one may lead there, too."""
        if self._one:
            return
        made = set(children)
        if self[parent] is not self._strictest:
            self._children[parent] |= made
        self._inherit(made, self[parent])

    def _inherit(self, samples: Iterable[Sample], tlp: Tlp) -> None:
        left = list(samples)
        while left:
            one = left.pop()
            known = self._tlp.get(one)
            tightened = tlp if known is None else strictest([known, tlp])
            if tightened is not known:
                self._tlp[one] = tightened
                left += self._children.get(one, ())
