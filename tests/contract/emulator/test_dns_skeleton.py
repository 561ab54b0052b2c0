"""The emulated resolver: each relation of DNS comes over the wire, in the form of the recorded answers."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.contract.emulator.test_skeletons import bodies, differences

from threatwalk.emulator.faults import Faults
from threatwalk.emulator.serve import Emulator, start
from threatwalk.emulator.world import Found
from threatwalk.errors import UnavailableError
from threatwalk.gate.session import SourceSession, http_client
from threatwalk.sample import Sample, parse
from threatwalk.sources.catalog import CATALOG
from threatwalk.sources.filter import NotKnownError

SINCE = datetime(2024, 5, 6, tzinfo=UTC)
DOMAIN, HOST, SERVICE = map(
    parse, ("domain:example.com", "hostname:www.example.com", "hostname:_sip._tcp.example.com")
)
V4, V6 = parse("ipv4:8.8.4.4"), parse("ipv6:2a00::7")
WIDE = parse("ipv4:9.9.9.9")
KNOWN = {
    DOMAIN: ("ipv4:8.8.4.4", "ipv6:2a00::7", "hostname:ns1.host.net", "hostname:ns2.host.net", "hostname:mx.host.net",
             "hostname:_spf.host.net"),
    HOST: ("ipv4:8.8.4.4", "hostname:edge.cdn.net"),
    SERVICE: ("hostname:sip.example.com", "hostname:sip2.example.com"),
    V4: ("domain:example.com", "hostname:www.example.com"),
    V6: ("hostname:six.example.com",),
    WIDE: tuple(f"hostname:a-rather-long-host-name-{n}.example.com" for n in range(120)),
}  # fmt: skip


class Told:
    """A world told by hand, the same for DNS and Whois."""

    def answer(self, source: str, sample: Sample) -> tuple[Any, ...]:
        return tuple(Found(parse(one), SINCE, None) for one in KNOWN.get(sample, ()))

    def samples(self) -> list[Sample]:
        return list(KNOWN)

    def knows(self, sample: Sample) -> bool:
        return sample in KNOWN or sample == parse("domain:silent.com")


async def no_pace(requests: int) -> None:
    """Every request may leave."""


@asynccontextmanager
async def asking(name: str, running: Emulator) -> AsyncIterator[Any]:
    """A function that asks one source of the emulator: its raw answer."""
    filter_ = next(one for one in CATALOG if one.name == name)
    assert filter_.ask is not None
    async with http_client(timeout_s=2, per_host=4) as http:
        session = SourceSession(
            filter_, http=http, endpoints=running.endpoints, key=None, pace=no_pace, timeout_s=2, max_bytes=10**6
        )  # fmt: skip
        yield lambda sample: filter_.ask(sample, session)
        session.close()


def read(name: str, sample: Sample, raw: str) -> set[str]:
    filter_ = next(one for one in CATALOG if one.name == name)
    assert filter_.read is not None
    return {str(pivot.found) for pivot in filter_.read(sample, raw)}


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    running = await start(Told(), {})
    yield running
    await running.close()


@pytest.mark.parametrize("sample", KNOWN, ids=str)
async def test_each_relation_comes_over_the_wire(sample: Sample, emulator: Emulator) -> None:
    async with asking("dns", emulator) as ask:
        assert read("dns", sample, await ask(sample)) == set(KNOWN[sample])


@pytest.mark.parametrize(
    ("sample", "types"),
    [(DOMAIN, {1, 28, 15, 2, 6, 16}), (HOST, {1, 5}), (SERVICE, {33}), (V6, {12})],
    ids=str,
)
async def test_each_type_is_asked_and_served(sample: Sample, types: set[int], emulator: Emulator) -> None:
    async with asking("dns", emulator) as ask:
        responses = json.loads(await ask(sample))["responses"]

    assert {record["type"] for response in responses for record in response["Answer"]} == types


@pytest.mark.shared
async def test_the_answer_is_kept_in_the_form_of_the_recorded_ones(
    providers: Path, emulator: Emulator
) -> None:
    recorded = bodies(providers / "dns_doh", "*.json")
    async with asking("dns", emulator) as ask:
        emulated = json.loads(await ask(DOMAIN))["responses"]

    flags = [(name,) for name in ("TC", "RD", "RA", "AD", "CD")]
    assert differences(emulated, recorded, left_out=flags) == []


@pytest.mark.parametrize(
    "name", ["domain:nobody-has-this.com", "domain:silent.com"], ids=["NXDOMAIN", "NODATA"]
)
async def test_a_name_without_records_is_an_empty_answer(name: str, emulator: Emulator) -> None:
    async with asking("dns", emulator) as ask:
        with pytest.raises(NotKnownError) as raised:
            await ask(parse(name))

    assert read("dns", parse(name), raised.value.raw) == set()


@pytest.mark.parametrize("fault", ["503", "403", "drop", "truncated"])
async def test_servfail_refused_silence_and_truncation_are_failures(fault: str) -> None:
    running = await start(Told(), {}, faults=Faults({"dns": {fault: 1.0}}))
    async with asking("dns", running) as ask:
        with pytest.raises(UnavailableError):
            await ask(DOMAIN)
    await running.close()
