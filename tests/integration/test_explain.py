"""What an analysis owes to each lookup: in the shell, and on the page when a sample is chosen."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.integration.desk_server import PARAMS, finish
from tests.unit.desk.conftest import World, walked

from threatwalk.analysis.explanation import losses
from threatwalk.cli.explain import explain
from threatwalk.desk.actions import opened
from threatwalk.desk.page import page
from threatwalk.desk.shown import shown
from threatwalk.params import load
from threatwalk.settings import Settings


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THREATWALK_HOME", str(tmp_path))
    monkeypatch.delenv("THREATWALK_DATABASE", raising=False)


async def test_the_shell_and_the_page_name_what_vanishes_without_each_lookup() -> None:
    analysis = await walked(World(4))
    desk = opened(Settings.from_env(), load(PARAMS))
    number = finish(desk, analysis)
    desk.close()
    lost = losses(analysis)
    told = {(name, shown(s)): [shown(one) for one in some] for (name, s), some in lost.items()}

    made = CliRunner().invoke(explain, [str(number), "--json", "--params", str(PARAMS)])
    rows = [json.loads(line) for line in made.output.splitlines()]
    assert len(told) > 3
    assert {(row["filter"], row["about"]): row["lost"] for row in rows} == told

    said = CliRunner().invoke(explain, [str(number), "--params", str(PARAMS)]).output
    assert sum(line.startswith("without ") for line in said.splitlines()) == len(told)

    graph = page(analysis, author="CERT").partition('id="walk">')[2].partition("</script>")[0]
    walk = json.loads(graph)
    text = [node["text"] for node in walk["nodes"]]
    assert {(name, text[about]): [text[i] for i in some] for name, about, some in walk["lost"]} == told


def test_an_indicator_without_a_result_is_named() -> None:
    made = CliRunner().invoke(explain, ["7", "--params", str(PARAMS)])

    assert made.exit_code == 1
    assert "7" in str(made.exception)
