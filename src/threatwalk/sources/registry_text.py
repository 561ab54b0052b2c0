"""A registry's text on port 43: whether it is an answer at all.

No registry words it like the next, and throttling comes as prose where an answer was due. So a text must name
servers, say in so many words that there is nothing, or look like a record; whatever does none of it is a failure.
"""

import re
from collections.abc import Iterator
from enum import StrEnum
from itertools import islice

from threatwalk.sources.registry_phrases import CONDITION, CONSEQUENCE, NOTHING, OUT_OF_ORDER, THROTTLED
from threatwalk.sources.registry_servers import servers

_SHORT = 500  # characters; longer paragraphs are terms of use
_MOST = 100  # statements; what a registry has to say it says soon
_COMMENT = " \t%#*>-;|=<[]\ufeff"
_SENTENCE_END = re.compile(r"(?<=[.!?;])\s+")
_NOT_WORD = r"^[^\w\n]*"
_RECORD = re.compile(
    rf"{_NOT_WORD}(?:\w\.\s*)?(?:[^\n:\[]{{0,24}}/\s*)?\[?(?:"
    r"(?:complete )?domain[ _-]?(?:name|information|id|status)?|dominio|nome? de dom\w+|nombre de dominio|ドメイン名|도메인이름"
    r"|inet6?num|net ?range|net ?name|org-?name|aut-num|as ?number|as-?name|as-block|route6?|organi[sz]ation|person|cidr"
    r")\]?\s*[:\].]",
    re.IGNORECASE | re.MULTILINE,
)
_FIELD = re.compile(r"^[ \t*]*(?:\w\.[ \t]*)?\[?\w[\w /.-]{1,40}\]?[ \t.]*[:\]]", re.MULTILINE)
_FIELDS = 6  # so many make a record, whatever its values say
_END = re.compile(
    rf"{_NOT_WORD}(?:whois |record )?(?:database )?last updated? (?:on|of) |{_NOT_WORD}end of |^>>>|look-?up made"
    r"|^\[last update|^% db time|^(?:source|changed):[^\n]*\s*\Z",
    re.IGNORECASE | re.MULTILINE,
)


class Verdict(StrEnum):
    SERVERS = "it names servers"
    BLANK = "it said nothing"
    THROTTLED = "it says that we ask too much"
    OUT_OF_ORDER = "it is out of order"
    NOTHING = "it says that there is nothing"
    RECORD = "a record without name servers"
    FOREIGN = "it said what is no whois record"

    @property
    def answers(self) -> bool:
        return self in {Verdict.SERVERS, Verdict.NOTHING, Verdict.RECORD}


_TELLING = (
    (Verdict.THROTTLED, THROTTLED),
    (Verdict.OUT_OF_ORDER, OUT_OF_ORDER),
    (Verdict.NOTHING, NOTHING),
)


def judged(text: str) -> tuple[Verdict, str]:
    """What a text is, and the words that told."""
    if next(servers(text), None) is not None:
        return Verdict.SERVERS, ""  # an answer, whatever stands around it
    if not text.strip():
        return Verdict.BLANK, ""
    if _is_record(text) and len(_FIELD.findall(text)) >= _FIELDS:
        return Verdict.RECORD, ""
    said = list(islice(_statements(text), _MOST))
    for verdict, phrases in _TELLING:
        for short, sentence in said:
            told = phrases.search(sentence)
            # Terms of use may begin right below "not found", and speak of limits as a matter of course.
            if told and (short or verdict is Verdict.NOTHING) and not _is_conditional(sentence, told):
                return verdict, " ".join(told[0].split())[:80]
    return (Verdict.RECORD if _is_record(text) else Verdict.FOREIGN), ""


def _is_record(text: str) -> bool:
    return _RECORD.search(text) is not None


def ends(text: str) -> bool:
    """Whether a record bears one of the ends that registries write under their records."""
    return _END.search(text[-3000:]) is not None


def _statements(text: str) -> Iterator[tuple[bool, str]]:
    """The sentences of short paragraphs (True), and the first line of each long one (False)."""
    paragraph: list[str] = []
    for line in [*text.splitlines(), ""]:
        plain = line.strip(_COMMENT)
        if plain:
            paragraph.append(plain)
            continue
        joined = " ".join(paragraph)
        if len(joined) > _SHORT:
            yield False, paragraph[0][:_SHORT]
        elif joined:
            yield from ((True, sentence) for sentence in _SENTENCE_END.split(joined))
        paragraph = []


def _is_conditional(sentence: str, told: re.Match[str]) -> bool:
    """Whether a sentence speaks of what could be, as terms of use do."""
    return bool(CONDITION.search(sentence[: told.start()]) or CONSEQUENCE.search(sentence[told.start() :]))
