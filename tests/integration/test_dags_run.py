"""The DAGs run by `dag.test()`, with a stand-in for `threatwalk` that notes how it was called.

One process runs all cases, because Airflow's database and imports cost most of the time.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socketserver import StreamRequestHandler, TCPServer, ThreadingTCPServer
from typing import ClassVar

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
KEY = "canary-5f0c1d"
STAND_IN = """#!{python}
import json, os, sys
with open(os.environ["CALLS"], "a") as file:
    env = {{k: v for k, v in os.environ.items() if k.startswith("THREATWALK_")}}
    file.write(json.dumps({{"line": sys.argv[1:], "env": env}}) + "\\n")
source = os.environ.get("THREATWALK_SOURCE", "").partition("=")[0]
if os.environ.get("FAIL") and os.environ["FAIL"] in (os.environ.get("THREATWALK_SHARD"), source, sys.argv[-1]):
    tries = sum(json.loads(line)["env"].get("THREATWALK_SOURCE", "").startswith(source) for line in open(os.environ["CALLS"]))
    sys.exit(int(os.environ.get("CODE", "75")) if tries <= int(os.environ.get("TIMES", "99")) else 0)
if sys.argv[1] == "record" and "--shares" in sys.argv:
    shares = json.loads(os.environ["SHARES"])
    hop = int(sys.argv[3])
    if hop > len(shares):
        sys.exit(99)
    print(json.dumps(shares[hop - 1]))
elif sys.argv[1] == "summary":
    for option, text in (("--html", os.environ.get("PAGE", "<p>page</p>")), ("--head", "run 1: 3 analysed")):
        with open(sys.argv[sys.argv.index(option) + 1], "w", encoding="utf-8") as file:
            file.write(text)
elif sys.argv[1:] == ["queue", "shards"]:
    print(os.environ.get("SHARDS", "[]"))
elif sys.argv[1:] == ["promote", "--judge"]:
    print(os.environ["JUDGED"])
else:
    print("a key in a log:", os.environ.get("THREATWALK_KEY_VIRUSTOTAL"))
"""
PROBE = """
import importlib, json, os, sys, threading, time
from sqlalchemy import select
from airflow.utils.db import initdb
initdb()
sys.path.insert(0, os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
from airflow.api_fastapi.core_api.datamodels.hitl import UpdateHITLDetailPayload
from airflow.api_fastapi.core_api.routes.public.hitl import update_hitl_detail
from airflow.models import TaskInstance
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.utils.session import create_session
asked = []
class Person:
    "Answers the first request that waits, as the page Required Actions does."
    get_id, get_name = (lambda self: "7"), (lambda self: "A. Analyst")
    def __init__(self, option):
        threading.Thread(target=self.answer, args=[option], daemon=True).start()
    def answer(self, option):
        waiting = None
        while waiting is None:
            time.sleep(0.2)
            with create_session() as session:
                waiting = session.scalar(select(TaskInstance).where(TaskInstance.state == "awaiting_input"))
                if waiting:
                    asked.append(waiting.task_id)
                    update_hitl_detail(waiting.dag_id, waiting.run_id, waiting.task_id, UpdateHITLDetailPayload(
                        chosen_options=[option], params_input={}), self, session)
def silence(self, context):  # what the scheduler does after three days
    return self.execute_complete(context, {"error": "timed out", "error_type": "timeout"})
ask = ApprovalOperator.execute
import collect, commands, pendulum
from datetime import timedelta
from airflow.models.pool import Pool
from airflow.models.asset import AssetEvent
commands.Command.WAITS = {which: timedelta() for which in commands.Command.WAITS}
Pool.create_or_update_pool("otx", slots=1, description="", include_deferred=False)
get_env = collect.Collect.get_env
def backfilled(self, context):
    run = context["dag_run"].model_copy(update={"run_type": "backfill"})
    return get_env(self, {**context, "dag_run": run, "logical_date": pendulum.parse(os.environ["BACKFILL"])})
from airflow.models import DagRun
from airflow.sdk.exceptions import ParamValidationError
named = DagRun.generate_run_id
done = {}
for case, (name, env) in json.loads(sys.argv[1]).items():
    collect.Collect.get_env = backfilled if "BACKFILL" in env else get_env
    calls = os.environ["CALLS"] = os.path.join(os.environ["AIRFLOW_HOME"], case)
    os.environ.update(env)
    dag = getattr(importlib.import_module(name), name)()
    dag.deadline = None  # dag.test() of Airflow 3.3 cannot look one up that the scheduler has not stored
    for task in dag.tasks:
        task.retries = 0
    ApprovalOperator.execute = silence if env.get("ANSWER") == "none" else ask
    if env.get("ANSWER") in ("Approve", "Reject"):
        Person(env["ANSWER"])
    with create_session() as session:
        events = session.query(AssetEvent).count()
    DagRun.generate_run_id = staticmethod(lambda **_: env["RUN_ID"]) if "RUN_ID" in env else named
    try:
        run = dag.test(run_conf=json.loads(env.get("CONF", "{}")))
    except (ParamValidationError, ValueError) as refused:
        done[case] = {"refused": repr(refused)}
        for key in env:
            del os.environ[key]
        continue
    with create_session() as session:
        events = session.query(AssetEvent).count() - events
    states, pools = {}, {}
    for ti in run.get_task_instances():
        states.setdefault(ti.task_id, []).append(str(ti.state))
        pools.setdefault(ti.task_id, []).append(ti.pool)
    done[case] = {"run": str(run.state), "tasks": states, "pools": pools, "events": events,
                  "calls": [json.loads(line) for line in open(calls)] if os.path.exists(calls) else []}
    for key in env:
        del os.environ[key]
commands.late({"dag_run": {"dag_id": "analyze", "dag_run_id": "last-night"}, "deadline": {}})
from airflow.models.deadline_alert import DeadlineAlert
with create_session() as session:
    alerts = [str(one.callback_def) for one in session.query(DeadlineAlert)]
print("\\n" + json.dumps({"done": done, "asked": asked, "deadlines": alerts}))
"""


def _judged(move: str | None, approval: str) -> str:
    return json.dumps(
        {"move": move, "reason": "it is better", "report": "| a | table |", "approval": approval}
    )


CASES = {
    "collect": ("collect", {}),
    "month": ("collect", {"CONF": '{"month": "2017-03"}'}),
    "backfill": ("collect", {"BACKFILL": "2017-02-28T15:00:00Z"}),  # midnight of the first of March in Tokyo
    "backfilled": ("collect", {"BACKFILL": "2017-03-01T15:00:00Z"}),
    "record": (
        "record",
        {
            "SHARES": '[["otx=40", "virustotal=60"], [], ["dns=3"]]',
            "FAIL": "virustotal",
            "TIMES": "2",  # then it is there again
        },
    ),
    "away": ("record", {"SHARES": '[["otx=40", "dns=2"], ["dns=1"]]', "FAIL": "otx"}),
    "retrain": ("retrain", {}),
    "night": ("analyze", {"SHARDS": '["1/2", "2/2"]'}),
    "quiet": ("analyze", {"SHARDS": "[]"}),
    "outage": ("analyze", {"SHARDS": '["1/2", "2/2"]', "FAIL": "2/2"}),
    "refused": ("analyze", {"AIRFLOW_VAR_THREATWALK_INBOX": "s3://desk/in", "FAIL": "inbox", "CODE": "1"}),
    "gate": ("promote", {"JUDGED": _judged("1-2-selective", "gate")}),
    "stays": ("promote", {"JUDGED": _judged(None, "person")}),
    "approved": ("promote", {"JUDGED": _judged("1-2-selective", "person"), "ANSWER": "Approve"}),
    "rejected": ("promote", {"JUDGED": _judged("1-2-selective", "person"), "ANSWER": "Reject"}),
    "silence": ("promote", {"JUDGED": _judged("1-2-selective", "person"), "ANSWER": "none"}),
}


class _Hook(BaseHTTPRequestHandler):
    told: ClassVar[list[tuple[str, str]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.told.append((self.path, json.loads(body)["text"]))
        self.send_response(410 if self.path == "/gone" else 200)
        self.end_headers()


class _Mail(StreamRequestHandler):
    """As much of SMTP (RFC 5321) as it takes to receive a mail."""

    sent: ClassVar[list[tuple[list[str], Message]]] = []

    def handle(self) -> None:
        self.wfile.write(b"220 loopback\r\n")
        people: list[str] = []
        for line in iter(self.rfile.readline, b""):
            word = line.strip().decode().upper()
            if word.startswith("RCPT TO:"):
                people.append(line.decode().partition("<")[2].partition(">")[0])
            if word == "DATA":
                self.wfile.write(b"354 go on\r\n")
                text = b"".join(iter(self.rfile.readline, b".\r\n"))
                self.sent.append((people, message_from_bytes(text.replace(b"\r\n.", b"\r\n"))))
            self.wfile.write(b"221 bye\r\n" if word == "QUIT" else b"250 well\r\n")


@pytest.fixture(scope="module")
def hook() -> Iterator[str]:
    """A web hook on loopback; what it is told is kept in `_Hook.told`."""
    with served(HTTPServer(("127.0.0.1", 0), _Hook)) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def mail() -> Iterator[str]:
    """The connection of a mail server on loopback; what it is sent is kept in `_Mail.sent`."""
    with served(ThreadingTCPServer(("127.0.0.1", 0), _Mail)) as port:
        plain = {"from_email": "desk@cert.example", "disable_ssl": True, "disable_tls": True}
        yield json.dumps({"conn_type": "smtp", "host": "127.0.0.1", "port": port, "extra": plain})


@contextmanager
def served(server: TCPServer) -> Iterator[int]:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield int(server.server_address[1])
    server.shutdown()
    server.server_close()


HOSTILE = "<p>{{ 7 * 7 }} {% raw %} &lt;script&gt; ünïcode\n.\n..two dots</p>"


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, hook: str, mail: str) -> dict:
    asked = {
        "AIRFLOW_VAR_THREATWALK_SUMMARY_TO": "day@cert.example; duty@cert.example",
        "AIRFLOW_CONN_SMTP_DEFAULT": mail,
        "PAGE": HOSTILE,
    }
    told = {
        "told": {
            **asked,
            "AIRFLOW_CONN_SUMMARY": _web_hook(f"{hook}/desk"),
            "THREATWALK_INBOX": "/var/inbox",
        },
        "untold": {**asked, "AIRFLOW_CONN_SUMMARY": _web_hook(f"{hook}/gone")},
        "unsent": {**asked, "AIRFLOW_CONN_SMTP_DEFAULT": json.dumps({**json.loads(mail), "port": 1})},
    }
    connections = {
        "AIRFLOW_CONN_VIRUSTOTAL": json.dumps({"conn_type": "generic", "password": KEY}),
        "AIRFLOW_CONN_CIRCL": json.dumps({"conn_type": "generic", "password": "of-the-feed"}),
        "AIRFLOW_CONN_TAXII": json.dumps({"conn_type": "generic", "host": "https://t.example/c/1/"}),
        "AIRFLOW_CONN_ALERTS": _web_hook(f"{hook}/alerts"),
    }
    cases = CASES | {name: ("analyze", env) for name, env in told.items()}
    return play(cases, tmp_path_factory.mktemp("airflow"), connections)


def _web_hook(url: str) -> str:
    return json.dumps({"conn_type": "generic", "password": url})


def play(cases: dict[str, tuple[str, dict[str, str]]], home: Path, more: dict[str, str]) -> dict:
    """What became of each case, (DAG, environment of its run), in an Airflow of its own below `home`; `more` is the
    environment of all. Without a THREATWALK_HOME there the command is the stand-in.
    """
    stand_in = home / "bin" / "threatwalk"
    stand_in.parent.mkdir()
    if "THREATWALK_HOME" not in more:
        stand_in.write_text(STAND_IN.format(python=sys.executable))
        stand_in.chmod(0o755)
    env = {k: v for k, v in os.environ.items() if not k.startswith(("THREATWALK_", "AIRFLOW_"))} | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DEFAULT_TIMEZONE": "Asia/Tokyo",
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "NO_PROXY": "127.0.0.1",
        "PATH": f"{stand_in.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        **more,
    }
    argv = [sys.executable, "-W", "ignore", "-c", PROBE, json.dumps(cases)]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    logs = done.stdout + done.stderr + "".join(p.read_text() for p in home.rglob("*.log"))
    return json.loads(done.stdout.splitlines()[-1]) | {"logs": logs, "home": home}


def _calls(ran: dict, case: str, *line: str) -> list[dict]:
    return [call["env"] for call in ran["done"][case]["calls"] if call["line"][: len(line)] == list(line)]


@pytest.mark.parametrize(
    "case",
    [
        *("collect", "month", "backfill", "backfilled", "record", "away"),
        *("retrain", "night", "quiet", "refused", "gate", "approved", "told"),
    ],
)
def test_a_run_in_which_every_command_ends_well_is_a_success(ran: dict, case: str) -> None:
    assert ran["done"][case]["run"] == "success"


def test_a_month_reaches_the_command_from_the_form_or_from_a_backfill(ran: dict) -> None:
    months = {
        case: [env["THREATWALK_MONTH"] for env in _calls(ran, case, "collect")]
        for case in ("collect", "month", "backfill", "backfilled")
    }

    assert months == {"collect": [""], "month": ["2017-03"], "backfill": ["2017-03"], "backfilled": []}
    assert ran["done"]["backfilled"]["tasks"] == {"collect": ["skipped"]}


def _asked(ran: dict, case: str) -> dict[str, list[str]]:
    """The sources that a run of `record` asked, by hop."""
    asked: dict[str, list[str]] = {}
    for call in ran["done"][case]["calls"]:
        if call["line"][:2] == ["record", "--hop"] and "--shares" not in call["line"]:
            asked.setdefault(call["line"][2], []).append(call["env"]["THREATWALK_SOURCE"])
    return {hop: sorted(sources) for hop, sources in asked.items()}


def test_record_maps_each_hop_over_its_sources_and_ends_with_one_event(ran: dict) -> None:
    [third] = _calls(ran, "record", "record", "--hop", "3", "--shares")
    states = ran["done"]["record"]["tasks"]

    assert {hop: sorted(set(sources)) for hop, sources in _asked(ran, "record").items()} == {
        "1": ["otx=40", "virustotal=60"],
        "3": ["dns=3"],
    }
    assert third["THREATWALK_SHARED"].split() == ["otx=40", "virustotal=60"]
    assert states["hop_2.each.ask"] == ["skipped"]
    assert states["hop_4.shares"] == states["hop_5.shares"] == states["hop_5.each.ask"] == ["skipped"]
    assert not _calls(ran, "record", "record", "--hop", "5")
    assert ran["done"]["record"]["events"] == 1


def test_a_source_has_its_pool_and_where_there_is_none_the_default_one(ran: dict) -> None:
    assert sorted(ran["done"]["record"]["pools"]["hop_1.each.ask"]) == ["default_pool", "otx"]
    assert ran["done"]["retrain"]["pools"]["open"] == ["default_pool"]  # nobody made `retrain` here


def test_a_command_that_wants_to_be_tried_later_waits_and_is_tried_again(ran: dict) -> None:
    assert _asked(ran, "record")["1"] == ["otx=40", *["virustotal=60"] * 3]
    assert ran["done"]["record"]["tasks"]["hop_1.each.ask"] == ["success", "success"]


def test_a_source_that_stays_away_fails_alone_and_holds_up_no_hop(ran: dict) -> None:
    states = ran["done"]["away"]["tasks"]

    assert _asked(ran, "away") == {"1": ["dns=2", *["otx=40"] * 3], "2": ["dns=1"]}
    assert (sorted(states["hop_1.each.ask"]), states["hop_2.each.ask"]) == (
        ["failed", "success"],
        ["success"],
    )
    assert (states["archive"], ran["done"]["away"]["events"]) == (["success"], 1)


def test_each_shard_has_a_worker_and_the_run_is_published_once(ran: dict) -> None:
    assert sorted(env["THREATWALK_SHARD"] for env in _calls(ran, "night", "analyze")) == ["1/2", "2/2"]
    [published] = _calls(ran, "night", "publish", "taxii", "--run")
    assert published["THREATWALK_URL_TAXII"] == "https://t.example/c/1/"


def test_an_empty_queue_starts_no_worker(ran: dict) -> None:
    assert _calls(ran, "quiet", "analyze") == []


def test_a_shard_that_failed_makes_the_night_a_failure_and_the_rest_is_published(ran: dict) -> None:
    assert ran["done"]["outage"]["run"] == "failed"
    assert sorted(ran["done"]["outage"]["tasks"]["walk.analyze"]) == ["failed", "success"]
    assert len(_calls(ran, "outage", "publish")) == 1


def test_without_an_inbox_the_task_is_skipped_and_the_night_runs(ran: dict) -> None:
    assert ran["done"]["quiet"]["tasks"]["inbox"] == ["skipped"]
    assert not _calls(ran, "quiet", "queue", "inbox")
    assert "no inbox: the variable THREATWALK_INBOX would name it" in ran["logs"]


def test_an_inbox_comes_from_a_variable_or_from_the_environment(ran: dict) -> None:
    inboxes = {
        case: [env["THREATWALK_INBOX"] for env in _calls(ran, case, "queue", "inbox")]
        for case in ("refused", "told")
    }

    assert inboxes == {"refused": ["s3://desk/in"], "told": ["/var/inbox"]}


def test_an_inbox_that_was_refused_is_told_of_and_the_night_goes_on(ran: dict) -> None:
    states = ran["done"]["refused"]["tasks"]

    assert (states["inbox"], states["shards"], states["summary"]) == (["failed"], ["success"], ["success"])


def test_the_summary_goes_to_people_by_mail_as_it_is_and_its_first_line_to_the_web_hook(ran: dict) -> None:
    [summed] = _calls(ran, "told", "summary", "--run")
    (people, mail), *others = _Mail.sent

    assert summed["THREATWALK_RUN"] in ran["done"]["told"]["calls"][-1]["line"]
    assert people == ["day@cert.example", "duty@cert.example"]
    assert (mail["From"], mail["Subject"]) == ("desk@cert.example", "run 1: 3 analysed")
    [part] = mail.get_payload()
    assert part.get_content_type() == "text/html"
    assert part.get_payload(decode=True).decode().splitlines() == HOSTILE.splitlines()  # no template, either
    assert [text for path, text in _Hook.told if path == "/desk"] == ["threatwalk: run 1: 3 analysed"]
    assert len(others) == 1  # of `untold`, whose mail went out before its web hook was gone


def test_where_nothing_is_configured_the_summary_stays_in_the_log(ran: dict) -> None:
    assert ran["done"]["night"]["tasks"]["summary"] == ["success"]
    assert len(_calls(ran, "night", "summary")) == 1


@pytest.mark.parametrize("case", ["untold", "unsent"])
def test_a_summary_that_does_not_arrive_is_a_failure(ran: dict, case: str) -> None:
    assert (ran["done"][case]["run"], ran["done"][case]["tasks"]["summary"]) == ("failed", ["failed"])


def test_keys_reach_the_commands_that_ask_and_no_log(ran: dict) -> None:
    assert _calls(ran, "record", "record")[0]["THREATWALK_KEY_VIRUSTOTAL"] == KEY
    assert _calls(ran, "night", "analyze")[0]["THREATWALK_KEY_VIRUSTOTAL"] == KEY
    assert _calls(ran, "collect", "collect")[0]["THREATWALK_KEY_CIRCL"] == "of-the-feed"
    assert not any("THREATWALK_KEY_VIRUSTOTAL" in env for env in _calls(ran, "collect", "collect"))
    assert not any("KEY" in name for env in _calls(ran, "retrain") for name in env)
    assert KEY not in (ran["home"] / "airflow.db").read_bytes().decode(
        "latin-1"
    )  # XCom, rendered fields, logs


def test_with_the_gate_alone_nobody_is_asked_and_only_what_was_judged_is_moved(ran: dict) -> None:
    [env] = [call["env"] for call in ran["done"]["gate"]["calls"] if call["line"] == ["promote"]]

    assert (env["THREATWALK_JUDGED"], env["THREATWALK_APPROVED_BY"]) == ("1-2-selective", "")


def test_an_approval_carries_the_name_of_the_person(ran: dict) -> None:
    [env] = [call["env"] for call in ran["done"]["approved"]["calls"] if call["line"] == ["promote"]]

    assert env["THREATWALK_APPROVED_BY"] == "A. Analyst"
    assert ran["asked"] == ["approve"] * 2


@pytest.mark.parametrize(
    ("case", "state", "approval"),
    [("stays", "success", "skipped"), ("rejected", "success", "success"), ("silence", "failed", "failed")],
)
def test_without_an_approval_nothing_is_moved(ran: dict, case: str, state: str, approval: str) -> None:
    done = ran["done"][case]

    assert [call["line"] for call in done["calls"]] == [["promote", "--judge"]]
    assert (done["run"], done["tasks"]["approve"]) == (state, [approval])


def test_people_are_told_of_every_task_that_failed_and_of_a_late_night(ran: dict) -> None:
    told = [" ".join(text.split()[:3]) for path, text in _Hook.told if path == "/alerts"]

    assert told == [
        "threatwalk: record.hop_1.each.ask failed",
        "threatwalk: analyze.walk.analyze failed",
        "threatwalk: analyze.inbox failed",
        "threatwalk: promote.approve failed",
        *["threatwalk: analyze.summary failed"] * 2,
        "threatwalk: analyze is",
    ]


def test_the_deadline_lies_where_the_scheduler_finds_it(ran: dict) -> None:
    assert ran["deadlines"]
    assert all("commands.late" in alert for alert in ran["deadlines"])
