"""VirusTotal's objects as JSON: addresses, domains, files, URLs, resolutions and their descriptors.

What the world does not say (votes, owners, sizes) is drawn from the sample's own value, so that a body
never changes. Hashes and names of a file stand in it only where the world tells them.
"""

from base64 import urlsafe_b64encode
from datetime import UTC, datetime
from hashlib import sha256

from threatwalk.emulator.answers import Found
from threatwalk.emulator.registry import number
from threatwalk.sample import Kind, Sample

Body = dict[str, object]
Sections = dict[str, list[Found]]

COLLECTIONS = {
    Kind.IPV4: "ip_addresses",
    Kind.IPV6: "ip_addresses",
    Kind.DOMAIN: "domains",
    Kind.HOSTNAME: "domains",
    Kind.MD5: "files",
    Kind.SHA1: "files",
    Kind.SHA256: "files",
    Kind.FILENAME: "files",
    Kind.URL: "urls",
}
TYPES = {"ip_addresses": "ip_address", "domains": "domain", "files": "file", "urls": "url"}
_ENGINES = ("Oriel AV", "Quarry", "Larkspur Labs", "Tessellate")
_OWNERS = (("Northlight Hosting", 64501), ("Packet Orchard", 64502), ("Meridian Cloud", 64503))
_SOME_DAY = int(datetime(2024, 6, 1, tzinfo=UTC).timestamp())


def identifier(s: Sample) -> str:
    """The id of a sample's object: a URL's is the SHA-256 of its text."""
    return sha256(s.value.encode()).hexdigest() if s.kind is Kind.URL else s.value


def address(s: Sample, root: str) -> str:
    return f"{root}/{COLLECTIONS[s.kind]}/{identifier(s)}"


def url_id(url: str) -> str:
    """The other id of a URL: unpadded base64url."""
    return urlsafe_b64encode(url.encode()).decode().rstrip("=")


def whole(asked: Sample, found: Sections, root: str) -> Body:
    """The object of the sample that was asked about, with what its attributes tell of others."""
    own = found.get("attributes", [])
    match asked.kind:
        case Kind.IPV4 | Kind.IPV6:
            attributes = _address(asked)
        case Kind.DOMAIN | Kind.HOSTNAME:
            attributes = _domain(asked, own)
        case Kind.URL:
            attributes = _url(asked, own)
        case Kind.MD5 | Kind.SHA1 | Kind.SHA256 | Kind.FILENAME:
            attributes = _file(asked, own)
    return _object(asked, attributes, root)


def part(asked: Sample, f: Found, relation: str, root: str) -> Body:
    """One object of a relationship's page."""
    s = f.sample
    if relation == "resolutions":
        return _resolution(asked, f) | {"links": {"self": f"{root}/resolutions/{_resolution_id(asked, s)}"}}
    match s.kind:
        case Kind.IPV4 | Kind.IPV6:
            attributes = _address(s)
        case Kind.DOMAIN | Kind.HOSTNAME:
            attributes = _domain(s, [])
        case Kind.URL:
            attributes = _url(s, []) | _dates(f)
        case Kind.MD5 | Kind.SHA1 | Kind.SHA256 | Kind.FILENAME:
            attributes = _file(s, []) | _dates(f)
    body = _object(s, attributes, root)
    return body | {"context_attributes": {"url": s.value}} if s.kind is Kind.URL else body


def descriptor(asked: Sample, f: Found, relation: str) -> Body:
    """Type and id; a URL's text stands beside its id, and a resolution's date and sides."""
    s = f.sample
    if relation == "resolutions":
        return _resolution(asked, f)
    body: Body = {"type": TYPES[COLLECTIONS[s.kind]], "id": identifier(s)}
    return body | {"context_attributes": {"url": s.value}} if s.kind is Kind.URL else body


def _resolution_id(asked: Sample, s: Sample) -> str:
    name, ip = (s, asked) if s.kind in {Kind.DOMAIN, Kind.HOSTNAME} else (asked, s)
    return ip.value + name.value


def _resolution(asked: Sample, f: Found) -> Body:
    s = f.sample
    name, ip = (s, asked) if s.kind in {Kind.DOMAIN, Kind.HOSTNAME} else (asked, s)
    return {
        "attributes": {
            "date": seconds(f.first_seen),
            "host_name": name.value,
            "host_name_last_analysis_stats": _stats(name.value),
            "ip_address": ip.value,
            "ip_address_last_analysis_stats": _stats(ip.value),
            "resolver": "VirusTotal",
        },
        "id": ip.value + name.value,
        "type": "resolution",
    }


def _object(s: Sample, attributes: Body, root: str) -> Body:
    return {
        "attributes": attributes,
        "type": TYPES[COLLECTIONS[s.kind]],
        "id": identifier(s),
        "links": {"self": address(s, root)},
    }


def seconds(when: datetime | None) -> int:
    """A time as the bodies write it; some fixed day for an unknown one."""
    return int(when.timestamp()) if when is not None else _SOME_DAY


def first(own: list[Found]) -> int:
    """When the earliest of what an object tells was seen."""
    days = [f.first_seen for f in own if f.first_seen is not None]
    return seconds(min(days, default=None))


def _dates(f: Found) -> Body:
    """When a file or URL was first and last handed in: for us, when the relation was seen."""
    last = seconds(f.last_seen or f.first_seen)
    return {
        "first_submission_date": seconds(f.first_seen),
        "last_submission_date": last,
        "last_analysis_date": last,
    }


def _stats(value: str) -> Body:
    drawn = number(value)
    bad = drawn % 12
    return {"harmless": 60 - bad, "malicious": bad, "suspicious": 0, "undetected": 20, "timeout": 0}


def _verdicts(value: str) -> Body:
    drawn = number(value)
    bad = "malicious" if drawn % 12 else "harmless"
    return {
        engine: {
            "category": bad if drawn >> i & 1 else "undetected",
            "engine_name": engine,
            "method": "blacklist",
            "result": "malware" if drawn >> i & 1 and drawn % 12 else "clean",
        }
        for i, engine in enumerate(_ENGINES)
    }


def _common(value: str) -> Body:
    drawn = number(value)
    return {
        "last_analysis_results": _verdicts(value),
        "last_analysis_stats": _stats(value),
        "last_modification_date": _SOME_DAY,
        "reputation": -(drawn % 40),
        "tags": [],
        "total_votes": {"harmless": drawn % 2, "malicious": drawn % 3},
    }


def _address(s: Sample) -> Body:
    owner, asn = _OWNERS[number(s.value) % len(_OWNERS)]
    network = f"{s.value.rpartition('.')[0]}.0/24" if s.kind is Kind.IPV4 else f"{s.value}/48"
    return _common(s.value) | {
        "as_owner": owner,
        "asn": asn,
        "continent": "EU",
        "country": "NL",
        "network": network,
        "regional_internet_registry": "RIPE NCC",
        "whois": f"inetnum: {network}\nnetname: NET-{asn}\ncountry: NL",
        "whois_date": _SOME_DAY,
    }


def _domain(s: Sample, own: list[Found]) -> Body:
    records: list[Body] = [{"type": record_type(f.sample), "ttl": 300, "value": f.sample.value} for f in own]
    for record in records:
        if record["type"] == "MX":
            record["priority"] = 10
    servers = [f"Name Server: {record['value']}" for record in records if record["type"] == "NS"]
    return _common(s.value) | {
        "categories": {},
        "creation_date": _SOME_DAY - number(s.value) % 10**8,
        "last_dns_records": records,
        "last_dns_records_date": first(own),
        "last_https_certificate": certificate([s.value]),
        "last_https_certificate_date": _SOME_DAY,
        "last_update_date": _SOME_DAY,
        "popularity_ranks": {},
        "registrar": "Northlight Domains Ltd",
        "whois": "\n".join(["DNSSEC: unsigned", f"Domain Name: {s.value.upper()}", *servers]),
        "whois_date": _SOME_DAY,
    }


def record_type(s: Sample) -> str:
    if s.kind in {Kind.IPV4, Kind.IPV6}:
        return "A" if s.kind is Kind.IPV4 else "AAAA"
    label = s.value.partition(".")[0]
    if label.startswith(("ns", "dns")):
        return "NS"
    return "MX" if label.startswith(("mail", "mx", "smtp")) else "CNAME"


def certificate(names: list[str]) -> Body:
    """A certificate for these names, as an attribute holds it."""
    digest = sha256(names[0].encode()).hexdigest()
    return {
        "cert_signature": {"signature": digest, "signature_algorithm": "sha256RSA"},
        "extensions": {
            "1.3.6.1.4.1.11129.2.4.2": digest,
            "CA": False,
            "authority_key_identifier": {"keyid": digest[:40]},
            "ca_information_access": {
                "CA Issuers": "http://ca.example/issuer.crt",
                "OCSP": "http://ocsp.ca.example",
            },
            "certificate_policies": ["2.23.140.1.2.1"],
            "crl_distribution_points": ["http://ca.example/issuer.crl"],
            "extended_key_usage": ["serverAuth", "clientAuth"],
            "key_usage": ["ff"],
            "subject_alternative_name": names,
            "subject_key_identifier": digest[24:],
            "tags": [],
        },
        "issuer": {"C": "US", "CN": "Made-up Issuing CA", "O": "Made-up Trust"},
        "public_key": {
            "algorithm": "RSA",
            "rsa": {"exponent": "010001", "key_size": 2048, "modulus": digest},
        },
        "serial_number": digest[:32],
        "signature_algorithm": "sha256RSA",
        "size": 1507,
        "subject": {"CN": names[0]},
        "tags": [],
        "thumbprint": digest[:40],
        "thumbprint_sha256": digest,
        "validity": {"not_after": "2026-12-31 23:59:59", "not_before": "2026-01-01 00:00:00"},
        "version": "V3",
    }


def _file(s: Sample, own: list[Found]) -> Body:
    drawn = number(s.value)
    hashes = {f.kind.value: f.value for f in (s, *(f.sample for f in own)) if f.kind is not Kind.FILENAME}
    names = [f.sample.value for f in own if f.sample.kind is Kind.FILENAME]
    body = (
        _common(s.value)
        | {
            "first_submission_date": first(own),
            "last_analysis_date": _SOME_DAY,
            "last_submission_date": _SOME_DAY,
            "magic": "PE32 executable for MS Windows (GUI) Intel 80386 32-bit",
            "names": names,
            "size": 10_000 + drawn % 900_000,
            "ssdeep": f"3072:{drawn:016x}:{drawn % 99991:x}",
            "times_submitted": 1 + drawn % 9,
            "type_description": "Win32 EXE",
            "type_tag": "peexe",
            "unique_sources": 1 + drawn % 5,
        }
        | hashes
    )
    return body | {"meaningful_name": names[0]} if names else body


def _url(s: Sample, own: list[Found]) -> Body:
    urls = [f.sample.value for f in own if f.sample.kind is Kind.URL]
    bodies = [f.sample.value for f in own if f.sample.kind is not Kind.URL]
    body = _common(s.value) | {
        "categories": {},
        "first_submission_date": _SOME_DAY,
        "has_content": False,
        "last_analysis_date": first(own),
        "last_final_url": urls[-1] if urls else s.value,
        "last_submission_date": _SOME_DAY,
        "threat_names": [],
        "times_submitted": 1 + number(s.value) % 9,
        "url": s.value,
    }
    if urls:
        body["redirection_chain"] = [s.value, *urls]
    if bodies:
        body |= {"last_http_response_code": 200, "last_http_response_content_sha256": bodies[0]}
    return body
