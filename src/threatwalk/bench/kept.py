"""Figures that are measured once: each in a process of its own, its rows kept in a file until something changes."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import threatwalk
from threatwalk.bench.row import Row, missing

LIMIT_S = 1800
_COMMAND = (sys.executable, "-c", "from threatwalk.cli.main import main; main()", "bench")

Say = Callable[[str], None]
Measure = Callable[[str, str], list[Row] | str]
"""(group, figure) -> its rows; or why there are none"""


def kept(
    group: str,
    figures: Sequence[str],
    measure: Measure,
    *,
    changes: Sequence[str],
    folder: Path,
    again: bool,
    say: Say,
) -> Iterator[Row]:
    """The rows of one figure after the other.

    A figure is measured where `folder` has no rows of it, or rows of other code or with other `changes` (whatever
    else it depends on), or where it is asked for `again`. What could not be measured is a row that says so, and is not kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    of = hashlib.sha256(json.dumps([_code(), *changes]).encode()).hexdigest()
    for number, figure in enumerate(figures, 1):
        file = folder / f"{figure}.json"
        found = None if again else _read(file, of)
        say(f"{group} [{number}/{len(figures)}] {figure}{': kept' if found is not None else ''}")
        if found is None:
            measured = measure(group, figure)
            if isinstance(measured, str):
                yield missing(figure, measured, "measured")
                continue
            rows = [row.as_json() for row in measured]
            part = file.with_name(f"{file.name}.part")
            part.write_text(json.dumps({"of": of, "rows": rows}, indent=1), "utf-8")
            part.replace(file)
            found = measured
        yield from found


def by_command(group: str, figure: str, *, limit_s: float = LIMIT_S) -> list[Row] | str:
    """As `threatwalk bench GROUP --figure FIGURE` measures it, in a process of its own that may take so long."""
    try:
        done = subprocess.run(  # noqa: S603 - our own command
            [*_COMMAND, group, "--figure", figure, "--json"],
            stdout=subprocess.PIPE,
            timeout=limit_s,
            check=True,
            text=True,
        )
    except subprocess.TimeoutExpired:
        return f"took more than {limit_s / 60:g} minutes"
    except subprocess.CalledProcessError as err:
        return f"ended with {err.returncode}"
    return [_row(json.loads(line)) for line in done.stdout.splitlines()]


def _read(file: Path, of: str) -> list[Row] | None:
    if not file.exists():
        return None
    held = json.loads(file.read_text("utf-8"))
    return [_row(raw) for raw in held["rows"]] if held["of"] == of else None


def _row(raw: dict[str, object]) -> Row:
    interval = raw.pop("interval", None)
    return Row(**raw, interval=tuple(interval) if interval else None)  # type: ignore[arg-type]


def _code() -> str:
    """A digest of all that is installed of threatwalk."""
    root, digest = Path(threatwalk.__file__).parent, hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()
