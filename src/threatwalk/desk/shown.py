"""How a value may be shown to a person: defanged, and with nothing invisible in it."""

import re
import unicodedata
from datetime import datetime

from threatwalk.analysis.analysis import Proposed
from threatwalk.sample import Kind, Sample

_SCHEME = re.compile(r"\b(http)(s?)://", re.IGNORECASE)
_AUTHORITY = re.compile(r"([a-z][a-z0-9+.-]*):(//[^/?#]*)(.*)\Z", re.IGNORECASE | re.DOTALL)
# controls, formats (bidi!), surrogates, private use, unassigned, line and paragraph separators
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def shown(s: Sample) -> str:
    """The sample's value as people may read it: `hxxps://evil[.]example/x`, never a live link."""
    match s.kind:
        case Kind.IPV4 | Kind.DOMAIN | Kind.HOSTNAME:
            return visible(s.value.replace(".", "[.]"))
        case Kind.IPV6:
            return visible(s.value.replace(":", "[:]"))
        case Kind.URL:
            return visible(_url(s.value))
        case Kind.MD5 | Kind.SHA1 | Kind.SHA256 | Kind.FILENAME:
            return prose(s.value)


def prose(text: str) -> str:
    """Free text, such as a source's error message, without live URLs and hidden characters."""
    return visible(_SCHEME.sub(r"hxxp\2://", text).replace("://", "[:]//"))


def proposed(lookup: Proposed) -> str:
    """A lookup that a person should decide about, in one line."""
    return f"{lookup.filter} about {shown(lookup.sample)} (promises {lookup.gain:.3f}; {prose(lookup.why)})"


def plural(count: int, one: str, many: str = "") -> str:
    """The word for so many: `lookup` or `lookups`; `many` where that takes more than an s."""
    return one if count == 1 else many or f"{one}s"


def counted(count: int, one: str, many: str = "") -> str:
    """`1 lookup`, `2,000 lookups`."""
    return f"{count:,} {plural(count, one, many)}"


def shown_moment(moment: datetime | None) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC") if moment else "–"


def shown_day(moment: datetime | None) -> str:
    return moment.strftime("%Y-%m-%d") if moment else "–"


def visible(text: str) -> str:
    """Each control, bidi or other invisible character written out as its code point."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(f"⟨U+{ord(c):04X}⟩" if unicodedata.category(c) in _HIDDEN else c for c in text)


def _url(text: str) -> str:
    parts = _AUTHORITY.match(text)
    if not parts:
        return prose(text)
    scheme, authority, tail = parts.groups()
    plain = scheme in {"http", "https"}
    head = scheme.replace("http", "hxxp") + ":" if plain else f"{scheme}[:]"
    return head + authority.replace(".", "[.]") + tail.replace("://", "[:]//")
