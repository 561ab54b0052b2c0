"""The kept client libraries speak with the emulator as they do with the real services."""

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import dns.asyncresolver
import dns.message
import dns.query
import dns.resolver
import httpx
import pytest
import vt
import whoisit
from whois.parser import WhoisEntry

from threatwalk.emulator import feed
from threatwalk.emulator.faults import Faults
from threatwalk.emulator.quota import Clock, Quotas
from threatwalk.emulator.serve import KEY, Emulator, Generated, start
from threatwalk.emulator.world import World, make_world
from threatwalk.sample import Kind, Sample
from threatwalk.sources.filter import Quota


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(5, 60)


@pytest.fixture
async def emulator(world: World) -> AsyncIterator[Emulator]:
    running = await start(Generated(world), feed.of_reports(world.reports))
    yield running
    await running.close()


def found(world: World, source: str, sample: Sample, *kinds: Kind) -> set[str]:
    return {f.sample.value for f in world.answer(source, sample) if not kinds or f.sample.kind in kinds}


def largest(world: World, source: str, *kinds: Kind) -> Sample:
    """The sample that a source knows most about."""
    return max(
        (s for s in world.graph.samples if s.kind in kinds), key=lambda s: len(world.answer(source, s))
    )


async def get(url: str, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False, verify=False, headers=headers) as client:
        return await client.get(url)


async def in_thread(call: Callable[[], Any]) -> Any:
    """For clients that block: the emulator runs in this very loop."""
    return await asyncio.to_thread(call)


# DNS


def resolver(emulator: Emulator) -> dns.asyncresolver.Resolver:
    host, _, port = emulator.endpoints["dns"].rpartition(":")
    one = dns.asyncresolver.Resolver(configure=False)
    one.nameservers, one.port, one.lifetime = [host], int(port), 3
    return one


async def test_dns_tells_a_names_addresses(world: World, emulator: Emulator) -> None:
    names = (s for s in world.graph.samples if s.kind is Kind.DOMAIN)
    asked = max(names, key=lambda s: len(found(world, "dns", s, Kind.IPV4)))
    answer = await resolver(emulator).resolve(asked.value, "A")

    assert {record.address for record in answer} == found(world, "dns", asked, Kind.IPV4)


async def test_dns_points_an_address_back_to_its_names(world: World, emulator: Emulator) -> None:
    asked = largest(world, "dns", Kind.IPV4)
    answer = await resolver(emulator).resolve_address(asked.value)

    assert {str(record.target).rstrip(".") for record in answer} == found(world, "dns", asked)


async def test_dns_tells_an_unknown_name_from_an_empty_answer(world: World, emulator: Emulator) -> None:
    known = largest(world, "dns", Kind.DOMAIN)
    with pytest.raises(dns.resolver.NXDOMAIN):
        await resolver(emulator).resolve("nobody-has-this.example.com", "A")
    with pytest.raises(dns.resolver.NoAnswer):
        await resolver(emulator).resolve(known.value, "TXT")


async def test_a_dns_answer_too_large_for_udp_is_truncated_and_whole_over_tcp(tmp_path: Path) -> None:
    pointed = Sample(Kind.IPV4, "198.51.100.7")
    names = tuple(Sample(Kind.HOSTNAME, f"a-rather-long-host-name-{n}.example.com") for n in range(120))
    running = await start(Told({("dns", pointed): names}), {})
    host, _, port = running.endpoints["dns"].rpartition(":")
    query = dns.message.make_query("7.100.51.198.in-addr.arpa", "PTR")
    small = await in_thread(
        lambda: dns.query.udp(query, host, port=int(port), timeout=3, ignore_trailing=True)
    )
    whole = await in_thread(lambda: dns.query.tcp(query, host, port=int(port), timeout=3))
    await running.close()

    assert small.flags & dns.flags.TC
    assert not small.answer
    assert len(whole.answer[0]) == 120


# WHOIS and RDAP


async def whois_text(emulator: Emulator, query: str) -> str:
    host, _, port = emulator.endpoints["whois"].rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"{query}\r\n".encode())
    body = await reader.read()
    writer.close()
    return body.decode("latin-1")


async def test_the_root_refers_to_a_registry(emulator: Emulator) -> None:
    assert "refer:        whois.nic.ru" in await whois_text(emulator, "ru")


async def test_a_registrys_text_parses_to_its_name_servers(world: World, emulator: Emulator) -> None:
    samples = [s for s in world.graph.samples if s.kind is Kind.DOMAIN and world.answer("whois", s)]
    zones = {s.value.rpartition(".")[2]: s for s in samples}
    assert len(zones) > 10
    for zone, asked in zones.items():
        if zone in {"com", "net", "org", "ru", "de", "uk", "su", "biz", "info"}:
            text = await whois_text(emulator, f"-T dn {asked.value}" if zone == "de" else asked.value)
            servers = WhoisEntry.load(asked.value, text).name_servers
            servers = [servers] if isinstance(servers, str) else servers  # the parser's way with one
            names = {name.rstrip(".").lower() for name in servers}
            # for .uk the parser takes the domain's own line for a server too
            assert names - {asked.value} == found(world, "whois", asked), zone


async def test_whois_says_when_a_domain_is_free(emulator: Emulator) -> None:
    assert "No match" in await whois_text(emulator, "nobody-has-this.com")
    assert "Status: free" in await whois_text(emulator, "nobody-has-this.de")


async def test_whoisit_finds_the_registry_by_the_bootstrap_and_reads_it(
    world: World, emulator: Emulator
) -> None:
    asked = next(
        s for s in world.graph.samples
        if s.kind is Kind.DOMAIN and s.value.endswith(".com") and world.answer("whois", s)
    )  # fmt: skip
    bootstrap = (await get(f"{emulator.endpoints['rdap']}/bootstrap.json")).text

    def ask() -> tuple[dict[str, Any], dict[str, Any]]:
        whoisit.load_bootstrap_data(bootstrap, allow_insecure=True)
        address = next(s for s in world.graph.samples if s.kind is Kind.IPV4)
        with pytest.raises(whoisit.errors.ResourceDoesNotExist):
            whoisit.domain("nobody-has-this.com", allow_insecure_ssl=True)
        return whoisit.domain(asked.value), whoisit.ip(address.value)

    domain, address = await in_thread(ask)
    assert {name.lower() for name in domain["nameservers"]} == found(world, "whois", asked)
    assert address["network"].num_addresses == 256


async def test_rdap_leaves_some_country_codes_to_port_43(emulator: Emulator) -> None:
    services = (await get(f"{emulator.endpoints['rdap']}/dns.json")).json()["services"]

    assert "com" in services[0][0]
    assert not {"ru", "jp", "de"} & set(services[0][0])
    reply = await get(f"{emulator.endpoints['rdap']}/domain/yandex.ru")
    assert reply.status_code == 404
    assert reply.headers["content-type"] == "application/rdap+json"


# VirusTotal


async def test_vt_py_reads_objects_and_pages_through_relations(world: World, emulator: Emulator) -> None:
    asked = largest(world, "virustotal", Kind.IPV4)
    async with vt.Client(KEY, host=emulator.endpoints["virustotal"], trust_env=False) as client:
        address = await client.get_object_async(f"/ip_addresses/{asked.value}")
        pages = client.iterator(f"/ip_addresses/{asked.value}/resolutions", batch_size=40)
        names = {one.host_name async for one in pages}
        files = {one.id async for one in client.iterator(f"/ip_addresses/{asked.value}/communicating_files")}

    assert address.type == "ip_address"
    assert names == found(world, "virustotal", asked, Kind.DOMAIN, Kind.HOSTNAME)
    assert len(names) > 40
    assert files == found(world, "virustotal", asked, Kind.SHA256)


async def test_vt_py_is_told_of_a_wrong_key_and_an_unknown_file(emulator: Emulator) -> None:
    async with vt.Client("wrong", host=emulator.endpoints["virustotal"], trust_env=False) as client:
        with pytest.raises(vt.APIError) as refused:
            await client.get_object_async(f"/files/{'0' * 64}")
    async with vt.Client(KEY, host=emulator.endpoints["virustotal"], trust_env=False) as client:
        with pytest.raises(vt.APIError) as unknown:
            await client.get_object_async(f"/files/{'0' * 64}")

    assert refused.value.code == "WrongCredentialsError"
    assert unknown.value.code == "NotFoundError"


async def test_a_url_is_found_by_both_of_its_ids(world: World, emulator: Emulator) -> None:
    from hashlib import sha256

    asked = largest(world, "virustotal", Kind.URL)
    async with vt.Client(KEY, host=emulator.endpoints["virustotal"], trust_env=False) as client:
        by_text = await client.get_object_async(f"/urls/{vt.url_id(asked.value)}")
        by_digest = await client.get_object_async(f"/urls/{sha256(asked.value.encode()).hexdigest()}")

    assert by_text.url == by_digest.url == asked.value


# Shodan


async def test_the_shodan_package_reads_hosts_and_domains(world: World, emulator: Emulator) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import shodan
    address, domain = largest(world, "shodan", Kind.IPV4), largest(world, "shodan", Kind.DOMAIN)

    def ask() -> tuple[dict[str, Any], dict[str, Any], str]:
        api = shodan.Shodan(KEY)
        api.base_url, api.api_rate_limit = emulator.endpoints["shodan"], 0
        api._session.trust_env = False
        with pytest.raises(shodan.APIError) as unknown:
            api.host("203.0.113.99")
        return api.host(address.value), api.dns.domain_info(domain.value), str(unknown.value)

    host, info, unknown = await in_thread(ask)
    assert set(host["hostnames"]) == found(world, "shodan", address, Kind.DOMAIN, Kind.HOSTNAME)
    assert len(info["data"]) == len(found(world, "shodan", domain))
    assert unknown == "No information available for that IP."


async def test_shodan_refuses_a_wrong_key(emulator: Emulator) -> None:
    assert (await get(f"{emulator.endpoints['shodan']}/shodan/host/1.1.1.1?key=wrong")).status_code == 401


# the feed


async def test_the_feed_lists_every_report_and_answers_304_to_who_has_it(
    world: World, emulator: Emulator
) -> None:
    url = f"{emulator.endpoints['feed']}manifest.json"
    first = await get(url)
    again = await get(url, **{"If-None-Match": first.headers["etag"]})
    since = await get(url, **{"If-Modified-Since": first.headers["last-modified"]})
    event = (await get(f"{emulator.endpoints['feed']}{world.reports[0].id}.json")).json()["Event"]

    assert set(first.json()) == {report.id for report in world.reports}
    assert again.status_code == since.status_code == 304
    assert not again.content
    assert {attribute["value"] for attribute in event["Attribute"]} == {
        s.value for s in world.reports[0].goal
    }


async def test_the_feeds_hashes_name_each_value_by_its_md5(world: World, emulator: Emulator) -> None:
    from hashlib import md5

    lines = (await get(f"{emulator.endpoints['feed']}hashes.csv")).text.split()
    report = world.reports[0]

    assert {f"{md5(s.value.encode()).hexdigest()},{report.id}" for s in report.goal} <= set(lines)


# faults


@pytest.mark.parametrize(("fault", "outcome"), [
    ("429", 429), ("503", 503), ("throttled", 429),
    ("reset", httpx.RemoteProtocolError), ("truncated", httpx.RemoteProtocolError),
])  # fmt: skip
async def test_a_planned_fault_comes_over_http(fault: str, outcome: Any, world: World) -> None:
    running = await start(Generated(world), {}, faults=Faults({"shodan": {fault: 1.0}}))
    url = f"{running.endpoints['shodan']}/api-info?key={KEY}"
    try:
        if isinstance(outcome, int):
            assert (await get(url)).status_code == outcome
        else:
            with pytest.raises((outcome, httpx.ReadError)):
                await get(url)
    finally:
        await running.close()


async def test_planned_faults_come_over_dns_and_whois(world: World) -> None:
    running = await start(
        Generated(world), {}, faults=Faults({"dns": {"503": 1.0}, "whois": {"throttled": 1.0}})
    )
    try:
        with pytest.raises(dns.resolver.NoNameservers):
            await resolver(running).resolve("example.com", "A")
        assert "LIMIT EXCEEDED" in await whois_text(running, "example.com")
    finally:
        await running.close()


async def test_a_quota_is_spent_and_comes_back_when_the_clock_is_pushed(world: World) -> None:
    quotas = Quotas({"shodan": Quota(per_minute=2)}, Clock(speed=0))
    running = await start(Generated(world), {}, faults=Faults(quotas=quotas))
    url = f"{running.endpoints['shodan']}/api-info?key={KEY}"
    try:
        before = [(await get(url)).status_code for _ in range(3)]
        async with httpx.AsyncClient(trust_env=False, verify=False) as client:
            await client.post(f"{running.endpoints['clock']}?advance_s=60")
        after = (await get(url)).status_code
    finally:
        await running.close()

    assert before == [200, 200, 429]
    assert after == 200


# the process


def test_the_command_says_where_it_listens_logs_and_stops_when_told(tmp_path: Path) -> None:
    endpoints, log = tmp_path / "endpoints.json", tmp_path / "requests.jsonl"
    command = [str(Path(sys.executable).with_name("threatwalk")), "emulator", "--reports", "10"]
    command += ["--endpoints", str(endpoints), "--log", str(log)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**os.environ})
    try:
        for _ in itertools.takewhile(lambda _: not endpoints.exists() and process.poll() is None, range(600)):
            time.sleep(0.05)
        where = json.loads(endpoints.read_text())
        with httpx.Client(trust_env=False) as client:
            assert client.get(where["health"]).text == "ok\n"
            assert client.get(f"{where['shodan']}/api-info", params={"key": KEY}).status_code == 200
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
    finally:
        process.kill()

    assert process.returncode == 0, errors
    assert not errors
    assert not endpoints.exists()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["source"] for line in lines] == ["healthz", "shodan"]
    assert KEY not in log.read_text()


class Told:
    """A world told by hand: (source, sample) -> what it finds, undated."""

    def __init__(self, answers: dict[tuple[str, Sample], tuple[Sample, ...]]) -> None:
        self._answers = answers

    def answer(self, source: str, sample: Sample) -> tuple[Any, ...]:
        from threatwalk.emulator.world import Found

        return tuple(Found(one, None, None) for one in self._answers.get((source, sample), ()))

    def samples(self) -> list[Sample]:
        return [sample for _, sample in self._answers]

    def knows(self, sample: Sample) -> bool:
        return any(sample == known for _, known in self._answers)
