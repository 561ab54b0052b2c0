"""VirusTotal's relations: which there are, which of them a public key may ask for, and which holds a finding."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from threatwalk.emulator.answers import Found
from threatwalk.emulator.vt_objects import Sections
from threatwalk.sample import FILE_KINDS, Kind, Sample, registered_domain

_PUBLIC: dict[str, tuple[str, ...]] = {
    "ip_addresses": (
        *("resolutions", "communicating_files", "referrer_files", "historical_whois"),
        *("historical_ssl_certificates", "comments", "votes", "related_comments"),
    ),
    "domains": (
        *(
            "resolutions",
            "subdomains",
            "siblings",
            "communicating_files",
            "referrer_files",
            "historical_whois",
        ),
        *("historical_ssl_certificates", "immediate_parent", "parent", "comments"),
    ),
    "files": (
        *("contacted_ips", "contacted_domains", "contacted_urls", "dropped_files", "bundled_files"),
        *(
            "execution_parents",
            "pe_resource_parents",
            "pe_resource_children",
            "behaviours",
            "comments",
            "votes",
        ),
    ),
    "urls": ("last_serving_ip_address", "network_location", "comments", "votes"),
}
PREMIUM: dict[str, tuple[str, ...]] = {
    "ip_addresses": ("urls", "downloaded_files"),
    "domains": (
        *("urls", "downloaded_files", "cname_records", "mx_records", "ns_records", "caa_records"),
        "soa_records",
    ),
    "files": (
        *("itw_urls", "itw_domains", "itw_ips", "embedded_urls", "embedded_domains", "embedded_ips"),
        *("similar_files", "compressed_parents", "email_parents", "email_attachments", "overlay_parents"),
        "overlay_children",
    ),
    "urls": (
        *("contacted_ips", "contacted_domains", "downloaded_files", "redirecting_urls", "redirects_to"),
        *("referrer_urls", "referrer_files", "communicating_files", "analyses", "submissions"),
    ),
}
RELATIONS = {collection: names + PREMIUM[collection] for collection, names in _PUBLIC.items()}
SINGLE = frozenset({"last_serving_ip_address", "network_location", "immediate_parent", "parent"})


def sections(asked: Sample, found: Sequence[Found]) -> Sections:
    """Relationship -> what it holds; `attributes` is what the object itself tells."""
    out: Sections = {}
    # A URL's network location is its own host, whichever name was found first.
    own = urlsplit(asked.value).hostname if asked.kind is Kind.URL else None
    for f in sorted(found, key=lambda f: f.sample.value != own) if own else found:
        out.setdefault(_section(asked, f.sample, out), []).append(f)
    return out


def _section(asked: Sample, s: Sample, filled: Sections) -> str:
    match asked.kind:
        case Kind.IPV4 | Kind.IPV6:
            return _of_address(s)
        case Kind.DOMAIN | Kind.HOSTNAME:
            return _of_name(asked, s)
        case Kind.MD5 | Kind.SHA1 | Kind.SHA256 | Kind.FILENAME:
            return _of_file(asked, s, filled)
        case Kind.URL:
            return _of_url(s, filled)


def _of_address(s: Sample) -> str:
    if s.kind in FILE_KINDS:
        return "communicating_files"
    return "urls" if s.kind is Kind.URL else "resolutions"


def _of_name(asked: Sample, s: Sample) -> str:
    if s.kind in FILE_KINDS:
        return "communicating_files"
    if s.kind is Kind.URL:
        return "urls"
    if s.kind in {Kind.IPV4, Kind.IPV6}:
        return "resolutions"
    if s.value.endswith(f".{asked.value}"):
        return "subdomains"
    return "siblings" if registered_domain(s.value) == registered_domain(asked.value) else "attributes"


def _of_file(asked: Sample, s: Sample, filled: Sections) -> str:
    if s.kind is Kind.FILENAME:
        return "attributes"
    if s.kind in {Kind.IPV4, Kind.IPV6}:
        return "contacted_ips"
    if s.kind in {Kind.DOMAIN, Kind.HOSTNAME}:
        return "contacted_domains"
    if s.kind is Kind.URL:
        return "contacted_urls"
    # A file has one hash of each kind: the first of a kind that was not asked is its own.
    own = s.kind is not asked.kind and all(f.sample.kind is not s.kind for f in filled.get("attributes", ()))
    return "attributes" if own else "dropped_files"


def _of_url(s: Sample, filled: Sections) -> str:
    if s.kind in {Kind.IPV4, Kind.IPV6}:
        return "contacted_ips" if "last_serving_ip_address" in filled else "last_serving_ip_address"
    if s.kind in {Kind.DOMAIN, Kind.HOSTNAME}:
        return "contacted_domains" if "network_location" in filled else "network_location"
    if s.kind is Kind.URL:
        return "attributes"
    first = s.kind is Kind.SHA256 and all(
        f.sample.kind is not Kind.SHA256 for f in filled.get("attributes", ())
    )
    return "attributes" if first else "downloaded_files"
