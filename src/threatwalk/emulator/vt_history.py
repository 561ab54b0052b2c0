"""VirusTotal's objects that are more than one sample: certificates, registrations and sandbox reports.

They repeat, for some samples, what other relations tell of the same: no answer grows by them.
"""

from hashlib import sha256
from itertools import islice

from threatwalk.emulator import vt_objects as objects
from threatwalk.emulator.answers import Found
from threatwalk.emulator.registry import number
from threatwalk.emulator.vt_objects import Body, Sections
from threatwalk.sample import FILE_KINDS, Kind, Sample

RELATIONS = ("historical_ssl_certificates", "historical_whois", "behaviours")
_NAMES = frozenset({Kind.DOMAIN, Kind.HOSTNAME})
_SHARE = 8  # one of so many addresses and names has a past
_MOST = 5  # names of one certificate, and members of each kind in one report


def history(asked: Sample, found: Sections, root: str) -> dict[str, list[Body]]:
    """Relation -> its objects."""
    if asked.kind in FILE_KINDS:
        return {"behaviours": _behaviours(asked, found, root)}
    if asked.kind is Kind.URL or number(asked.value) % _SHARE:
        return {}
    named = [f for members in found.values() for f in members if f.sample.kind in _NAMES]
    servers = [f for f in found.get("attributes", ()) if objects.record_type(f.sample) == "NS"]
    return {
        "historical_ssl_certificates": [_certificate(asked, named, root)] if named else [],
        "historical_whois": [_registration(asked, servers, root)] if servers else [],
    }


def _certificate(asked: Sample, named: list[Found], root: str) -> Body:
    """One that was seen on the day when the first name was, for all names of that day."""
    day = named[0].first_seen
    names = [f.sample.value for f in islice((f for f in named if f.first_seen == day), _MOST)]
    digest = sha256(f"certificate of {asked.value}".encode()).hexdigest()
    seen = None if day is None else day.strftime("%Y-%m-%d")
    return {
        "attributes": objects.certificate(names),
        "type": "ssl_cert",
        "id": digest,
        "links": {"self": f"{root}/ssl_certs/{digest}"},
        "context_attributes": {"first_seen_date": seen, "port": 443},
    }


def _registration(asked: Sample, servers: list[Found], root: str) -> Body:
    digest = sha256(f"registration of {asked.value}".encode()).hexdigest()
    seen = objects.seconds(servers[0].first_seen)
    return {
        "attributes": {
            "first_seen_date": seen,
            "last_updated": seen - 86_400,
            "registrant_country": "NL",
            "registrar_name": "Northlight Domains Ltd",
            "whois_map": {
                "DNSSEC": "unsigned",
                "Domain Name": asked.value,
                "Name Server": " | ".join(f.sample.value.upper() for f in servers),
                "Registrar": "Northlight Domains Ltd",
            },
        },
        "type": "whois",
        "id": digest,
        "links": {"self": f"{root}/whois/{digest}"},
    }


def _behaviours(asked: Sample, found: Sections, root: str) -> list[Body]:
    """One report: whom the file contacted, and what it dropped."""

    def some(relation: str) -> list[str]:
        return [f.sample.value for f in found.get(relation, ())][:_MOST]

    dropped = [f.sample for f in found.get("dropped_files", ()) if f.sample.kind is Kind.SHA256][:_MOST]
    traffic, hosts, calls = map(some, ("contacted_ips", "contacted_domains", "contacted_urls"))
    if not (dropped or traffic or hosts or calls):
        return []
    seen = objects.first(next(found[name] for name in found if name != "attributes"))
    report: Body = {
        "analysis_date": seen,
        "behash": sha256(asked.value.encode()).hexdigest()[:32],
        "command_executions": ['"%SAMPLEPATH%\\sample.exe"'],
        "dns_lookups": [{"hostname": host, "resolved_ips": []} for host in hosts],
        "files_deleted": [],
        "files_dropped": [{"sha256": s.value} for s in dropped],
        "files_opened": [],
        "has_evtx": False,
        "has_html_report": False,
        "has_memdump": False,
        "has_pcap": False,
        "http_conversations": [{"request_method": "GET", "url": url} for url in calls],
        "ip_traffic": [
            {"destination_ip": ip, "destination_port": 443, "transport_layer_protocol": "TCP"}
            for ip in traffic
        ],
        "last_modification_date": seen,
        "modules_loaded": [],
        "processes_created": [],
        "processes_injected": [],
        "processes_terminated": [],
        "processes_tree": [],
        "registry_keys_set": [],
        "sandbox_name": "Quiet Room",
    }
    id_ = f"{asked.value}_Quiet Room"
    return [
        {
            "attributes": report,
            "type": "file_behaviour",
            "id": id_,
            "links": {"self": f"{root}/file_behaviours/{id_}"},
        }
    ]
