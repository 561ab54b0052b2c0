"""The production shape's logins: what compose.yaml's airflow-init and airflow-api run, with the FAB auth manager.

`airflow` takes seconds to be imported, so one process runs init's commands and then the server.
"""

import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import yaml
from tests.integration.conftest import free_port

from threatwalk.demo.platform import Ports, platform_environment
from threatwalk.demo.services import Service

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
SERVICES = yaml.safe_load((ROOT / "docker/compose.yaml").read_text(encoding="utf-8"))["services"]
PASSWORDS = {"admin": "correct horse battery", "vic": "look at it 4711"}
HERE = {"sec-fetch-site": "same-origin"}
QUEUE, DESK = "/threatwalk/api/indicators", "/threatwalk/"
RUN = """
import shlex, sys
from airflow.cli.cli_parser import get_parser
for line in sys.argv[1:]:
    _, *words = shlex.split(line)
    args = get_parser().parse_args(words)
    args.func(args)
"""


def lines() -> list[str]:
    """The commands of airflow-init, then that of airflow-api."""
    shell, flag, script = SERVICES["airflow-init"]["command"]
    assert (shell, flag) == ("sh", "-c")
    password = shlex.quote(PASSWORDS["admin"])
    init = script.replace('"$$ADMIN_PASSWORD"', password).split(" && ")
    return [*init, shlex.join(SERVICES["airflow-api"]["command"])]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with one user, the admin that airflow-init makes."""
    home = tmp_path_factory.mktemp("fab")
    env = platform_environment(
        home,
        Ports(free_port(), free_port()),
        ROOT,
        THREATWALK_PARAMS=str(ROOT / "params.yaml"),
        AIRFLOW__CORE__AUTH_MANAGER=SERVICES["airflow-api"]["environment"]["AIRFLOW__CORE__AUTH_MANAGER"],
        AIRFLOW__API_AUTH__JWT_SECRET="of-this-test-alone-0123456789abcdef-0123456789abcdef-0123456789",
    )
    address = env["AIRFLOW__API__BASE_URL"]
    server = Service("Airflow", [sys.executable, "-c", RUN, *lines()], env, home / "log", ROOT)

    def ready() -> bool:
        with suppress(httpx.HTTPError):
            return httpx.get(f"{address}/api/v2/version", timeout=10).status_code == 200
        return False

    server.start()
    try:
        server.wait(ready, 240)
        yield address
    finally:
        server.stop()


def token(url: str, who: str, password: str = "") -> httpx.Response:
    return httpx.post(
        f"{url}/auth/token", json={"username": who, "password": password or PASSWORDS[who]}, timeout=30
    )


@pytest.fixture(scope="module")
def admin(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, headers=bearer(url, "admin"), timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def viewer(url: str, admin: httpx.Client) -> Iterator[httpx.Client]:
    """Somebody whom the admin gave the role Viewer."""
    made = admin.post(
        "/auth/fab/v1/users",
        json={
            "username": "vic",
            "password": PASSWORDS["vic"],
            "email": "vic@example.org",
            "first_name": "V",
            "last_name": "C",
            "roles": [{"name": "Viewer"}],
        },
    )
    assert made.status_code == 200, made.text
    with httpx.Client(base_url=url, headers=bearer(url, "vic"), timeout=30) as client:
        yield client


def bearer(url: str, who: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token(url, who).json()['access_token']}"}


def queued(client: httpx.Client, name: str, **tags: str) -> int:
    return client.post(QUEUE, json={"indicators": [name], **tags}).status_code


def test_nobody_comes_in_without_a_password(url: str) -> None:
    with httpx.Client(base_url=url, headers=HERE, timeout=30) as client:
        answers = [client.get(DESK), client.get(QUEUE), client.post(QUEUE, json={"indicators": ["a.org"]})]

    assert [answer.status_code for answer in answers] == [401, 401, 401]
    assert token(url, "admin", "wrong").status_code == 401


def test_an_admin_may_do_all(admin: httpx.Client) -> None:
    assert admin.get(DESK).status_code == 200
    assert queued(admin, "first.example.com", tlp="amber") == 201
    freer = admin.patch(f"{QUEUE}/1", json={"tlp": "clear"})

    assert freer.status_code == 200, freer.text
    assert admin.get(f"{QUEUE}/1").json()["tlp"] == "clear"


def test_a_viewer_reads_and_queues_nothing(viewer: httpx.Client, admin: httpx.Client) -> None:
    before = admin.get(QUEUE).json()

    assert viewer.get(DESK).status_code == 200
    assert viewer.get(QUEUE).json() == before
    assert queued(viewer, "second.example.com") == 403
    assert viewer.post("/api/v2/dags/promote/dagRuns", json={"logical_date": None}).status_code == 403
    assert admin.get(QUEUE).json() == before


def test_the_login_page_s_cookie_opens_the_desk(url: str) -> None:
    with httpx.Client(base_url=url, headers=HERE, timeout=30, follow_redirects=True) as browser:
        page = browser.get("/auth/login/").text
        hidden = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)
        assert hidden is not None
        form = {"username": "admin", "password": PASSWORDS["admin"], "csrf_token": hidden[1]}
        browser.post("/auth/login/", data=form)

        assert "_token" in browser.cookies
        assert browser.get(DESK).status_code == 200
        assert queued(browser, "third.example.com") == 201
        forged = browser.post(
            QUEUE, json={"indicators": ["x.example.com"]}, headers={"sec-fetch-site": "cross-site"}
        )
    assert forged.status_code == 403
