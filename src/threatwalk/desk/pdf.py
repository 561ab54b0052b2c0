"""A result as a PDF, for people who print or forward it: its answers in short.

Inert: text alone, without link, script or attachment, and without what viewers make links of themselves. Every value is
defanged and stays in its own column, so that none passes for another line. The same result gives the same bytes.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal

from fpdf import FPDF
from fpdf.enums import WrapMode, XPos, YPos
from fpdf.fonts import TTFFont

from threatwalk import __version__
from threatwalk.analysis.analysis import Analysis, Question, Step
from threatwalk.desk.export import Member
from threatwalk.desk.page import found_by, sources, stopped, told
from threatwalk.desk.shown import counted, plural, prose, shown, shown_day, shown_moment, visible
from threatwalk.errors import SettingsError
from threatwalk.pivot import Outcome, Pivot
from threatwalk.reports.report import Tlp
from threatwalk.sample import Sample

MOST: Final = 200  # rows of a list: whoever needs them all has the table
STEPS: Final = 40  # that are told of
ADDED: Final = 8  # new samples of a step
EXAMPLES: Final = 3  # samples that a question was not put about
HOPS: Final = 12  # of a chain
_TABLE: Final = "the table (CSV)"
LONGEST: Final = 300  # characters of a value, a reason or a name
_MARGIN_MM: Final = 16
_LINE_MM: Final = 4.2
_WEIGHTS: Final[tuple[tuple[Literal["", "B"], str], ...]] = (
    ("", "DejaVuSans.ttf"),
    ("B", "DejaVuSans-Bold.ttf"),
)
_PAGES: Final = "\0" * 4  # stands for the number of pages; no text that is `written` holds a NUL
_ON_BLACK: Final = {  # FIRST's colours of TLP 2.0
    Tlp.CLEAR: (255, 255, 255),
    Tlp.GREEN: (51, 255, 0),
    Tlp.AMBER: (255, 192, 0),
    Tlp.AMBER_STRICT: (255, 192, 0),
    Tlp.RED: (255, 43, 43),
}
_MUTED: Final = 95
_LINKED = re.compile(r"(www)\.|@", re.IGNORECASE)  # what viewers take for a page or a mailbox


def pdf(analysis: Analysis, some: Collection[Member], *, dial: float, author: str) -> bytes:
    """The whole file; `some` are the members at this dial, the most probable first.

    Raises:
        SettingsError: the font is not installed.
    """
    first, _ = found_by(analysis)
    paper = _Paper(analysis, author)
    paper.add_page()
    _head(paper, analysis, author)
    _belongs(paper, some, dial)
    _why(paper, analysis, [m for m in some if m.good], first)
    _told(paper, analysis, first)
    _not_asked(paper, analysis)
    return bytes(paper.output())


class _Paper(FPDF):
    """A4, with TLP and PAP above and below each page."""

    def __init__(self, analysis: Analysis, author: str) -> None:
        super().__init__(format="A4")
        for style, name in _WEIGHTS:
            self.add_font("sans", style, _fonts() / name)
        fonts = [frozenset(font.cmap) for font in self.fonts.values() if isinstance(font, TTFFont)]
        self._drawn = frozenset.intersection(*fonts)  # code points
        self._tlp, self._pap = analysis.tlp, analysis.pap
        self._moment = shown_moment(analysis.finished_at)
        self.alias_nb_pages(_PAGES)
        self.set_margin(_MARGIN_MM)
        self.set_auto_page_break(True, margin=_MARGIN_MM + 6)
        self.set_creation_date(analysis.finished_at)  # not now: the same result, the same bytes
        self.set_title(self.written(f"Threat of {_value(analysis.trailhead)}"))
        self.set_author(self.written(_said(author)))
        self.set_creator(f"threatwalk {__version__}")
        self.set_lang("en")

    def header(self) -> None:
        self._mark()
        self.ln(9)

    def footer(self) -> None:
        self.set_y(-_MARGIN_MM)
        self.set_font("sans", "", 7)
        self.set_text_color(_MUTED)
        self.cell(0, 6, f"{self.page_no()} of {_PAGES}   threatwalk {__version__}, {self._moment}")
        self._mark()

    def _mark(self) -> None:
        """As FIRST asks for: 12 points, coloured on black, to the right; PAP beside it."""
        self.set_font("sans", "B", 12)
        mark, beside = f"TLP:{self._tlp.upper()}", f"PAP:{self._pap.upper()}"
        width = self.get_string_width(mark) + 6
        self.set_fill_color(0)
        self.set_text_color(*_ON_BLACK[self._tlp])
        self.set_x(-_MARGIN_MM - width)
        self.cell(width, 6, mark, align="C", fill=True)
        self.set_text_color(_MUTED)
        self.set_x(-_MARGIN_MM - width - 40)
        self.cell(38, 6, beside, align="R")
        self.set_text_color(0)

    def chapter(self, text: str) -> None:
        self.ln(3)
        self.line_of(text, size=12, bold=True)
        self.ln(1)

    def line_of(self, text: str, *, size: float = 8.5, bold: bool = False, muted: bool = False) -> None:
        """A paragraph from where the pen stands, broken wherever it must be: a digest or a URL has no blanks."""
        self.set_font("sans", "B" if bold else "", size)
        self.set_text_color(_MUTED if muted else 0)
        height = _LINE_MM * size / 8.5
        self.multi_cell(
            *(0, height, self.written(text)),
            align="L",
            new_x=XPos.LEFT,
            new_y=YPos.NEXT,
            wrapmode=WrapMode.CHAR,
        )
        self.set_text_color(0)

    def row(self, lead: str, text: str, note: str = "", *, lead_mm: float = 26) -> None:
        """What we say to the left, and what others said in a column that it cannot leave; our note on it below."""
        if self.will_page_break(2 * _LINE_MM):
            self.add_page()
        self.set_font("sans", "", 8.5)
        lead = self.written(lead)
        self.cell(max(lead_mm, self.get_string_width(lead) + 2), _LINE_MM, lead)
        self.line_of(text)
        if note:
            self.line_of(note, size=7, muted=True)
        self.set_x(self.l_margin)

    def more(self, count: int, one: str, many: str = "", *, where: str = "the HTML page") -> None:
        """How many more rows a list has than are here, and where they are."""
        if count > 0:
            self.line_of(
                f"and {count:,} more {plural(count, one, many)}: see {where} of this result", muted=True
            )

    def written(self, text: str) -> str:
        """What the font has no sign for as its code point, and no link that a viewer would make."""
        safe = _LINKED.sub(lambda m: f"{m[1]}[.]" if m[1] else "[@]", visible(text))
        return "".join(c if ord(c) in self._drawn else f"⟨U+{ord(c):04X}⟩" for c in safe)


def _head(paper: _Paper, a: Analysis, author: str) -> None:
    paper.line_of("The threat of one indicator", size=15, bold=True)
    paper.ln(1)
    paper.row(f"Trailhead, {a.trailhead.kind}", _value(a.trailhead), lead_mm=34)
    paper.row("Analysed", shown_moment(a.finished_at), lead_mm=34)
    paper.row("For", _said(author), lead_mm=34)
    paper.row("Walked by", _said(a.policy), _said(a.model or ""), lead_mm=34)
    budget = "" if a.budget is None else f" of {a.budget:,}"
    cost = f"{counted(a.lookups, 'lookup')}{budget} in {counted(len(a.steps), 'step')}; it ended because {stopped(a.stopped)}"
    paper.row("The walk", cost, lead_mm=34)
    paper.line_of(
        "That a sample stands here says how it was reached, not that it is malicious.", size=7, muted=True
    )
    if a.next:
        paper.chapter("It asks a person")
        paper.line_of("The walk is sure of nothing that it found. What promised most, and was not answered:")
    for one in a.next[:MOST]:
        why = f"{one.sample.kind}; promises {one.gain:.3f}; {_said(one.why)}"
        paper.row(one.filter, _value(one.sample), why)


def _belongs(paper: _Paper, some: Collection[Member], dial: float) -> None:
    good = [m for m in some if m.good]
    apart = [m for m in some if m.apart and not m.rejected]
    rejected = sum(m.rejected and not m.good for m in some)
    under = len(some) - len(good) - len(apart) - rejected
    paper.chapter("What belongs to this threat?")
    paper.line_of(
        f"{counted(len(good), 'sample belongs', 'samples belong')} with at least {dial:g}. Set apart: {len(apart):,}; "
        f"rejected: {rejected:,}; under the dial: {under:,}. The table (CSV) has them all."
    )
    for m in good[:MOST]:
        paper.row(_rated(m), _value(m.sample), _facts(m))
    paper.more(len(good) - MOST, "sample that belongs", "samples that belong", where=_TABLE)
    if apart:
        paper.line_of("Set apart: known to be harmless, or shared with strangers", bold=True)
    for m in apart[:MOST]:
        paper.row(_rated(m), _value(m.sample), _said(m.apart))
    paper.more(len(apart) - MOST, "sample set apart", "samples set apart", where=_TABLE)


def _rated(m: Member) -> str:
    return (f"{m.belongs:.2f}  " if m.belongs is not None else "–  ") + m.sample.kind


def _facts(m: Member) -> str:
    facts = [f"found by {', '.join(m.found.sources)}"] if m.found.sources else []
    if m.found.first_seen or m.found.last_seen:
        facts.append(f"seen {shown_day(m.found.first_seen)} to {shown_day(m.found.last_seen)}")
    if m.verdict:  # at the end: a person may be called anything
        facts.append(f"{m.verdict.decision.value} by {_said(m.verdict.who)}")
    return "; ".join(facts)


def _why(paper: _Paper, a: Analysis, good: Sequence[Member], first: dict[Sample, Pivot]) -> None:
    paper.chapter("Why is it here?")
    for number, step in enumerate(a.steps[:STEPS], 1):
        paper.row(f"Step {number}", ", ".join(step.mapping), _cost(step))
        for s in step.added[:ADDED]:
            paper.row(f"   {s.kind}", _value(s))
        paper.more(len(step.added) - ADDED, "new sample of this step", "new samples of this step")
    paper.more(len(a.steps) - STEPS, "step")
    links = first | {  # what a person accepted against the walk's doubt has its first pivot, too
        m.sample: Pivot(m.found.origin, m.found.sources[0], m.sample)
        for m in good
        if m.found.origin and m.sample not in first
    }
    chained = [m.sample for m in good if m.sample in links]
    if chained:
        paper.line_of("Chains of pivots, from each sample that belongs to the trailhead", bold=True)
    for s in chained[:MOST]:
        paper.row(s.kind, _value(s), _chain(s, links))
    paper.more(len(chained) - MOST, "chain")


def _cost(step: Step) -> str:
    others = [(names, value) for names, value in step.values if names != step.mapping][:3]
    weighed = "; ".join(f"{' + '.join(names) or 'stop'} {value:+.3f}" for names, value in others)
    cost = f"{counted(len(step.questions), 'lookup')}, {sum(map(told, step.questions)):,} sent out; {counted(len(step.added), 'new sample')}"
    return f"{cost}. Not taken: {weighed}" if weighed else cost


def _chain(s: Sample, first: dict[Sample, Pivot]) -> str:
    hops: list[str] = []
    while s in first and len(hops) < HOPS:
        pivot = first[s]
        hops.append(f"by {pivot.filter} from {_word(pivot.origin)}")
        s = pivot.origin
    return ", ".join(hops) + (", and further back: see the HTML page" if s in first else "")


def _told(paper: _Paper, a: Analysis, first: dict[Sample, Pivot]) -> None:
    paper.chapter("Who was told what?")
    asked = [q for step in a.steps for q in step.questions]
    for row in sources(a, first):
        counts = ", ".join(f"{n:,} {o.value.replace('_', ' ')}" for o, n in row["outcomes"].items() if n)
        paper.row(
            row["name"],
            f"{row['told']:,} of {counted(row['questions'], 'question')} sent out ({counts}); first to find {row['added']:,}",
        )
    sent = [q for q in asked if told(q)]
    paper.line_of(
        f"{counted(len(sent), 'question')} sent out, {len(asked) - len(sent):,} answered from the archive or not asked",
        bold=True,
    )
    for q in sent[:MOST]:
        lead = f"{shown_moment(q.answer.asked_at)}  {q.filter}  {q.sample.kind}"
        paper.row(lead, _value(q.sample), f"by {_said(q.answer.by)}" if q.answer.by else "", lead_mm=76)
    paper.more(len(sent) - MOST, "question")


def _not_asked(paper: _Paper, a: Analysis) -> None:
    paper.chapter("What was not asked, and why?")
    for name, why in a.held_back[:MOST]:
        paper.row(name, _said(why), "closed to this walk")
    held: dict[tuple[str, str], list[Question]] = {}
    for q in (q for step in a.steps for q in step.questions if q.answer.outcome is Outcome.NOT_ASKED):
        held.setdefault((q.filter, q.answer.reason or ""), []).append(q)
    for (name, why), some in list(held.items())[:MOST]:
        paper.row(name, _said(why), f"about {_examples(q.sample for q in some)}")
    paper.more(len(held) - MOST, "reason")
    if not (a.held_back or held):
        paper.line_of("All that was chosen was asked.")


def _examples(some: Iterable[Sample]) -> str:
    names = [_word(s) for s in dict.fromkeys(some)]
    rest = len(names) - EXAMPLES
    return ", ".join(names[:EXAMPLES]) + (f" and {rest:,} more" if rest > 0 else "")


def _value(s: Sample) -> str:
    return _short(shown(s))


def _word(s: Sample) -> str:
    """A value among words of ours, of which it can put on none: it has no blank."""
    return _value(s).replace(" ", "␣")


def _said(text: str) -> str:
    """What somebody else wrote."""
    return _short(prose(text))


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text):,} characters)"


def _fonts() -> Path:
    """DejaVu, which comes with matplotlib and draws many scripts: a PDF's own fonts know Latin alone."""
    found = find_spec("matplotlib")
    if found is None or not found.submodule_search_locations:
        raise SettingsError("matplotlib, whose font a PDF is written in, is not installed")
    return Path(found.submodule_search_locations[0]) / "mpl-data/fonts/ttf"
