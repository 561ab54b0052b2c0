"""A sample is one observable: a kind and its canonical value.

Values are made canonical once, here, at the edge; inside, equal observables compare equal.
"""

import ipaddress
import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, lru_cache
from urllib.parse import urlsplit

import tldextract

from threatwalk.errors import SampleError


class Kind(StrEnum):
    MD5 = "md5"
    SHA1 = "sha1"
    SHA256 = "sha256"
    FILENAME = "filename"
    IPV4 = "ipv4"
    IPV6 = "ipv6"
    DOMAIN = "domain"  # a registered domain: one label under a public suffix
    HOSTNAME = "hostname"  # a deeper name
    URL = "url"


@dataclass(frozen=True, slots=True, order=True)
class Sample:
    """One observable. Make it with `sample()` or `parse()`, which give the canonical value."""

    kind: Kind
    value: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}"


SampleSet = frozenset[Sample]

HASH_LENGTHS = {32: Kind.MD5, 40: Kind.SHA1, 64: Kind.SHA256}
NETWORK_KINDS = frozenset({Kind.IPV4, Kind.IPV6, Kind.DOMAIN, Kind.HOSTNAME, Kind.URL})
FILE_KINDS = frozenset({Kind.MD5, Kind.SHA1, Kind.SHA256, Kind.FILENAME})

_HEX = re.compile(r"[0-9a-f]+\Z")
_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u200f"))
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)\Z")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_FANGS = (
    (re.compile(r"\[\s*(?:\.|dot|punkt)\s*\]|\(\s*(?:\.|dot)\s*\)|\{\s*(?:\.|dot)\s*\}", re.IGNORECASE), "."),
    (re.compile(r"\[:\]"), ":"),
    (re.compile(r"\[@\]|\[at\]|\(at\)", re.IGNORECASE), "@"),
    (re.compile(r"\\\."), "."),
)


def refang(raw: str) -> str:
    """The plain form of a defanged text: `hxxp[:]//evil[.]example` -> `http://evil.example`."""
    text = raw.translate(_INVISIBLE).strip()
    if "[" in text or "(" in text or "{" in text or "\\" in text:
        text = text.replace("[://]", "://").replace("[:]//", "://").replace(":[//]", "://")
        for pattern, plain in _FANGS:
            text = pattern.sub(plain, text)
    head = text[:12].lower()
    for fanged, plain_scheme in (("hxxps", "https"), ("hxxp", "http"), ("fxp", "ftp"), ("h**p", "http")):
        if head.startswith(fanged):
            return plain_scheme + text[len(fanged) :]
    return text


@cache
def _suffixes() -> tldextract.TLDExtract:
    """The public suffix list that tldextract bundles; never fetched, private suffixes off."""
    return tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None, include_psl_private_domains=False)


@lru_cache(maxsize=65536)
def host_kind(name: str) -> Kind | None:
    """DOMAIN or HOSTNAME for a canonical name; None where its last label is no public suffix."""
    parts = _suffixes()(name)
    if not parts.suffix or not parts.domain:
        return None
    return Kind.HOSTNAME if parts.subdomain else Kind.DOMAIN


def registered_domain(name: str) -> str:
    """The registered domain of a host name (`a.b.example.co.uk` -> `example.co.uk`), else the name."""
    parts = _suffixes()(name)
    return f"{parts.domain}.{parts.suffix}" if parts.domain and parts.suffix else name


def _hash(kind: Kind, text: str) -> str:
    value = text.lower()
    if HASH_LENGTHS.get(len(value)) is not kind or not _HEX.match(value):
        raise SampleError(f"{text[:80]!r} is no {kind}")
    return value


def _ip(kind: Kind, text: str) -> str:
    try:
        address = ipaddress.ip_address(text.strip("[]"))
    except ValueError as err:
        raise SampleError(f"{text[:80]!r} is no {kind}") from err
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped and kind is Kind.IPV4:
        address = address.ipv4_mapped
    if (address.version == 4) is not (kind is Kind.IPV4):
        raise SampleError(f"{text[:80]!r} is no {kind}")
    return address.compressed


def _name(text: str) -> str:
    value = text.rstrip(".").lower()
    if not value.isascii():
        try:
            value = value.encode("idna").decode("ascii")
        except UnicodeError as err:
            raise SampleError(f"{text[:80]!r} is no host name") from err
    labels = value.split(".")
    if len(value) > 253 or len(labels) < 2 or not all(_LABEL.match(label) for label in labels):
        raise SampleError(f"{text[:80]!r} is no host name")
    return value


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as err:
        raise SampleError(f"{text[:80]!r} is no url") from err
    if not parts.scheme or not host or any(c.isspace() for c in text):
        raise SampleError(f"{text[:80]!r} is no url")
    if not host.isascii():
        host = _name(host)
    if ":" in host:
        host = f"[{host}]"
    user = parts.netloc.rpartition("@")[0]
    netloc = (f"{user}@" if user else "") + host.lower() + (f":{port}" if port is not None else "")
    tail = text[text.index("//") + 2 + len(parts.netloc) :]
    return f"{parts.scheme.lower()}://{netloc}{tail}"


def sample(kind: Kind, raw: str) -> Sample:
    """The canonical sample for a text of a known kind.

    DOMAIN and HOSTNAME are told apart by the public suffix list, whatever the text was called.

    Raises:
        SampleError: the text is no value of that kind.
    """
    text = raw.translate(_INVISIBLE).strip() if kind is Kind.FILENAME else refang(raw)
    if not text or "\x00" in text:
        raise SampleError(f"an empty or broken text is no {kind}")
    match kind:
        case Kind.MD5 | Kind.SHA1 | Kind.SHA256:
            return Sample(kind, _hash(kind, text))
        case Kind.IPV4 | Kind.IPV6:
            return Sample(kind, _ip(kind, text))
        case Kind.DOMAIN | Kind.HOSTNAME:
            name = _name(text)
            found = host_kind(name)
            if found is None:
                raise SampleError(f"{text[:80]!r} ends in no public suffix")
            return Sample(found, name)
        case Kind.URL:
            return Sample(kind, _url(text))
        case Kind.FILENAME:
            return Sample(kind, text)


def host(raw: str) -> Sample:
    """The IPV4, IPV6, DOMAIN or HOSTNAME sample of a host as it stands in a URL or an answer.

    Raises:
        SampleError: it is none of them.
    """
    text = refang(raw).strip("[]")
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return sample(Kind.DOMAIN, text)
    return Sample(Kind.IPV4 if address.version == 4 else Kind.IPV6, address.compressed)


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
    if len(plain) in HASH_LENGTHS and _HEX.match(plain.lower()):
        return sample(HASH_LENGTHS[len(plain)], plain)
    try:
        return host(plain)
    except SampleError as err:
        raise SampleError(
            f"{text[:80]!r} is no sample; write KIND:VALUE with one of {', '.join(Kind)}"
        ) from err
