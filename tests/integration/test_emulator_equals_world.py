"""What the five adapters read off the wire is what the world says, sample for sample and day for day."""

import asyncio
import random
import struct
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field

import httpx
import pytest

from threatwalk.emulator import feed
from threatwalk.emulator.serve import KEY, Emulator, Generated, start
from threatwalk.emulator.world import World, make_world
from threatwalk.pivot import Pivot
from threatwalk.sample import Kind, Sample, registered_domain
from threatwalk.sources.catalog import CATALOG
from threatwalk.sources.filter import Filter, NotKnownError

QUESTIONS = 200
IPS = {Kind.IPV4, Kind.IPV6}
NAMES = {Kind.DOMAIN, Kind.HOSTNAME}


def question(wire: bytes) -> bytes:
    """Id and question of a DNS message: two questions of one name may bear the same id."""
    return wire[:2] + wire[12 : wire.index(0, 12) + 5]


@dataclass
class Loopback:
    """A session that knows the emulator's addresses and nothing else: no quota, no guard, no archive."""

    endpoints: Mapping[str, str]
    client: httpx.AsyncClient
    key: str | None = KEY
    memo: dict[str, object] = field(default_factory=dict)

    def endpoint(self, name: str) -> str:
        return self.endpoints[name].rstrip("/")

    def moved(self, name: str) -> bool:
        return True

    def trust(self, hosts: Iterable[str]) -> None:
        pass

    async def get(
        self, url: str, *, params: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> str:
        reply = await self.client.get(url, params=params, headers=headers)
        if reply.status_code == 404:
            raise NotKnownError(reply.text)
        reply.raise_for_status()
        return reply.text

    async def udp(self, endpoint: str, messages: list[bytes]) -> list[bytes]:
        loop = asyncio.get_running_loop()
        replies: asyncio.Queue[bytes] = asyncio.Queue()

        class Reader(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: object) -> None:
                replies.put_nowait(data)

        host, _, port = endpoint.rpartition(":")
        transport, _ = await loop.create_datagram_endpoint(Reader, remote_addr=(host, int(port)))
        try:
            for message in messages:
                transport.sendto(message)
            got = [await asyncio.wait_for(replies.get(), 5) for _ in messages]
        finally:
            transport.close()
        by_question = {question(wire): wire for wire in got}
        return [by_question[question(message)] for message in messages]

    async def tcp(self, endpoint: str, message: bytes, *, framed: bool = False) -> bytes:
        host, _, port = endpoint.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(struct.pack("!H", len(message)) + message if framed else message)
            if not framed:
                return await reader.read()
            (length,) = struct.unpack("!H", await reader.readexactly(2))
            return await reader.readexactly(length)
        finally:
            writer.close()


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(7, 120)


@pytest.fixture
async def emulator(world: World) -> AsyncIterator[Emulator]:
    running = await start(Generated(world), feed.of_reports(world.reports))
    yield running
    await running.close()


def questions(world: World, source: str, filter_: Filter) -> list[Sample]:
    """Mostly samples that the source knows, some that it does not."""
    accepted = [s for s in world.graph.samples if s.kind in filter_.accepts]
    known = [s for s in accepted if world.answer(source, s)]
    rng = random.Random(source)
    return rng.sample(known, min(len(known), QUESTIONS - 30)) + rng.sample(accepted, 30)


async def ask(filter_: Filter, sample: Sample, session: Loopback) -> list[Pivot]:
    assert filter_.ask is not None
    assert filter_.read is not None
    try:
        raw = await filter_.ask(sample, session)
    except NotKnownError:
        return []
    return list(filter_.read(sample, raw))


def dated(source: str, sample: Sample, found: Sample) -> bool:
    """Whether that source's interface has room for the day of that relation."""
    if source == "virustotal":
        return (sample.kind in IPS and found.kind in NAMES) or (sample.kind in NAMES and found.kind in IPS)
    return source in {"shodan", "otx"}


def about(source: str, sample: Sample) -> Sample:
    """What the question is really about: a registry knows registered domains alone."""
    if source == "whois" and sample.kind is Kind.HOSTNAME:
        return Sample(Kind.DOMAIN, registered_domain(sample.value))
    return sample


@pytest.mark.parametrize("source", ["dns", "whois", "virustotal", "shodan", "otx"])
async def test_an_adapter_reads_off_the_wire_what_the_world_says(
    source: str, world: World, emulator: Emulator
) -> None:
    filter_ = next(one for one in CATALOG if one.name == source)
    asked = questions(world, source, filter_)
    async with httpx.AsyncClient(trust_env=False) as client:
        session = Loopback(emulator.endpoints, client)
        read = {sample: await ask(filter_, sample, session) for sample in asked}

    said = {
        sample: {f.sample: f.first_seen for f in world.answer(source, about(source, sample))}
        for sample in asked
    }
    wrong = {
        sample: (said[sample].keys() - heard, heard - said[sample].keys())
        for sample, pivots in read.items()
        if (heard := {pivot.found for pivot in pivots}) != said[sample].keys() - {sample}
    }
    assert not wrong, (
        f"{len(wrong)} of {len(asked)} questions differ (missing, extra): {list(wrong.items())[:3]}"
    )
    late = [
        pivot
        for sample, pivots in read.items()
        for pivot in pivots
        if dated(source, sample, pivot.found) and pivot.first_seen != said[sample][pivot.found]
    ]
    assert not late, f"{len(late)} pivots of another day: {late[:3]}"
