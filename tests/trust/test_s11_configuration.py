"""S11: hostile run ids, conf and params: what a person may type reaches a command as data, and no shell is built from it."""

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.test_dags_run import play
from tests.trust.conftest import ROOT, Trust
from tests.trust.pipeline import environment
from tests.trust.test_s10_secrets import run

pytestmark = pytest.mark.slow

PROPERTY = "what is typed into a run is never a command"
FIGURE = "no shell string is built from run ids, conf or params; 0 commands run"
SPIES = (
    "sh",
    "bash",
    "dash",
    "touch",
    "git",
    "dvc",
    "curl",
    "wget",
    "rm",
    "cat",
    "id",
    "env",
    "python",
    "python3",
    "perl",
    "nc",
)
SPY = '#!/bin/bash -p\necho "$0 $*" >> {log}\n'


def hostile(marker: Path) -> list[str]:
    """Texts that run something where a shell, a template or an option parser reads them."""
    run = f"touch {marker}"
    return [
        f"$({run})", f"`{run}`", f"; {run} #", f"\n{run}\n", f"\r\n{run}\r\n", f"| {run}", f"|| {run}", f"&& {run}", f"& {run} &",
        f"'; {run}; '", f'"; {run}; "', f"'$({run})'", f'"$({run})"', f"\\\n{run}", f"> {marker}", f">> {marker}", f"<({run})",
        f"${{IFS}}$({run})", f"${{x:-$({run})}}", f"$[$({run})]", f"(({run}))", f"{{ {run}; }}", f"!{run}", f"~/$({run})",
        f"{{{{ cycler.__init__.__globals__.os.popen('{run}').read() }}}}",
        f"{{% for x in ().__class__.__base__.__subclasses__() %}}{{% endfor %}}{{{{ ''.join(['{run}']) }}}}",
        f"{{{{ macros.__import__('os').system('{run}') }}}}", "{{ conn.virustotal.password }}", "{{ var.value.x }}", "{{ params }}", "{#",
        f"__import__('os').system('{run}')", f"!!python/object/apply:os.system ['{run}']", f"=cmd|'/c {run}'!A1",
        "--help", "--version", "--params=/etc/passwd", "--out=/tmp/x", "-", "--", "-rf", "-c", "--policy", f"--upload-pack={run}", f"ext::sh -c {run}",
        "../../../../etc/passwd", "/etc/passwd", "~root", "*", "?", "[a-z]*", "a b", "", " ", "\t", "%s%n", "%00", "a\\0b",
        "\u202egnp.exe", "\ufeff", "\u2028", "\x1b[2J\x1b]0;x\x07", "ﬀ", "𝓪" * 50, "é" * 300, "x" * 20_000, "1" * 400, "NaN", "1e999", "-1", "null",
    ]  # fmt: skip


def test_no_code_of_ours_builds_a_shell_string(trust: Trust) -> None:
    """Of every module and DAG: no shell is asked for, and what DAGs give to bash is constant."""
    wrong, calls, lines = [], 0, 0
    files = sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "dags").glob("*.py")])
    for path in files:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                calls += 1
                wrong += [f"{path.name}:{node.lineno} {why}" for why in _shell(node)]
                if path.parent.name == "dags" and _name(node) == "command":
                    lines += 1
                    wrong += [f"{path.name}:{node.lineno} {why}" for why in _line(node, tree)]
            if isinstance(node, ast.ImportFrom) and node.module in {"os", "subprocess", "pty", "commands"}:
                bad = {"system", "popen", "getoutput", "getstatusoutput", "spawn"} & {
                    one.name for one in node.names
                }
                wrong += [f"{path.name}:{node.lineno} imports {name}" for name in bad]
    ok = not wrong and lines >= 15
    value = f"{calls:,} calls in {len(files)} files and {lines} command lines of DAGs: {len(wrong)} build one"
    trust.record("S11", PROPERTY, value=value, figure=FIGURE, ok=ok, part="code")
    assert ok, wrong


def _name(call: ast.Call) -> str:
    parts: list[str] = []
    at: ast.expr = call.func
    while isinstance(at, ast.Attribute):
        parts.append(at.attr)
        at = at.value
    return ".".join(reversed([*parts, at.id])) if isinstance(at, ast.Name) else ".".join(reversed(parts))


def _shell(call: ast.Call) -> Iterator[str]:
    name = _name(call)
    if name in {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "pty.spawn"}:
        yield f"calls {name}"
    if name.endswith(("create_subprocess_shell", "subprocess_shell")):
        yield f"calls {name}"
    if any(
        k.arg == "shell" and not (isinstance(k.value, ast.Constant) and k.value.value is False)
        for k in call.keywords
    ):
        yield "has shell="
    if (
        name.startswith("subprocess.")
        and call.args
        and not isinstance(call.args[0], ast.List | ast.Name | ast.Attribute | ast.BinOp)
    ):
        yield f"gives {name} a {type(call.args[0]).__name__}"
    first = call.args[0] if call.args else None
    if name.startswith("subprocess.") and isinstance(first, ast.List):
        words = [word.value for word in first.elts if isinstance(word, ast.Constant)]
        if {"sh", "bash", "/bin/sh", "/bin/bash", "-c"} & set(map(str, words)):
            yield "starts a shell"


def _line(call: ast.Call, tree: ast.Module) -> Iterator[str]:
    """The line of a `command`, whose parts may be a constant of the DAG's own loops alone."""
    constant = {"hop", "stage"}
    line = call.args[1]
    names = {one.id for one in ast.walk(line) if isinstance(one, ast.Name)}
    if not isinstance(line, ast.Constant | ast.JoinedStr) or names - constant:
        yield f"has a line of {ast.unparse(line)}"
    if "{{" in ast.unparse(line).replace("{{{{", "{{") or "{%" in ast.unparse(line):
        yield "has a template for a line"
    for one in ast.walk(tree):  # what these loops run over is written in the file
        if (
            isinstance(one, ast.For | ast.comprehension)
            and isinstance(one.target, ast.Name)
            and one.target.id in names & constant
        ):
            over = {n.id for n in ast.walk(one.iter) if isinstance(n, ast.Name)}
            if over - {"range", "HOPS", "STAGES"}:
                yield f"has a line with {one.target.id} of {ast.unparse(one.iter)}"


@pytest.fixture
def spied(tmp_path: Path) -> dict[str, str]:
    """An environment whose every other program writes down that it was started."""
    folder = tmp_path / "spies"
    folder.mkdir()
    for name in SPIES:
        (folder / name).write_text(SPY.format(log=tmp_path / "started"))
        (folder / name).chmod(0o755)
    return environment(tmp_path / "home") | {"PATH": str(folder)}


def started(tmp_path: Path) -> list[str]:
    log = tmp_path / "started"
    return log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []


FORMS: dict[
    str, list[str]
] = {  # the variables that DAGs fill with what somebody typed or said -> a command that reads them
    "THREATWALK_SET": ["queue", "shards"],
    "THREATWALK_RUN": ["analyze", "--policy", "none"],
    "THREATWALK_VERSION": ["queue", "shards"],
    "THREATWALK_FEED": ["collect"],
    "THREATWALK_MONTH": ["collect"],
    "THREATWALK_SHARED": ["record", "--hop", "1", "--shares"],
    "THREATWALK_SOURCE": ["record", "--hop", "1"],
    "THREATWALK_SHARD": ["analyze", "--policy", "none"],
    "THREATWALK_JUDGED": ["promote"],
    "THREATWALK_APPROVED_BY": ["promote"],
    "THREATWALK_AUTHOR": ["queue", "shards"],
}
RUNS = (["run", "open"], ["run", "stage", "train"], ["run", "publish"], ["run", "register"])


def test_commands_start_nothing_that_was_typed(trust: Trust, tmp_path: Path, spied: dict[str, str]) -> None:
    """The commands of the DAGs, with hostile texts in each variable, and as names and values of parameters."""
    marker = tmp_path / "owned"
    params = tmp_path / "params.yaml"
    params.write_text(
        (ROOT / "params.yaml")
        .read_text(encoding="utf-8")
        .replace("https://www.circl.lu/doc/misp/feed-osint/", str(tmp_path))
    )
    fixed = {"THREATWALK_PARAMS": str(params), "THREATWALK_OFFLINE": "1"}
    lines: list[tuple[dict[str, str], list[str]]] = []
    texts = hostile(marker)
    for at, text in enumerate(texts):
        for turn, (variable, line) in enumerate(FORMS.items()):
            if trust.full or (at + turn) % 8 == 0:
                lines.append((fixed | {variable: text}, line))
        sets = [
            {"seed": text},
            {text: 1},
            {"train.policies": [text]},
            {"contract.accept": [{"check": text, "up_to": 1, "who": text, "why": text}]},
        ]
        lines += [
            (fixed | {"THREATWALK_SET": json.dumps(one)}, ["queue", "shards"])
            for one in (sets if trust.full else sets[at % 4 :][:1])
        ]

    run(lines, spied, tmp_path / "said.log")

    begun = started(tmp_path)
    ok = not begun and not marker.exists() and len(lines) >= 150
    value = f"{len(texts)} texts, {len(lines)} commands: {len(begun) + marker.exists()} were run"
    trust.record("S11", PROPERTY, value=value, figure=FIGURE, ok=ok, part="commands")
    assert ok, begun[:5]


def test_a_private_clone_is_made_of_no_text(trust: Trust, tmp_path: Path, spied: dict[str, str]) -> None:
    """The commands that do start others, git and DVC: each with a list of arguments of which no typed text is one."""
    marker = tmp_path / "owned"
    texts = hostile(marker) if trust.full else hostile(marker)[::18]

    def lines(name: str) -> list[tuple[dict[str, str], list[str]]]:
        return [({"THREATWALK_RUN": name, "THREATWALK_SET": json.dumps({"seed": 1})}, line) for line in RUNS]

    run(lines("plain"), spied, tmp_path / "said.log")
    usual = "\n".join(started(tmp_path))  # has options of its own, -c and --quiet
    typing = [one for text in texts for one in lines(text)]
    run(typing, spied, tmp_path / "said.log")

    begun = started(tmp_path)
    strange = [
        line for line in begun if not line.startswith((f"{tmp_path}/spies/git ", f"{tmp_path}/spies/dvc "))
    ]
    # a word may name a folder
    odd = [text.strip() for text in texts if not re.fullmatch(r"[\w.]*", text.strip())]
    said = "\n".join(begun)
    typed = [text for text in odd if _stands(text, said) and not _stands(text, usual)]
    ok = bool(begun) and not strange and not typed and not marker.exists()
    value = f"{len(typing)} commands started git and DVC {len(begun)} times, {len(strange)} others, with {len(typed)} of the texts"
    trust.record("S11", PROPERTY, value=value, figure=FIGURE, ok=ok, part="clones")
    assert ok, (strange[:5], typed[:5])


def _stands(text: str, among: str) -> bool:
    """Whether a text is one or several whole arguments; what is made of it, the name of a folder, is not it."""
    return bool(text) and re.search(rf"(?<!\S){re.escape(text)}(?!\S)", among) is not None


def test_bash_gets_its_lines_as_they_stand(trust: Trust, tmp_path: Path) -> None:
    """Each line that a DAG gives to bash, run by bash, with hostile texts in the variables that it reads."""
    marker, calls = tmp_path / "owned", tmp_path / "calls"
    stand_in = tmp_path / "bin/threatwalk"
    stand_in.parent.mkdir()
    stand_in.write_text(
        f"#!{sys.executable}\nimport json, sys\nopen({str(calls)!r}, 'a').write(json.dumps(sys.argv[1:]) + '\\n')\n"
    )
    stand_in.chmod(0o755)
    lines = sorted(set(_bash_lines()))
    texts = [text for text in hostile(marker) if text.strip()]
    texts = texts if trust.full else texts[::8]
    variables = dict.fromkeys([*FORMS, *re.findall(r"\$(\w+)", " ".join(lines))])
    for text in texts:
        env = {
            **os.environ,
            **dict.fromkeys(variables, text),
            "PATH": f"{stand_in.parent}:{os.environ['PATH']}",
        }
        script = "\n".join(lines)
        subprocess.run(["bash", "-c", script], env=env, cwd=tmp_path, check=True, capture_output=True)
    got = [json.loads(line) for line in calls.read_text(encoding="utf-8").splitlines()]
    due = [[_read(word, text) for word in line.split()[1:]] for text in texts for line in lines]
    wrong = [argv for argv, wanted in zip(got, due, strict=False) if argv != wanted]
    ok = not wrong and not marker.exists() and len(got) == len(lines) * len(texts)
    value = f"{len(lines)} lines of DAGs with {len(texts)} texts: {len(wrong)} read otherwise, {int(marker.exists())} were run"
    trust.record("S11", PROPERTY, value=value, figure=FIGURE, ok=ok, part="bash")
    assert ok, wrong[:5]


def _read(word: str, text: str) -> str:
    """What bash makes of a word: a variable in double quotes is one text, whatever it holds."""
    return re.sub(r"\$\w+", lambda _: text, word[1:-1]) if word.startswith('"') else word


def _bash_lines() -> Iterator[str]:
    """The lines of all DAGs' commands, as constants; a loop's variable stands for one of its values."""
    for path in sorted((ROOT / "dags").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and _name(node) == "command" and len(node.args) > 1:
                line = node.args[1]
                if isinstance(line, ast.Constant):
                    yield str(line.value)
                elif isinstance(line, ast.JoinedStr):
                    yield "".join(
                        str(part.value) if isinstance(part, ast.Constant) else "1" for part in line.values
                    )


WRONG = {  # values of another shape than a parameter's
    "collect": [
        {"feed": "$(id)"},
        {"feed": ["a"]},
        {"feed": "a\nb"},
        {"month": "2024-01; id"},
        {"month": "2024-01\n"},
    ],
    "record": [{"record.questions": "$(id)"}, {"record.hops": 99}, {"record.hops": {"a": 1}}],
    "retrain": [
        {"profile": "$(id)"},
        {"seed": "`id`"},
        {"reward.pay": "x"},
        {"contract.accept": "id"},
        {"train.strategy": "; id"},
        {"train.devices": "1"},
    ],
    "analyze": [{"analyze.lookups": "$(id)"}, {"analyze.shards": [1]}, {"walk.steps": True}],
}


def test_dags_start_nothing_that_was_typed(trust: Trust, tmp_path: Path) -> None:
    """All five DAGs inside Airflow, with a hostile id of the run (whatever Airflow's own pattern says of it) and conf."""
    if not trust.full:
        pytest.skip(
            "a minute of Airflow: in the full form; tests/integration/test_dags_run.py runs the same DAGs in short"
        )
    marker = tmp_path / "owned"
    texts = [
        text for text in hostile(marker) if text.strip() and len(text) < 200
    ]  # the length that a run id may have
    said = {
        "record": {"SHARES": "[[]]"},
        "analyze": {"SHARDS": '["1/1"]'},
        "promote": {
            "JUDGED": json.dumps({"move": "0-1-x", "reason": "r", "report": "r", "approval": "gate"})
        },
    }
    cases: dict[str, tuple[str, dict[str, str]]] = {}
    for at, text in enumerate(texts):
        dag = ("collect", "record", "retrain", "promote", "analyze")[at % 5]
        breach = {"check": text, "up_to": 1, "who": text, "why": text}
        conf = {text: text, "more\0": [text]} | ({"contract.accept": [breach]} if dag == "retrain" else {})
        cases[f"{dag}-{at}"] = (dag, {"RUN_ID": text, "CONF": json.dumps(conf)} | said.get(dag, {}))
    for dag, confs in WRONG.items():
        cases |= {
            f"wrong-{dag}-{at}": (dag, {"CONF": json.dumps(conf)} | said.get(dag, {}))
            for at, conf in enumerate(confs)
        }

    (tmp_path / "airflow").mkdir()
    ran = play(cases, tmp_path / "airflow", {"AIRFLOW__SCHEDULER__ALLOWED_RUN_ID_PATTERN": "(?s).*"})

    done = ran["done"]
    refused = {case for case, one in done.items() if "refused" in one}
    calls = [call for one in done.values() for call in one.get("calls", [])]
    known = {tuple(line.split()[1:]) for line in _bash_lines()}
    strange = [
        call["line"]
        for call in calls
        if tuple(call["line"]) not in known
        and "--run" not in call["line"]
        and "--hop" not in call["line"]
        and "stage" not in call["line"]
    ]
    verbatim = {call["env"]["THREATWALK_RUN"] for call in calls} & set(texts)
    missed = {case for case in cases if case.startswith("wrong")} - refused
    ok = not (marker.exists() or strange or missed) and len(verbatim) >= len(texts) // 2
    value = f"{len(texts)} run ids and confs in {len(done)} runs: {len(calls)} commands, {len(verbatim)} run ids reached them as they stand, {len(refused)} runs refused, {len(strange) + marker.exists()} were run"
    trust.record("S11", PROPERTY, value=value, figure=FIGURE, ok=ok, part="DAGs")
    assert ok, (strange[:5], missed)
