"""A probe reads documents, each in a forked process of its own, and tells what each did to the machine.

As a program it takes a JSON list of paths on its standard input, and writes one JSON object a line and document.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from threatwalk.errors import DocumentError
from threatwalk.reports.read import read

SECONDS = 30  # of processor time and of waiting; who takes longer is killed
_PROGRAM = tuple({sys.prefix, sys.base_prefix, sysconfig.get_path("stdlib"), str(Path(__file__).parents[2])})
_PDF = "threatwalk.reports.pdf"  # PDFs are read by a process of our own
_REACHES = (
    "socket.",
    "subprocess.",
    "os.exec",
    "os.posix_spawn",
    "os.system",
    "ftplib.",
    "urllib.",
    "shutil.",
)
_WRITES = ("os.remove", "os.rename", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.rmdir")
_CONTROL = """<s:STIX_Package xmlns:s="http://stix.mitre.org/stix-1" xmlns:x="http://www.w3.org/2001/XMLSchema-instance">
<s:Properties x:type="a:AddressObjectType"><s:Address_Value>203.0.113.7</s:Address_Value></s:Properties>
<s:Properties x:type="a:HostnameObjectType"><s:Hostname_Value>bücher.example.com</s:Hostname_Value></s:Properties>
</s:STIX_Package>"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a document ended: `accept`, `partial`, `reject` (DocumentError), `nothing` (no report), else what went wrong."""

    end: str
    samples: frozenset[str]
    told: str  # what comes out: samples, ids, titles
    said: str  # what is said of the rest: rejected values, reasons
    seconds: float  # of processor time
    megabytes: float  # at the peak, with all of Python and the program
    reached: tuple[str, ...]  # files, sockets and programs beyond the document itself


def outcomes(paths: Iterable[Path]) -> Iterator[Outcome]:
    """What each document did, in a process that has read nothing else."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.trust.probe"],
        input=json.dumps([os.fspath(path) for path in paths]),
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": ""},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    for line in done.stdout.splitlines():
        told = json.loads(line)
        yield Outcome(**{**told, "samples": frozenset(told["samples"]), "reached": tuple(told["reached"])})


def _warm_up() -> None:
    """Load what readers load late: a document should not have to answer for that."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in {"a.xml": _CONTROL, "a.json": '{"Event": {"info": "a"}}', "a.txt": "a.example.com",
                           "a.html": "<html>evil[.]example.com</html>", "a.csv": "a,b\nc,d\n"}.items():  # fmt: skip
            path = Path(folder, name)
            path.write_text(text, encoding="utf-8")
            list(read(path))


def _watch(path: str, reached: list[str]) -> Callable[[str, tuple[Any, ...]], None]:
    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            opened, mode = str(args[0]), str(args[1] or "r")
            own = opened == path or (mode in {"r", "rb"} and opened.startswith(_PROGRAM))
            if not own and not isinstance(args[0], int):
                reached.append(f"open {opened[:200]}")
        elif event.startswith((*_REACHES, *_WRITES)) and _PDF not in str(args):
            reached.append(f"{event} {str(args)[:200]}")

    return hook


def _read(path: str) -> dict[str, Any]:
    samples: set[str] = set()
    told: list[str] = []
    said: list[str] = []
    end = "nothing"
    try:
        for report in read(Path(path)):
            samples |= {f"{one.kind}={one.value}" for one in report.goal}
            values = [value for one in report.rejected for value in (one.value, one.reason)]
            told += [report.id, report.title, report.campaign or ""]
            said += values
            whole = end != "partial" and not report.recovered and not report.rejected
            end = "accept" if whole else "partial"
    except DocumentError as err:
        end = "reject"
        said.append(str(err))
    except BaseException as err:  # noqa: BLE001 - that is what is looked for
        end = f"{type(err).__name__}: {err}"[:300]
    parts = {"told": "\n".join([*samples, *told]), "said": "\n".join(said)}
    return {"end": end, "samples": sorted(samples), **parts}


def _child(path: str, out: int) -> None:
    reached: list[str] = []
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    signal.alarm(4 * SECONDS)
    sys.addaudithook(_watch(path, reached))
    told = _read(path)
    with os.fdopen(out, "wb") as pipe:
        pipe.write(json.dumps({**told, "reached": reached[:20]}).encode("utf-8", "backslashreplace"))


def _in_child(path: str) -> dict[str, Any]:
    receive, send = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.close(receive)
            _child(path, send)
        finally:
            os._exit(0)
    os.close(send)
    with os.fdopen(receive, "rb") as pipe:
        said = pipe.read()
    _, status, usage = os.wait4(pid, 0)
    broken = {"end": f"killed or lost: {status}", "samples": [], "told": "", "said": "", "reached": []}
    seconds, megabytes = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
    return {**(json.loads(said) if said else broken), "seconds": seconds, "megabytes": megabytes}


def main() -> None:
    paths = json.load(sys.stdin)
    _warm_up()
    for path in paths:
        print(json.dumps(_in_child(path)), flush=True)


if __name__ == "__main__":
    main()
