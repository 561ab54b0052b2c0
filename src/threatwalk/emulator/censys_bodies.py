"""The JSON bodies of Censys's platform, as its recordings and its package's models have them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import md5, sha1, sha256

from threatwalk.emulator.answers import Found
from threatwalk.emulator.registry import number
from threatwalk.sample import Kind, Sample

Body = dict[str, object]

LISTED = 100  # names that a host lists at most; passive DNS tells the rest
_CERTIFIED = 20  # names on one certificate
_SOME_DAY = datetime(2026, 10, 1, tzinfo=UTC)
_BANNER = "HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: text/html\r\n"
_ADDRESSES = frozenset({Kind.IPV4, Kind.IPV6})


def iso(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def _first(found: Found) -> datetime:
    return found.first_seen or found.last_seen or _SOME_DAY


def last_seen(found: Found) -> datetime:
    return found.last_seen or found.first_seen or _SOME_DAY


def enveloped(resource: Body) -> Body:
    return {"result": {"resource": resource, "extensions": {}}}


def host(ip: str, found: Sequence[Found]) -> Body:
    """A host with the names that lead to it; bare where there are none."""
    asn = 64496 + number(ip) % 16
    resource: Body = {
        "ip": ip,
        "location": {
            "continent": "Europe",
            "country": "Netherlands",
            "country_code": "NL",
            "city": "Amsterdam",
            "postal_code": "1012",
            "timezone": "Europe/Amsterdam",
            "coordinates": {"latitude": 52.37403, "longitude": 4.88969},
        },
        "autonomous_system": {
            "asn": asn,
            "description": "NORTHLIGHT",
            "bgp_prefix": _prefix(ip),
            "name": "NORTHLIGHT Northlight Hosting",
            "country_code": "NL",
        },
        "whois": {
            "network": {
                "handle": "NORTHLIGHT-NET",
                "name": "Northlight Hosting",
                "cidrs": [_prefix(ip)],
                "updated": "2023-04-26T00:00:00Z",
            },
            "organization": {
                "handle": f"ORG-NL{asn}",
                "name": "Northlight Hosting",
                "address": "1 Harbour Street",
                "country": "NL",
            },
        },
        "services": [],
        "service_count": 0,
    }
    if found:
        seen, names = newest(found)
        services = [_plain_service(ip, seen), _tls_service(ip, names, seen)]
        resource |= {"services": services, "service_count": len(services), "dns": _dns(found)}
    return resource


def _prefix(ip: str) -> str:
    return f"{ip.rpartition('.')[0]}.0/24" if "." in ip else f"{ip.partition('::')[0]}::/32"


def newest(found: Sequence[Found]) -> tuple[datetime, list[str]]:
    """The last time that anything was seen, and what was seen then: a certificate's names."""
    seen = max(map(last_seen, found))
    return seen, [f.sample.value for f in found if last_seen(f) == seen][:_CERTIFIED]


def _dns(found: Sequence[Found]) -> Body:
    listed = found[:LISTED]
    return {
        "reverse_dns": {"resolve_time": iso(last_seen(listed[0])), "names": [listed[0].sample.value]},
        "names": [f.sample.value for f in listed],
        "forward_dns": {
            f.sample.value: {"resolve_time": iso(last_seen(f)), "name": f.sample.value, "record_type": "a"}
            for f in listed
        },
    }


def _service(ip: str, port: int, seen: datetime) -> Body:
    return {
        "port": port,
        "protocol": "HTTP",
        "transport_protocol": "tcp",
        "ip": ip,
        "scan_time": iso(seen),
        "banner": _BANNER,
        "banner_hash_sha256": sha256(_BANNER.encode()).hexdigest(),
        "endpoints": [_endpoint(ip, ip, port, seen)],
    }


def _plain_service(ip: str, seen: datetime) -> Body:
    return _service(ip, 80, seen)


def _tls_service(ip: str, names: Sequence[str], seen: datetime) -> Body:
    borne = certificate(names, seen)
    tls: Body = {
        "version_selected": "tlsv1_3",
        "cipher_selected": "TLS_CHACHA20_POLY1305_SHA256",
        "fingerprint_sha256": borne["fingerprint_sha256"],
    }
    return _service(ip, 443, seen) | {"cert": borne, "tls": tls}


def _endpoint(hostname: str, ip: str, port: int, seen: datetime) -> Body:
    scheme = "https" if port == 443 else "http"
    return {
        "hostname": hostname,
        "port": port,
        "path": "/",
        "endpoint_type": "HTTP",
        "transport_protocol": "tcp",
        "scan_time": iso(seen),
        "banner": _BANNER,
        "banner_hash_sha256": sha256(_BANNER.encode()).hexdigest(),
        "http": {
            "uri": f"{scheme}://{hostname}/",
            "protocol": "HTTP/1.1",
            "status_code": 200,
            "status_reason": "OK",
            "headers": {"Server": {"headers": ["nginx"]}},
            "supported_versions": ["HTTP/1.1"],
        },
        "ip": ip,
    }


def certificate(names: Sequence[str], seen: datetime) -> Body:
    der = " ".join(names).encode()
    since = seen - timedelta(days=30)
    return {
        "fingerprint_sha256": sha256(der).hexdigest(),
        "fingerprint_sha1": sha1(der, usedforsecurity=False).hexdigest(),
        "fingerprint_md5": md5(der, usedforsecurity=False).hexdigest(),
        "parsed": {
            "version": 3,
            "serial_number": str(number(names[0])),
            "issuer_dn": "C=NL, O=Open Roots, CN=R7",
            "issuer": {"common_name": ["R7"], "country": ["NL"], "organization": ["Open Roots"]},
            "subject_dn": f"CN={names[0]}",
            "subject": {"common_name": [names[0]]},
            "validity_period": {
                "not_before": iso(since),
                "not_after": iso(since + timedelta(days=90)),
                "length_seconds": 90 * 86400,
            },
            "extensions": {"subject_alt_name": {"dns_names": list(names)}},
        },
        "names": list(names),
        "validation_level": "dv",
        "ever_seen_in_scan": True,
        "added_at": iso(since),
        "parse_status": "success",
    }


def web_property(hostname: str, found: Sequence[Found], beside: Sequence[str] = ()) -> Body:
    """The site of a name on port 443: its addresses, and a certificate that also names the others found."""
    addresses = [f for f in found if f.sample.kind in _ADDRESSES]
    names = [hostname, *(f.sample.value for f in found if f.sample.kind not in _ADDRESSES), *beside]
    seen = max(map(last_seen, found))
    return {
        "hostname": hostname,
        "port": 443,
        "scan_time": iso(seen),
        "endpoints": [_endpoint(hostname, f.sample.value, 443, last_seen(f)) for f in addresses],
        "cert": certificate(names, seen),
    }


def hits(asked: Sample, found: Sequence[Found]) -> list[Body]:
    """What a search for a name or an address finds: hosts, and sites whose certificates name it."""
    if asked.kind in _ADDRESSES:
        return [_hit("host_v1", host(asked.value, found))] if found else []
    hosts = [f for f in found if f.sample.kind in _ADDRESSES]
    sites = [f for f in found if f.sample.kind not in _ADDRESSES]
    return [_hit("host_v1", host(f.sample.value, [_Seen(asked, f)])) for f in hosts] + [
        _hit("webproperty_v1", web_property(f.sample.value, [_Seen(f.sample, f)], [asked.value]))
        for f in sites
    ]


class _Seen:
    """A finding of the same days about another sample."""

    def __init__(self, sample: Sample, days: Found) -> None:
        self.sample = sample
        self.first_seen = days.first_seen
        self.last_seen = days.last_seen


def _hit(kind: str, resource: Body) -> Body:
    return {kind: {"resource": resource, "extensions": {}}}


def search(found: Sequence[Body], total: int, *, following: str, previous: str) -> Body:
    return {
        "result": {
            "hits": found,
            "total_hits": total,
            "next_page_token": following,
            "previous_page_token": previous,
            "query_duration_millis": 31,
        }
    }


def resolutions(asked: Sample, found: Sequence[Found], total: int, *, following: str) -> Body:
    """Passive DNS: the names of an address, or the addresses of a name."""
    key, of = ("domain", "ip") if asked.kind in _ADDRESSES else ("ip", "name")
    records = [
        {
            "record_type": "AAAA" if ":" in asked.value or ":" in f.sample.value else "A",
            key: f.sample.value,
            "first_seen": iso(_first(f)),
            "last_seen": iso(last_seen(f)),
        }
        for f in found
    ]
    return {
        "result": {of: asked.value, "records": records, "next_page_token": following, "total_records": total}
    }
