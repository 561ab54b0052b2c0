"""A sample is one observable: a kind and its canonical value.

Values are made canonical once, here, at the edge; inside, equal observables compare equal. Each kind
has a fast way for text that is canonical already, and a slow one that refangs and mends.
"""

import ipaddress
import re
import socket
from collections.abc import Callable
from enum import StrEnum
from functools import cache, partial
from typing import NamedTuple

from ada_url import idna_to_ascii

from threatwalk.errors import SampleError


class Kind(StrEnum):
    MD5 = "md5"
    SHA1 = "sha1"
    SHA256 = "sha256"
    FILENAME = "filename"  # the last part of a path, in its own case
    IPV4 = "ipv4"
    IPV6 = "ipv6"
    DOMAIN = "domain"  # a registered domain: one label under a public suffix
    HOSTNAME = "hostname"  # a deeper name
    URL = "url"  # http, https or ftp, without fragment and default port


class Sample(NamedTuple):
    """One observable. Make it with `sample()` or `parse()`, which give the canonical value.

    A named tuple, since it is made, compared and hashed by the million.
    """

    kind: Kind
    value: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}"


SampleSet = frozenset[Sample]

# For what is done by the million: members of an enumeration take longer to look up than a name here, and
# `Sample(kind, value)` twice as long as the same without its function in between.
_V4, _DOMAIN, _HOSTNAME, _URL = Kind.IPV4, Kind.DOMAIN, Kind.HOSTNAME, Kind.URL
_made: Callable[[tuple[Kind, str]], Sample] = partial(tuple.__new__, Sample)

HASH_LENGTHS = {32: Kind.MD5, 40: Kind.SHA1, 64: Kind.SHA256}
NETWORK_KINDS = frozenset({Kind.IPV4, Kind.IPV6, Kind.DOMAIN, Kind.HOSTNAME, Kind.URL})
FILE_KINDS = frozenset({Kind.MD5, Kind.SHA1, Kind.SHA256, Kind.FILENAME})

LONGEST = 4096  # characters; a longer text is no sample of any kind
_DEFAULT_PORTS = {"http": "80", "https": "443", "ftp": "21"}

# Possessive: where a label ends is never in doubt.
_LABEL = r"(?!-)[a-z0-9_-]{1,63}+(?<!-)"
_NAME = rf"(?:{_LABEL}\.)++[a-z][a-z0-9-]{{0,62}}+(?<!-)"
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = rf"{_OCTET}\.{_OCTET}\.{_OCTET}\.{_OCTET}"

_is_hex = re.compile(r"[0-9a-fA-F]+").fullmatch
_is_lower_hex = re.compile(r"[0-9a-f]+").fullmatch
_is_name = re.compile(_NAME).fullmatch
_is_ipv4 = re.compile(_IPV4).fullmatch
_are_labels = re.compile(rf"{_LABEL}(?:\.{_LABEL})*+").fullmatch
# A URL that needs no mending: lower case scheme and host, no port, no fragment, nothing that could be a fang.
_plain_url = re.compile(rf"(?:https?|ftp)://(?:{_NAME}|{_IPV4})/[!\"$-'*-;=?-Z^-z|~]*").fullmatch
_controls = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]").search

_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u200f\u180e"))
_is_odd = re.compile(f"[{''.join(map(chr, _INVISIBLE))}]").search
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]{0,20})://", re.IGNORECASE)
_FANGED_SCHEME = re.compile(
    r"(h(?:[tx]{2}|\*\*|tx|xt)ps?|f[tx]ps?)\s?[\[({<]?\s?:\s?[\])}>]?\s?[\[({<]?(?://|\\\\)[\])}>]?\s?",
    re.IGNORECASE,
)
_FANGED_DOT = re.compile(
    r"\s?(?:[\[({<]{1,2}\s?(?:\.|dot|punkt)\s?[\])}>]{1,2}|\[\.|\.\])\s?|\\\.|[\u3002\uff0e\uff61]",
    re.IGNORECASE,
)
_holds_fangs = re.compile(r"[\[\](){}<>\\\u3002\uff0e\uff61]").search
_FANGED_COLON = re.compile(r"[\[({]:[\])}]")
_FANGED_AT = re.compile(r"[\[({]\s?(?:@|at)\s?[\])}]", re.IGNORECASE)
_FANGED_TAIL = re.compile(r"[\[({](?:(\.|:|/)|dot)[\])}]", re.IGNORECASE)
_MAPPED = bytes(10) + b"\xff\xff"  # an IPv4 address inside IPv6
_begins_tail = re.compile(r"[/?#]").search
_is_blank = re.compile(r"\s").search
_PORT = re.compile(r":([0-9]{1,5})\Z")


def refang(raw: str) -> str:
    """The plain form of a defanged text: `hxxp[:]//evil[.]example` -> `http://evil.example`.

    In a URL the part after the host keeps its brackets, but for `[.]` and the like.
    """
    text = raw.strip() if raw.isascii() or not _is_odd(raw) else raw.translate(_INVISIBLE).strip()
    scheme = _FANGED_SCHEME.match(text)
    if scheme:
        rest = text[scheme.end() :]
        plain = _plain_scheme(scheme[1])
        if not _holds_fangs(rest):
            return f"{plain}://{rest}"
        cut = host_end(rest)
        tail = _FANGED_TAIL.sub(lambda fang: fang[1] or ".", rest[cut:])
        return f"{plain}://{_refang_host(rest[:cut])}{tail}"
    return _refang_host(text)


def host_end(rest: str) -> int:
    """Where the host ends in what follows the scheme of a URL."""
    found = _begins_tail(rest)
    return found.start() if found else len(rest)


def _plain_scheme(fanged: str) -> str:
    head, secure = fanged[0].lower(), fanged[-1] in "sS"
    return ("http" if head == "h" else "ftp") + ("s" if secure else "")


def _refang_host(text: str) -> str:
    if not _holds_fangs(text):
        return text
    text = _FANGED_DOT.sub(".", text)
    if "[" in text or "(" in text or "{" in text:
        text = _FANGED_AT.sub("@", _FANGED_COLON.sub(":", text))
    return text


@cache
def _suffix_rules() -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """The public suffix list that tldextract bundles, private suffixes off: plain, wildcard, exceptions."""
    from tldextract import TLDExtract  # noqa: PLC0415 - takes 0.2 s, and many commands meet no name

    rules = TLDExtract(suffix_list_urls=(), cache_dir=None, include_psl_private_domains=False).tlds
    ascii_rules = {idna_to_ascii(rule).decode() for rule in rules}
    wild = frozenset(rule[2:] for rule in ascii_rules if rule.startswith("*."))
    exceptions = frozenset(rule[1:] for rule in ascii_rules if rule.startswith("!"))
    return frozenset(rule for rule in ascii_rules if rule[0] not in "*!"), wild, exceptions


@cache
def top_levels() -> dict[str, dict[str, bool] | None]:
    """Every label that ends a public suffix, as DNS carries it; no host name ends in another.

    With each, the pairs of labels below it that are no registered domains: True for a public suffix (`co.uk`), False
    for the end of longer rules (`sch.uk`). None: every name below needs a closer look (`*.ck`).
    """
    plain, wild, exceptions = _suffix_rules()
    levels: dict[str, dict[str, bool] | None] = {rule: {} for rule in plain if "." not in rule}
    longer = [(rule, rule in plain) for rule in {*plain, *exceptions, *(f"*.{rule}" for rule in wild)}]
    for rule, is_plain in sorted(longer, key=lambda one: one[0].count(".")):  # the longer have the last word
        above, _, end = rule.rpartition(".")
        pairs = levels.setdefault(end, None)
        if above and pairs is not None:
            if "." in above or is_plain:
                pairs[f"{above.rpartition('.')[2]}.{end}"] = "." not in above
            else:
                levels[end] = None
    return levels


def _registered_at(name: str) -> int | None:
    """Where the registered domain of a canonical name begins; None where there is none."""
    last = name.rfind(".")
    if top_levels().get(name[last + 1 :]) == {}:
        return name.rfind(".", 0, last) + 1 if last > 0 else None
    plain, wild, exceptions = _suffix_rules()
    before, at = None, 0
    while True:
        suffix = name[at:]
        dot = name.find(".", at)
        if suffix in exceptions:
            return at
        if suffix in plain or (dot >= 0 and name[dot + 1 :] in wild):
            return before
        if dot < 0:
            return None
        before, at = at, dot + 1


def host_kind(name: str) -> Kind | None:
    """DOMAIN or HOSTNAME for a canonical name; None where it has no registered domain."""
    before, _, end = name.rpartition(".")
    pairs = top_levels().get(end)
    if before and pairs is not None:
        above = before.rfind(".")
        is_suffix = pairs.get(name[above + 1 :])
        if is_suffix is None:
            return _DOMAIN if above < 0 else _HOSTNAME
        if is_suffix:
            return None if above < 0 else _HOSTNAME if before.rfind(".", 0, above) >= 0 else _DOMAIN
    at = _registered_at(name)
    return None if at is None else _HOSTNAME if at else _DOMAIN


def registered_domain(name: str) -> str:
    """The registered domain of a host name (`a.b.example.co.uk` -> `example.co.uk`), else the name."""
    return name[_registered_at(name) or 0 :]


def _wrong(raw: str, what: str) -> SampleError:
    return SampleError(f"{raw[:80]!r} is no {what}")


def _no_suffix(raw: str) -> SampleError:
    return SampleError(f"{raw[:80]!r} ends in no public suffix")


def _hash(kind: Kind, raw: str) -> str:
    text = raw if HASH_LENGTHS.get(len(raw)) is kind else refang(raw)
    if HASH_LENGTHS.get(len(text)) is not kind or not _is_hex(text):
        raise _wrong(raw, kind)
    return text.lower()


def _ip(raw: str) -> Sample:
    if _is_ipv4(raw):
        return Sample(Kind.IPV4, raw)
    text = refang(raw)
    bare, slash, length = text.partition("/")
    if slash and length == ("128" if ":" in bare else "32"):
        text = bare
    text = text.strip("[]")
    if _is_ipv4(text):
        return Sample(Kind.IPV4, text)
    try:
        packed = socket.inet_pton(socket.AF_INET6, text)  # a scope is refused
    except (OSError, ValueError) as err:
        raise _wrong(raw, "IP address") from err
    if packed.startswith(_MAPPED):
        return Sample(Kind.IPV4, socket.inet_ntop(socket.AF_INET, packed[12:]))
    compressed = socket.inet_ntop(socket.AF_INET6, packed)
    if "." in compressed:  # `::1.2.3.4`
        compressed = ipaddress.IPv6Address(packed).compressed
    return Sample(Kind.IPV6, compressed)


def _name(raw: str) -> str:
    if len(raw) < 254 and _is_name(raw):
        return raw
    return _mended(refang(raw), raw)


def _mended(refanged: str, raw: str) -> str:
    """A name as DNS carries it, made as browsers make it (UTS 46), emoji too."""
    value = refanged.rstrip(".").lower()
    if not value.isascii() and len(value) <= 253:
        value = idna_to_ascii(value).decode()  # "" where there is none
    if len(value) > 253 or not _is_name(value):
        raise _wrong(raw, "host name")
    return value


def _named(raw: str) -> Sample:
    return _sorted(_name(raw), raw)


def _sorted(name: str, raw: str) -> Sample:
    kind = host_kind(name)
    if kind is None:
        raise _no_suffix(raw)
    return _made((kind, name))


def _url(raw: str) -> str:
    text = refang(raw)
    scheme, mark, rest = text.partition("://")
    scheme = scheme.lower()
    if not mark or scheme not in _DEFAULT_PORTS:
        raise _wrong(raw, "http, https or ftp URL")
    rest = rest.partition("#")[0]
    cut = host_end(rest)
    user, at_sign, place = rest[:cut].rpartition("@")
    place, colon, port = place.rpartition(":") if _PORT.search(place) else (place, "", "")
    tail = rest[cut:]
    name = _url_host(place.strip())
    if _is_blank(user) or _is_blank(tail):
        raise _wrong(raw, "URL: it holds spaces")
    if ":" in name:
        name = f"[{name}]"
    if colon and int(port) != int(_DEFAULT_PORTS[scheme]):  # 080 is 80
        name = f"{name}:{int(port)}"
    return f"{scheme}://{user}{at_sign}{name}{tail if tail.startswith('/') else '/' + tail}"


def _url_host(place: str) -> str:
    """A URL may lead where no public suffix is: to I2P, say."""
    if place[-1:].isdigit() or ":" in place:
        return host(place).value
    return place if len(place) < 254 and _is_name(place) else _mended(place, place)


def _file_name(raw: str) -> str:
    text = raw if raw.isascii() else raw.translate(_INVISIBLE)
    name = text.strip().replace("\\", "/").rpartition("/")[2].strip()
    if not name or len(name) > 255 or name in {".", ".."}:
        raise _wrong(raw, "file name")
    return name


def sample(kind: Kind, raw: str) -> Sample:
    """The canonical sample for a text of a known kind.

    DOMAIN and HOSTNAME are told apart by the public suffix list, whatever the text was called.

    Raises:
        SampleError: the text is no value of that kind.
    """
    if HASH_LENGTHS.get(len(raw)) is kind and _is_lower_hex(raw):
        return _made((kind, raw))
    if kind is _URL and len(raw) <= LONGEST and _plain_url(raw):
        return _made((kind, raw))
    if len(raw) > LONGEST or _controls(raw.strip()):
        raise SampleError(f"{raw[:80]!r} is too long or holds control characters")
    match kind:
        case Kind.URL:
            return Sample(kind, _url(raw))
        case Kind.MD5 | Kind.SHA1 | Kind.SHA256:
            return Sample(kind, _hash(kind, raw))
        case Kind.IPV4 | Kind.IPV6:
            found = _ip(raw)
            if found.kind is not kind:
                raise _wrong(raw, kind)
            return found
        case Kind.DOMAIN | Kind.HOSTNAME:
            return _named(raw)
        case Kind.FILENAME:
            return Sample(kind, _file_name(raw))


def digest(raw: str) -> Sample:
    """The MD5, SHA1 or SHA256 sample of a hash, told by its length; raises SampleError."""
    kind = HASH_LENGTHS.get(len(raw))
    if kind and _is_lower_hex(raw):
        return _made((kind, raw))
    kind = kind or HASH_LENGTHS.get(len(raw.translate(_INVISIBLE).strip()))
    if kind is None:
        raise _wrong(raw, "md5, sha1 or sha256")
    return sample(kind, raw)


def host(raw: str) -> Sample:
    """The IPV4, IPV6, DOMAIN or HOSTNAME sample of a host as it stands in a URL or an answer.

    A port behind it is dropped.

    Raises:
        SampleError: it is none of them.
    """
    before, _, end = raw.rpartition(".")
    pairs = top_levels().get(end)
    # One label of letters and digits is by far the commonest name, and plain without a search.
    if pairs is not None and before.isalnum() and raw.isascii() and raw.islower() and len(before) < 64:
        if raw not in pairs:
            return _made((_DOMAIN, raw))
    elif len(raw) < 254:
        if not raw.isascii():
            if raw.replace(".", "").isalnum():  # no fangs, no port
                return _sorted(_mended(raw, raw), raw)
        elif pairs is None:
            if _is_ipv4(raw):
                return _made((_V4, raw))
        elif _are_labels(before):
            return _sorted(raw, raw) if pairs else _made((_HOSTNAME if "." in before else _DOMAIN, raw))
    if len(raw) > LONGEST or _controls(raw.strip()):
        raise SampleError(f"{raw[:80]!r} is too long or holds control characters")
    text = refang(raw)
    port = _PORT.search(text)
    if port and (text.count(":") == 1 or text[port.start() - 1] == "]"):
        text = text[: port.start()]
    numeric = text[-1:].isdigit() and not text.rpartition(".")[2][:1].isalpha()
    return _ip(text) if ":" in text or numeric else _sorted(_mended(text, raw), raw)


def parse(text: str) -> Sample:
    """A sample as a person writes it: `KIND:VALUE`, or a bare value whose kind is plain to see.

    Raises:
        SampleError: no kind fits.
    """
    head, colon, rest = text.strip().partition(":")
    if colon and head.lower() in Kind.__members__.values():
        return sample(Kind(head.lower()), rest)
    plain = refang(text)
    if _SCHEME.match(plain):
        return sample(Kind.URL, plain)
    if len(plain) in HASH_LENGTHS and _is_hex(plain):
        return digest(plain)
    try:
        return host(plain)
    except SampleError as err:
        raise SampleError(
            f"{text[:80]!r} is no sample; write KIND:VALUE with one of {', '.join(Kind)}"
        ) from err
