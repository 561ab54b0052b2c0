"""Open Threat Exchange is asked in several sections: each must be in its own words."""

import json

import pytest
from tests.unit.sources.scripted import Request, Scripted

from threatwalk.errors import AnswerError
from threatwalk.sample import parse
from threatwalk.sources import otx
from threatwalk.sources.response import Response

ADDRESS = parse("ipv4:198.51.100.7")
PULSE = "5fa3c2"
BODIES = {
    "general": {"pulse_info": {"pulses": [{"id": PULSE, "indicator_count": 3}]}},
    "passive_dns": {"passive_dns": [{"hostname": "example.org"}]},
    "malware": {"data": []},
    "url_list": {"url_list": []},
    "indicators": {"results": [{"type": "domain", "indicator": "example.net"}]},
}


def script(spoilt: str | None = None) -> Scripted:
    def answer(request: Request) -> Response:
        section = request.path.rpartition("/")[2]
        body = {"message": "no healthy upstream"} if section == spoilt else BODIES[section]
        return Response(200, json.dumps(body))

    return Scripted(answer, key="key")


async def test_the_sections_of_an_address_and_its_pulses_are_one_answer() -> None:
    assert otx.filter_.ask is not None
    assert otx.filter_.read is not None
    raw = await otx.filter_.ask(ADDRESS, script())

    found = {str(pivot.found) for pivot in otx.filter_.read(ADDRESS, raw)}
    assert found == {"domain:example.org", "domain:example.net"}


@pytest.mark.parametrize("section", BODIES)
async def test_one_section_in_other_words_spoils_the_answer(section: str) -> None:
    assert otx.filter_.ask is not None
    with pytest.raises(AnswerError):
        await otx.filter_.ask(ADDRESS, script(section))
