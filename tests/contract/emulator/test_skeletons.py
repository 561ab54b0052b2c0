"""The emulator's bodies have the keys and types of the recorded ones: no key of its own, none of the common ones left out."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from threatwalk.emulator.serve import KEY, Emulator, Generated
from threatwalk.sample import Kind, Sample

pytestmark = pytest.mark.shared

Shape = dict[tuple[str, ...], set[str]]

# Objects whose keys are data: engines, categories, header names, hosts.
MAPS = {
    "last_analysis_results",
    "last_analysis_stats",
    "categories",
    "popularity_ranks",
    "indicator_type_counts",
    "http_response",
}
# A file's hashes and names stand in its object only where the world knows them.
KNOWN_ONLY = {("md5",), ("sha1",), ("sha256",)}


def shape(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every path of a JSON value with the type that stands there."""
    if isinstance(value, dict):
        yield path, "object"
        in_map = bool(path) and path[-1] in MAPS
        for key, inner in value.items():
            yield from shape(inner, (*path, "*" if in_map else key))
    elif isinstance(value, list):
        yield path, "list"
        for inner in value:
            yield from shape(inner, (*path, "[]"))
    else:
        yield path, type(value).__name__


def skeleton(values: Iterable[Any]) -> Shape:
    out: Shape = {}
    for value in values:
        for path, kind in shape(value):
            out.setdefault(path, set()).add(kind)
    return out


def common(values: list[Any]) -> set[tuple[str, ...]]:
    """Keys that every recorded value has (not those inside lists and maps)."""
    paths = [{path for path, _ in shape(value) if "[]" not in path and "*" not in path} for value in values]
    return set.intersection(*paths)


def differences(
    emulated: list[Any], recorded: list[Any], *, left_out: Iterable[tuple[str, ...]] = ()
) -> list[str]:
    """What the emulated values have that no recording has, and what they lack that all have."""
    assert emulated, "nothing was emulated"
    assert recorded, "nothing was recorded"
    known = skeleton(recorded)
    found = []
    for path, kinds in skeleton(emulated).items():
        allowed = known.get(path, set())
        strange = kinds - allowed - ({"int"} if "float" in allowed else set())
        if strange:
            found.append(
                f"{'.'.join(path)}: {'/'.join(sorted(strange))}, recorded {'/'.join(sorted(allowed)) or 'never'}"
            )
    lacking = common(recorded) - set.intersection(*({p for p, _ in shape(v)} for v in emulated))
    open_ = tuple(left_out)
    return found + [f"{'.'.join(path)}: lacking" for path in sorted(lacking) if path not in open_]


def bodies(folder: Path, *patterns: str) -> list[Any]:
    paths = sorted({path for pattern in patterns for path in folder.glob(pattern)})
    return [json.loads(path.read_text()) for path in paths if not path.name.endswith(".meta.json")]


def objects(value: Any, type_: str) -> Iterator[dict[str, Any]]:
    """VirusTotal's objects of a type, wherever they stand in a body."""
    if isinstance(value, dict):
        if value.get("type") == type_ and isinstance(value.get("attributes"), dict) and "links" in value:
            yield value
        for inner in value.values():
            yield from objects(inner, type_)
    elif isinstance(value, list):
        for inner in value:
            yield from objects(inner, type_)


def richest(world: Generated, source: str, *kinds: Kind) -> Sample:
    """The sample of which a source knows the most kinds."""
    return max(
        (s for s in world.samples() if s.kind in kinds),
        key=lambda s: len({f.sample.kind for f in world.answer(source, s)}),
    )


async def get(url: str, **headers: str) -> Any:
    async with httpx.AsyncClient(trust_env=False, verify=False, headers=headers) as client:
        return (await client.get(url)).json()


@pytest.mark.parametrize(
    ("type_", "collection", "kinds", "relation"),
    [
        ("domain", "domains", (Kind.DOMAIN,), "siblings"),
        ("ip_address", "ip_addresses", (Kind.IPV4,), "resolutions"),
        ("file", "files", (Kind.MD5, Kind.SHA256), "dropped_files"),
        ("url", "urls", (Kind.URL,), "network_location"),
        ("resolution", "domains", (Kind.DOMAIN,), "resolutions"),
    ],
)
async def test_virustotal_objects_have_the_recorded_skeleton(
    type_: str, collection: str, kinds: tuple[Kind, ...], relation: str,
    providers: Path, world: Generated, emulator: Emulator,
) -> None:  # fmt: skip
    from threatwalk.emulator.vt_objects import identifier

    asked = richest(world, "virustotal", *kinds)
    recorded = [one for body in bodies(providers / "virustotal", "*.json") for one in objects(body, type_)]
    url = f"{emulator.endpoints['virustotal']}/api/v3/{collection}/{identifier(asked)}"
    answers = [await get(url, **{"x-apikey": KEY}), await get(f"{url}/{relation}", **{"x-apikey": KEY})]
    emulated = [one for answer in answers for one in objects(answer, type_)]

    left_out = [("attributes", *path) for path in KNOWN_ONLY]
    assert differences(emulated, recorded, left_out=left_out) == []


async def test_virustotal_pages_and_errors_have_the_recorded_skeleton(
    providers: Path, world: Generated, emulator: Emulator
) -> None:
    asked = max(
        world.samples(), key=lambda s: len(world.answer("virustotal", s)) if s.kind is Kind.IPV4 else 0
    )
    base = f"{emulator.endpoints['virustotal']}/api/v3"
    recorded = bodies(providers / "virustotal", "*resolutions*.json", "mihari_VirusTotal_with*.json")
    page = await get(f"{base}/ip_addresses/{asked.value}/resolutions", **{"x-apikey": KEY})
    error = await get(f"{base}/files/{'0' * 64}", **{"x-apikey": KEY})

    assert differences([page], recorded) == []
    assert differences([error], bodies(providers / "virustotal", "error_*.json")) == []


@pytest.mark.parametrize(
    ("section", "kinds", "patterns"),
    [
        ("passive_dns", (Kind.IPV4,), ("mihari_OTX_with_ip*.json", "*_passive_dns.json")),
        ("passive_dns", (Kind.DOMAIN,), ("mihari_OTX_with_domain*.json", "*_passive_dns.json")),
        (
            "general",
            (Kind.IPV4,),
            ("capture_ipv4*.json", "otx_ruby_ip_general.json", "otx_ruby_hostname_geo.json"),
        ),
        ("general", (Kind.HOSTNAME,), ("otx_ruby_hostname_general.json", "otx_ruby_ip_general.json")),
        ("general", (Kind.SHA256,), ("otx_ruby_file_general.json", "otx_ruby_ip_general.json")),
        ("analysis", (Kind.MD5,), ("otx_ruby_file_analysis.json",)),
        ("malware", (Kind.IPV4,), ("*_malware*.json",)),
        ("url_list", (Kind.HOSTNAME,), ("otx_ruby_hostname_url_list*.json", "otx_ruby_ip_url_list*.json")),
        ("url_list", (Kind.URL,), ("otx_ruby_url_url_list.json",)),
        ("nids_list", (Kind.IPV4,), ("otx_ruby_*_nids_list.json", "otx_ruby_domain_nids_list-2.json")),
        ("geo", (Kind.HOSTNAME,), ("otx_ruby_hostname_geo.json",)),
        ("http_scans", (Kind.HOSTNAME,), ("otx_ruby_hostname_http_scans.json",)),
        ("whois", (Kind.DOMAIN,), ("otx_ruby_domain_whois.json",)),
    ],
)
async def test_sections_of_open_threat_exchange_have_the_recorded_skeleton(
    section: str, kinds: tuple[Kind, ...], patterns: tuple[str, ...],
    providers: Path, world: Generated, emulator: Emulator,
) -> None:  # fmt: skip
    from urllib.parse import quote

    asked = richest(world, "otx", *kinds)
    type_ = {Kind.IPV4: "IPv4", Kind.DOMAIN: "domain", Kind.HOSTNAME: "hostname", Kind.URL: "url"}.get(
        asked.kind, "file"
    )
    url = f"{emulator.endpoints['otx']}/api/v1/indicators/{type_}/{quote(asked.value, safe='')}/{section}"
    emulated = await get(url, **{"X-OTX-API-KEY": KEY})

    recorded = bodies(providers / "otx", *patterns)
    first = recorded[:1] if section == "general" else recorded  # the others lend their pulses and places
    found = [line for line in differences([emulated], recorded) if not line.endswith("lacking")]
    left_out = {
        ("analysis", "metadata"),
        ("analysis", "info", "results", "md5"),
        ("analysis", "info", "results", "sha1"),
        ("analysis", "info", "results", "sha256"),
        *(path for path in common(first) if path[:2] == ("analysis", "plugins") and len(path) > 2),
        *((name,) for name in ("false_positive", "passive_dns")),
    }
    lacking = [line for line in differences([emulated], first, left_out=left_out) if line.endswith("lacking")]
    if section == "general" and asked.kind is Kind.IPV4:
        lacking = [line for line in lacking if "related" not in line and "base_indicator." not in line]
    assert found + lacking == []


async def test_pulses_have_the_recorded_skeleton(
    providers: Path, world: Generated, emulator: Emulator
) -> None:
    asked = richest(world, "otx", Kind.MD5, Kind.SHA256)
    base, key = f"{emulator.endpoints['otx']}/api/v1", {"X-OTX-API-KEY": KEY}
    general = await get(f"{base}/indicators/file/{asked.value}/general", **key)
    pulse = general["pulse_info"]["pulses"][0]["id"]

    listed = await get(f"{base}/pulses/{pulse}/indicators?limit=2", **key)
    whole = await get(f"{base}/pulses/{pulse}", **key)

    assert differences([listed], bodies(providers / "otx", "otx_ruby_pulse_indicators.json")) == []
    assert differences([whole], bodies(providers / "otx", "otx_ruby_pulse_get.json")) == []


async def test_shodan_has_the_recorded_skeleton(
    providers: Path, world: Generated, emulator: Emulator
) -> None:
    asked = max(
        (s for s in world.samples() if s.kind is Kind.IPV4),
        key=lambda s: any(f.sample.kind is Kind.IPV4 for f in world.answer("shodan", s)),
    )
    base = emulator.endpoints["shodan"]
    recorded = bodies(providers / "shodan", "mihari_Shodan*.json", "shodanx_Host__search*.json")
    banners = [banner for body in recorded for banner in body["matches"]]
    trimmed = [host for body in bodies(providers / "shodan", "wtfis_shodan_*.json") for host in body.values()]

    host = await get(f"{base}/shodan/host/{asked.value}?key={KEY}")
    sha1 = next(b["ssl"]["cert"]["fingerprint"]["sha1"] for b in host["data"] if "ssl" in b)
    search = await get(f"{base}/shodan/host/search?key={KEY}&query=ssl.cert.fingerprint:{sha1}")
    info = await get(f"{base}/api-info?key={KEY}")

    assert differences([*host["data"], *search["matches"]], banners) == []
    assert {path for path in common(trimmed) if len(path) == 1} <= {path for path, _ in shape(host)}
    assert differences([{**search, "matches": []}], [{**body, "matches": []} for body in recorded]) == []
    assert differences([info], bodies(providers / "shodan", "shodanx_REST__info*.json")) == []
    assert differences(
        [await get(f"{emulator.endpoints['internetdb']}/{asked.value}")],
        bodies(providers / "shodan_internetdb", "*.json"),
    ) == []  # fmt: skip


async def test_rdap_has_the_recorded_skeleton(providers: Path, world: Generated, emulator: Emulator) -> None:
    domain = next(
        s for s in world.samples()
        if s.kind is Kind.DOMAIN and s.value.endswith(".com") and world.answer("whois", s)
    )  # fmt: skip
    address = next(s for s in world.samples() if s.kind is Kind.IPV4)
    base = emulator.endpoints["rdap"] + "/"
    rdap = providers / "rdap"
    domains = bodies(rdap, "whoisit_domain*.json", "icann_home.moscow.json", "icann_domain_afnic_fr.json")
    domains += bodies(rdap, "icann_lemonde.fr.json", "icann_lookup_with_redaction.json")

    assert differences([await get(f"{base}domain/{domain.value}")], domains) == []
    assert differences([await get(f"{base}ip/{address.value}")], bodies(rdap, "whoisit_ip_v*.json")) == []
    assert differences([await get(f"{base}dns.json")], bodies(rdap, "openrdap_bootstrap_dns.json")) == []
    assert differences([await get(f"{base}ipv4.json")], bodies(rdap, "openrdap_bootstrap_ipv4.json")) == []
