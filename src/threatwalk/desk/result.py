"""A result is one folder for one indicator: analysis.json, bundle.json, report.html, all or none."""

import errno
import os
import re
import shutil
import tempfile
from pathlib import Path

from threatwalk.analysis import stored
from threatwalk.analysis.analysis import Analysis
from threatwalk.desk import bundle
from threatwalk.desk.page import page
from threatwalk.desk.queue import Indicator
from threatwalk.errors import DocumentError, StoreError
from threatwalk.pivot import Outcome

ANALYSIS, BUNDLE, PAGE = "analysis.json", "bundle.json", "report.html"


def folder_of(results: Path, indicator: Indicator) -> Path:
    """Where the indicator's result lies: its number, and letters and digits of it for people."""
    s = indicator.sample
    slug = re.sub(r"[^a-z0-9]+", "-", f"{s.kind}-{s.value}"[:200].lower()).strip("-")[:60].strip("-")
    return results / f"{indicator.id}-{slug}"


def publish(results: Path, indicator: Indicator, analysis: Analysis, *, author: str) -> Path:
    """Write the result under a temporary name, then rename it; the first one that is there stays.

    A result that no source took part in gives way to a new one.

    Raises:
        StoreError: it cannot be written; nothing is left under its name.
    """
    target = folder_of(results, indicator)
    files = {
        ANALYSIS: stored.dumps(analysis),
        BUNDLE: bundle.dumps(bundle.bundle(analysis, author=author, created=analysis.finished_at)),
        PAGE: page(analysis, author=author, note=indicator.wanted.note),
    }
    try:
        results.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=results))
        try:
            for name, text in files.items():
                _write(scratch / name, text)
            scratch.chmod(0o755)
            _put(scratch, target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as err:
        raise StoreError(f"the result {target} cannot be written: {err.strerror or err}") from err
    return target


def finished(results: Path, indicator: Indicator) -> Path | None:
    """A whole result of this indicator that a worker wrote before it could say so, None: there is none."""
    target = folder_of(results, indicator)
    return target if target.is_dir() and not _is_outage(target) else None


def outage(analysis: Analysis) -> bool:
    """Whether questions failed and no source gave any answer: worth another night."""
    outcomes = {q.answer.outcome for step in analysis.steps for q in step.questions}
    return Outcome.FAILED in outcomes and not outcomes & {Outcome.FOUND, Outcome.EMPTY}


def read(folder: Path) -> Analysis:
    """The analysis of a result; raises DocumentError where it cannot be read."""
    try:
        return stored.loads((folder / ANALYSIS).read_bytes())
    except OSError as err:
        raise DocumentError(f"{folder / ANALYSIS} cannot be read: {err.strerror or err}") from err


def _put(scratch: Path, target: Path) -> None:
    """Rename onto a name that may be taken, by an older outage or by another worker's result."""
    for _ in range(3):
        try:
            scratch.rename(target)
        except OSError as err:
            if err.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise
            if not _is_outage(target):
                return
            shutil.rmtree(target, ignore_errors=True)
        else:
            return


def _is_outage(folder: Path) -> bool:
    try:
        return outage(read(folder))
    except DocumentError:
        return True  # half a result, from a crash of the machine: it gives way too


def _write(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
