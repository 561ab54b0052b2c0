"""The name servers in a registry's text: on lines of their own label, or below a heading."""

import re
from collections.abc import Iterator

from threatwalk.sources.body import as_name

_LONGEST_LINE = 500  # characters; so that no line takes long to match
_BEFORE = r"^\W*(?:\w\.?\s+)?\[?"
_LABEL = (
    r"(?:(?:(?:primary|secondary|first|second|third|domain|zone)[ _])?"
    r"(?:name[ _-]?server|nserver|dns(?:[ _]?(?:server|name))?|host ?name|ns(?:[ _]name)?)"
    r"|(?:primary|secondary|domain|dns) servers?|servidor(?:es|\(es\))? de nombres?(?: de dominio)?|serveurs? de noms?"
    r"|ネームサーバ|네임서버)(?:s|\(s\))?"
)
_ASIDE = r"(?:\s*\([^)]*\))?"
_LABELLED = re.compile(rf"{_BEFORE}{_LABEL}[ _]?#?\d*{_ASIDE}\s*[.\])]*[\s:\]]+(\S.*)$", re.IGNORECASE)
_HEADING = re.compile(
    rf"{_BEFORE}{_LABEL}(?:\s+(?:information|details|list(?:ed)?|(?:listed )?in (?:the )?(?:listed )?order))?{_ASIDE}\W*$",
    re.IGNORECASE,
)
_BELOW = re.compile(
    r"^\s*(?:[-*•]\s*)?(?:(?:name|host ?name|dns|ns|nserver|server)\s*\d*[\s.]*:\s*)?(\S+)(.*)$",
    re.IGNORECASE,
)
_BESIDE = re.compile(
    r"[\[(]?[0-9a-f.:]+[\])]?,?|\W+|ok|ipv[46]:?", re.IGNORECASE
)  # what may follow on the line


def servers(text: str) -> Iterator[str]:
    """The name servers, lower case, in the text's order; a server may come twice."""
    below = flush = found = False  # flush: lines that are not indented count as well
    for line in text.splitlines():
        if len(line) > _LONGEST_LINE or line.lstrip().startswith(("%", "#", ">>>")):
            below = flush = False
        elif not line.strip(" \t-=_*"):
            flush = (
                flush and not found
            )  # a blank line may follow the heading; behind the servers it ends them
        elif _HEADING.match(line):
            below, flush, found = True, True, False
        elif labelled := _LABELLED.match(line):
            names = list(_hosts(labelled[1]))
            below, flush = bool(names), False
            yield from names
        elif below and (one := _BELOW.match(line)) and (line[:1].isspace() or (flush and _is_alone(one[2]))):
            names = list(_hosts(one[1]))
            below = found = bool(names)
            yield from names
        else:
            below = flush = False


def _is_alone(rest: str) -> bool:
    return all(_BESIDE.fullmatch(word) for word in rest.split())


def _hosts(value: str) -> Iterator[str]:
    """The host names with which a value begins."""
    for word in re.split(r"[\s,;]+", value):
        host = word.rstrip(".").lower()
        if "." not in host or "/" in host or "@" in host or host.endswith(":") or as_name(host) is None:
            return
        yield host
