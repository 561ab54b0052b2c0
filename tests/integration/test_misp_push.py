"""Results sent to a MISP server of our own on loopback, by the command as people call it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.integration.desk_server import finish
from tests.integration.http_server import HttpServer, Request, respond
from tests.unit.desk.conftest import Doubts, World, walked
from tests.unit.desk.pdfs import read_back

from threatwalk.cli.export import export
from threatwalk.cli.options import desk_of
from threatwalk.cli.publish import publish
from threatwalk.errors import DataError, SettingsError, UnavailableError
from threatwalk.params import load
from threatwalk.reports.report import Tlp

PARAMS = Path(__file__).parents[2] / "params.yaml"
KEY = "k" * 40


class Misp(HttpServer):
    """What a MISP server says to somebody who adds and edits events."""

    protocol = "HTTP/1.1"

    def __init__(self) -> None:
        super().__init__()
        self.events: dict[str, dict[str, Any]] = {}
        self.refuses: dict[str, Any] | None = None

    def answer(self, request: Request) -> None:
        length = int(request.headers["Content-Length"] or 0)
        sent = json.loads(request.rfile.read(length) or b"{}")
        path = request.path
        status, said = 200, {}
        if request.headers["Authorization"] != KEY:
            status, said = 403, {"name": "Authentication failed."}
        elif path.startswith("/servers/"):
            said = {"version": "2.5.34"}
        elif path == "/users/view/me":
            said = {"User": {"id": "1"}, "Role": {"id": "1"}, "UserSetting": {}}
        elif path in {"/events/add", "/events/edit"} or path.startswith("/events/edit/"):
            if self.refuses is not None:
                status, said = 403, self.refuses
            else:
                event = sent.get("Event", sent)
                self.events[event["uuid"]] = event
                said = {"Event": event}
        elif path.startswith("/events/view/"):
            found = self.events.get(path.rpartition("/")[2])
            status, said = (200, {"Event": found}) if found else (404, {"name": "Invalid event"})
        body = b"" if request.command == "HEAD" else json.dumps(said).encode()
        respond(request, status, body, Content_Type="application/json")


@pytest.fixture
def server() -> Iterator[Misp]:
    made = Misp()
    yield made
    made.close()


@pytest.fixture
async def number() -> int:
    """A finished analysis, as TLP:GREEN."""
    with desk_of(load(PARAMS)) as (desk, _):
        finish(desk, await walked(World(4), Doubts(), tlp=Tlp.AMBER))
        return finish(desk, await walked(World(4), Doubts(), tlp=Tlp.GREEN))


def send(server: Misp, *arguments: str, key: str = KEY) -> Result:
    line = ["misp", *arguments, "--url", server.url, "--params", str(PARAMS)]
    return CliRunner().invoke(publish, line, env={"THREATWALK_KEY_MISP": key, "NO_PROXY": "127.0.0.1"})


def test_a_result_is_added_once_and_then_brought_up_to_date(server: Misp, number: int) -> None:
    first = send(server, str(number), "--dial", "0.8")
    assert first.exception is None, first.exception
    again = send(server, str(number), "--dial", "0.5")

    assert (first.output, again.output) == (f"{number}: added\n", f"{number}: brought up to date\n")
    (event,) = server.events.values()
    assert event["published"] is False
    assert {tag["name"] for tag in event["Tag"]} == {"tlp:green", "PAP:GREEN"}
    assert any(a["to_ids"] for a in event["Attribute"])


def test_what_is_above_the_tlp_stays_here(server: Misp, number: int) -> None:
    result = send(server, str(number - 1))

    assert "held back, TLP:AMBER is above green" in result.output
    assert isinstance(result.exception, DataError)
    assert server.events == {}


def test_a_key_that_is_missing_or_refused_is_named(server: Misp, number: int) -> None:
    for key in ("", "x" * 40):
        error = send(server, str(number), key=key).exception
        assert isinstance(error, SettingsError)
        assert "THREATWALK_KEY_MISP" in str(error)
        assert "x" * 40 not in str(error)


def test_a_server_that_does_not_take_it_is_told(server: Misp, number: int) -> None:
    server.refuses = {"name": "Could not add Event", "errors": "quota"}
    error = send(server, str(number)).exception

    assert isinstance(error, UnavailableError | SettingsError)
    assert server.events == {}


def test_a_result_is_written_to_a_file_or_to_the_terminal(number: int, tmp_path: Path) -> None:
    told = CliRunner().invoke(export, [str(number), "--form", "csv", "--params", str(PARAMS)])
    line = [
        str(number),
        "--form",
        "blocklist",
        "--dial",
        "0.5",
        "--kind",
        "ipv4",
        "--out",
        str(tmp_path / "list"),
    ]
    written = CliRunner().invoke(export, [*line, "--params", str(PARAMS)])

    paper = CliRunner().invoke(export, [str(number), "--form", "pdf", "--params", str(PARAMS)])

    assert told.output.startswith("kind,value,belongs,above_dial,")
    assert "What belongs to this threat?" in "".join(read_back(paper.stdout_bytes))
    assert "samples above 0.5" in written.output
    values = [one for one in (tmp_path / "list").read_text().splitlines() if not one.startswith("#")]
    assert values
    assert all(one.startswith("198.51.") for one in values)
