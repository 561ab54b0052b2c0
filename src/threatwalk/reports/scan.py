"""A scan finds the samples in free text, however they are defanged.

Every step is one pass of a linear regular expression, or looks at a bounded piece of text: a report may
be hostile. A dot that was defanged stays marked (DOT) until a name is made, since a defanged name is
meant as a sample, and a plain one may be a file, a link or a word.
"""

import re
from dataclasses import dataclass, field

from threatwalk.errors import SampleError
from threatwalk.sample import (
    HASH_LENGTHS,
    LONGEST,
    Kind,
    Sample,
    digest,
    host,
    host_end,
    host_kind,
    sample,
    top_levels,
)

DOT, COLON = "\ue000", "\ue001"  # a defanged dot and colon; private use, so no text means them

_INVISIBLE = dict.fromkeys(
    map(ord, "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\u00ad\u180e\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
) | {ord(DOT): None, ord(COLON): None, 0xFF0E: ".", 0xFF61: "."}  # fmt: skip
_ODD = re.compile("[" + "".join(map(chr, _INVISIBLE)) + "\u3002\u00bf]")
_MOJIBAKE = ("ï»¿", "Ã¯Â»Â¿")  # a byte order mark that was read as Latin-1, once and twice
_FANG = re.compile(
    rf"[\[({{<]{{1,2}}[ \t]?(?:(?P<dot>\.|{DOT}|dot|punkt)|(?P<colon>:|{COLON})|(?P<mark>:?//)|(?P<slash>/)|(?P<at>@|at))"
    r"[ \t]?[\])}>]{1,2}|(?P<open>\[\.)(?=\w)|(?<=\w)(?P<close>\.\])(?=\w)",
    re.IGNORECASE,
)
_FANG_PLAIN = {"dot": DOT, "open": DOT, "close": DOT, "colon": COLON, "mark": COLON + "//", "slash": "/", "at": "@"}  # fmt: skip
_IDEOGRAPHIC_STOP = re.compile(r"(?<=\w)\u3002(?=[A-Za-z0-9])")

_MARK = re.compile(rf"[:{COLON}](?:/{{2,4}}|\\\\)")
_UNURL = r"\s\"'<>`|\u201c\u201d\u3001\u3002\u300c-\u3011\uff08\uff09\uff0c"
_BODY = re.compile(
    rf"(?:[^{_UNURL},;]++|[,;](?![a-z*]{{3,6}}[:{COLON}]))++", re.IGNORECASE
)  # to the next URL
_SCHEME = re.compile(r"(?:h?[tx*]{1,3}p[sx]?|f[tx]p)\Z", re.IGNORECASE)
_LONGEST_SCHEME = 6
_TRAILING = f".,;:!?*\u2026\u3002\u3001{DOT}{COLON}"
_PAIRS = {")": "(", "]": "[", "}": "{"}

_AT = re.compile(rf"@[\w-]+(?:[.{DOT}][\w-]+)+")
_LOCAL_REVERSED = re.compile(rf"[\w.+%{DOT}-]+")
_LONGEST_LOCAL = 64
_LONGEST_NAME = 254  # characters of a host name
_HASH = re.compile(r"(?<![0-9A-Za-z])[0-9a-fA-F]{32,64}(?![0-9A-Za-z])")
# A dot in front is that of a pattern: `*.example.com`, `[victim].example.com`.
_NAME = re.compile(rf"(?<![\w-])(?<![\w-][.{DOT}])[\w-]++(?:[.{DOT}][\w-]++)+")
_LABELS = re.compile(rf"(?:[.{DOT}][\w-]++)+")
_NUMERIC = re.compile(r"[0-9]+(?:\.[0-9]+){3}\Z", re.ASCII)
_V6 = re.compile(r"[0-9a-fA-F:.]{3,45}\Z")
_NETWORK = re.compile(r"/[0-9]{1,3}(?![\w./-])")
_SINGLE = re.compile(r"/32(?![0-9])")
_CJK = "\u3005-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
# Chinese, Japanese and Korean put no blanks around a name in Latin letters.
_SEAM = re.compile(rf"(?<=[0-9A-Za-z])(?=[{_CJK}])|(?<=[{_CJK}])(?=[0-9A-Za-z])")
# Addresses of every network: no sample unless a table declares it.
_PRIVATE = re.compile(
    r"(?:0|10|127)\.|192\.168\.|169\.254\.|172\.(?:1[6-9]|2[0-9]|3[01])\.|255\.255\.255\.|22[4-9]\.|23[0-9]\."
)
# Hexadecimal numbers as long as a hash that name no file: what stands before them says so.
_OTHER_HASH = re.compile(
    r"(?:imp|auth(?:enti)?|pe|rich(?:pe)?|tel|v|sym)[ _-]?hash|ja[34][a-z]?|jarm|thumb ?print|finger ?print|serial"
    r"|commit|uuid|guid|api[ _-]?key|token|telfhash|ssdeep|mutex",
    re.IGNORECASE,
)
_LABEL = 40  # characters before a hash that may say what it is
# Top-level domains that end file names at least as often: a plain name with one is no host.
_FILE_ENDINGS = frozenset({"cab", "md", "mov", "ps", "py", "rs", "sh", "so", "zip"})


@dataclass(slots=True)
class Found:
    """What a text holds: `samples` for sure; `links` and `names` were not defanged, and may be mere references.

    `defanged` tells whether anything in the text was defanged.
    """

    samples: set[Sample] = field(default_factory=set)
    links: set[Sample] = field(default_factory=set)
    names: set[Sample] = field(default_factory=set)
    defanged: bool = False


def scan(text: str) -> Found:
    """The samples in a text. File names are none, since nothing tells them from other words."""
    found = Found()
    text = _marked(text)
    rest = _take_urls(text, found) if "//" in text or "\\\\" in text else text
    if "@" in rest:
        rest = _without_mail(rest)
    _take_hashes(rest, found)
    words = set(rest.split())
    dotted = "\n".join([word for word in words if "." in word or DOT in word])
    hosts: dict[str, Sample | None] = {}
    for match in _NAME.finditer(dotted):
        _take_name(match, hosts, found)
    for word in words:
        if word.count(":") + word.count(COLON) > 1:
            _take_v6(word, found)
    return found


def clean(text: str) -> str:
    """The text without characters that nobody sees, and without byte order marks inside it."""
    if text.isascii() or not _ODD.search(text):
        return text
    for mark in _MOJIBAKE:
        text = text.replace(mark, "")
    text = text.translate(_INVISIBLE)
    return _IDEOGRAPHIC_STOP.sub(".", text) if "\u3002" in text else text


def _marked(text: str) -> str:
    """The text with defanged dots and colons as marks."""
    text = clean(text)
    if not text.isascii():
        text = _SEAM.sub(" ", text)
    if "[" in text:
        text = text.replace("[.]", DOT).replace("[:]", COLON).replace("[]:", COLON)
    if any(fang in text for fang in "[({<]"):
        text = _FANG.sub(lambda fang: _FANG_PLAIN[fang.lastgroup or ""], text)
    if DOT in text:
        text = text.replace(f" {DOT}", DOT).replace(f"{DOT} ", DOT)
    return text


def _plain(text: str) -> str:
    return text.replace(DOT, ".").replace(COLON, ":")


def _take_urls(text: str, found: Found) -> str:
    """Take the URLs out of a text; gives what is left."""
    rest, end = [], 0
    for mark in _MARK.finditer(text):
        begin = mark.start()
        scheme = begin >= end and _SCHEME.search(text, max(begin - _LONGEST_SCHEME, end), begin)
        body = scheme and _BODY.match(text, mark.end())
        if not scheme or not body:
            continue
        rest.append(text[end : scheme.start()])
        end = body.end()
        if len(body[0]) <= LONGEST:
            _take_url(scheme[0].lower(), mark[0][0], _trimmed(body[0]), found)
    if not end:
        return text
    rest.append(text[end:])
    return " ".join(rest)


def _take_url(scheme: str, colon: str, body: str, found: Found) -> None:
    cut = host_end(body)
    place = body[:cut]
    if place.isascii() and "." not in place and ":" not in place:
        return  # no host
    plain_scheme = ("ftp" if scheme[0] == "f" else "http") + ("s" if scheme[-1] == "s" else "")
    defanged = scheme != plain_scheme or colon == COLON or DOT in body
    found.defanged |= defanged
    if "[" in body[cut:] and _is_template(body[cut:].partition("#")[0]):
        return
    try:
        url = sample(Kind.URL, f"{plain_scheme}://{_plain(body)}")
    except SampleError:
        return
    (found.samples if defanged else found.links).add(url)


def _is_template(tail: str) -> bool:
    """Whether a URL's path holds a placeholder such as `[email]`."""
    return any(piece[:1].isalpha() for piece in tail.split("[")[1:])


def _trimmed(body: str) -> str:
    """A URL's text without the punctuation of the sentence around it."""
    if body[-1] not in _TRAILING and body[-1] not in _PAIRS:
        return body
    end = len(body)
    left = {last: body.count(last) - body.count(first) for last, first in _PAIRS.items()}  # without a partner
    while end:
        last = body[end - 1]
        if left.get(last, 0) > 0:
            left[last] -= 1
        elif last not in _TRAILING:
            break
        end -= 1
    return body[:end]


def _without_mail(text: str) -> str:
    """The text without mail addresses: their domains are mostly the victims' and the providers'."""
    rest, end = [], 0
    for at in _AT.finditer(text):
        before = text[max(at.start() - _LONGEST_LOCAL, end) : at.start()]
        local = _LOCAL_REVERSED.match(before[::-1])
        if local:
            rest.append(text[end : at.start() - local.end()])
            end = at.end()
    if not end:
        return text
    rest.append(text[end:])
    return " ".join(rest)


def _take_hashes(text: str, found: Found) -> None:
    others: dict[str, bool] = {}  # labels that we met, and whether they name another kind of hash
    for match in _HASH.finditer(text):
        value = match[0]
        if len(value) not in HASH_LENGTHS:
            continue
        begin = match.start()
        label = text[max(begin - _LABEL, 0) : begin].rpartition("\n")[2]
        other = others.get(label)
        if other is None:
            other = others[label] = _OTHER_HASH.search(label) is not None
        if not other and not _is_label(text, match.end()):
            found.samples.add(digest(value))


def _is_label(text: str, end: int) -> bool:
    """Whether what ends here is a label of a host name; a hash may stand for the name of a file (`HASH.exe`)."""
    rest = _LABELS.match(text, end, end + _LONGEST_NAME)
    if not rest:
        return False
    ending = rest[0].replace(DOT, ".").rpartition(".")[2].lower()
    return ending not in _FILE_ENDINGS and host_kind(f"a.{ending}") is not None


def _take_name(match: re.Match[str], hosts: dict[str, Sample | None], found: Found) -> None:
    raw = match[0]
    defanged = DOT in raw
    found.defanged |= defanged
    if _is_part(match, defanged=defanged):
        return
    name = raw.replace(DOT, ".").strip("-_")
    ending = name.rpartition(".")[2]
    if ending.isdigit() and _NUMERIC.match(name):
        if _PRIVATE.match(name):
            return
    elif not _may_end_name(ending) or (not defanged and (raw[0] == "_" or _is_word(ending))):  # `__bank.com`
        return
    if name not in hosts:
        hosts[name] = _host(name)
    one = hosts[name]
    if one is not None:
        (found.samples if defanged or one.kind is Kind.IPV4 else found.names).add(one)


def _is_part(match: re.Match[str], *, defanged: bool) -> bool:
    """Whether a name is part of a path, a network or a program; `\\\\host\\share` and `//host` are none."""
    text, begin, end = match.string, match.start(), match.end()
    while begin and text[begin - 1] in f".{DOT}":
        begin -= 1
    before, after = text[begin - 1 : begin] if begin else "", text[end : end + 1]
    if before in {"\\", "/"} and text[max(begin - 2, 0) : begin] not in {"\\\\", "//"}:
        return True
    if after == "/" and _NETWORK.match(text, end):
        return _SINGLE.match(text, end) is None
    return not defanged and (after in {"\\", "(", "/"} or before == "$")


def _may_end_name(ending: str) -> bool:
    """Told before a name is made, since most of what has a dot in it is none."""
    return not ending.isascii() or ending.lower() in top_levels()


def _is_word(ending: str) -> bool:
    """Whether what stands behind a plain name's last dot ends a file's name, or begins a sentence (`done.In`)."""
    return ending.lower() in _FILE_ENDINGS or (ending[0].isupper() and not ending.isupper())


def _host(name: str) -> Sample | None:
    try:
        return host(name)
    except SampleError:
        return None


def _take_v6(word: str, found: Found) -> None:
    text = _plain(word).strip("()<>,;\"'.").partition("%")[0]
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    bare, slash, length = text.partition("/")
    if not _V6.match(bare) or (slash and length != "128") or ("::" not in bare and bare.count(":") != 7):
        return  # most of what holds colons is a time of day
    if len(bare) < 6 or bare[:4].lower() == "fe80" or bare.startswith("::"):
        return
    try:
        found.samples.add(host(bare))
    except SampleError:
        return
