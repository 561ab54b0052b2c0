"""Hybrid Analysis's emulated bodies have the keys and types of the recorded ones."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from tests.contract.emulator.test_skeletons import KNOWN_ONLY, bodies, differences, richest

from threatwalk.emulator.serve import KEY, Emulator, Generated
from threatwalk.sample import Kind

pytestmark = pytest.mark.shared

AGENT = {"User-Agent": "Falcon Sandbox"}


@pytest.fixture
def recorded(providers: Path) -> Path:
    return providers / "hybridanalysis"


@pytest.fixture
async def client(emulator: Emulator) -> AsyncIterator[httpx.AsyncClient]:
    base = f"{emulator.endpoints['hybrid_analysis']}/api/v2/"
    async with httpx.AsyncClient(trust_env=False, base_url=base, headers={"api-key": KEY, **AGENT}) as client:
        yield client


async def test_overviews_and_summaries_have_the_recorded_skeleton(
    recorded: Path, world: Generated, client: httpx.AsyncClient
) -> None:
    asked = richest(world, "hybrid_analysis", Kind.SHA256)

    search = (await client.get("search/hash", params={"hash": asked.value})).json()
    overview = (await client.get(f"overview/{asked.value}")).json()
    summary = (await client.get(f"report/{search['reports'][0]['id']}/summary")).json()

    assert search["sha256s"] == [asked.value]
    assert summary["extracted_files"]
    assert differences([overview], bodies(recorded, "*_Overview__get_*.json")) == []
    runs = bodies(recorded, "*_Report__summary_*.json")
    runs += [
        one for body in bodies(recorded, "*_Report__summaries_*.json", "*_Search__hash*.json") for one in body
    ]
    assert differences([summary], runs, left_out=KNOWN_ONLY) == []


async def test_a_search_for_a_term_has_the_recorded_skeleton(
    recorded: Path, world: Generated, client: httpx.AsyncClient
) -> None:
    address = richest(world, "hybrid_analysis", Kind.IPV4)

    nothing = (await client.post("search/terms", data={"host": "203.0.113.77"})).json()
    found = (await client.post("search/terms", data={"host": address.value})).json()

    assert found["count"] == len(found["result"]) > 0
    assert {"job_id", "sha256", "environment_id", "analysis_start_time", "submit_name", "verdict"} <= found[
        "result"
    ][0].keys()
    for body in (nothing, found | {"result": []}):  # the only recorded search found nothing
        assert differences([body], bodies(recorded, "*_Search__terms_*.json")) == []


@pytest.fixture
def told(recorded: Path) -> list[str]:
    """What the recorded answers said in their header of limits."""
    paths = recorded.glob("*.meta.json")
    return [json.loads(path.read_text())["headers"]["Api-Limits"] for path in paths]


async def test_answers_say_how_much_of_the_quota_is_used(told: list[str], client: httpx.AsyncClient) -> None:
    response = await client.get("search/hash", params={"hash": "0" * 64})

    emulated = json.loads(response.headers["Api-Limits"])
    assert differences([emulated], [json.loads(text) for text in told]) == []


async def test_refusals_are_told_in_its_own_words(client: httpx.AsyncClient) -> None:
    refused = [
        await client.get("search/hash", params={"hash": "none"}),
        await client.get("search/hash", headers={"api-key": "wrong"}),
        await client.get("search/hash", headers={"User-Agent": "python-requests/2.32"}),
        await client.get(f"overview/{'0' * 64}"),
        await client.get("report/5e2bdfa5ead45a359b7ef88b/summary"),
        await client.get("nothing"),
    ]

    assert [response.status_code for response in refused] == [400, 403, 403, 404, 404, 404]
    assert all(isinstance(response.json()["message"], str) for response in refused)
