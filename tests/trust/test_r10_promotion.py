"""R10: a promotion or rollback that is killed anywhere leaves one champion, and the ledger tells what the registry holds.

A forked process moves the alias and kills itself with SIGKILL before one of the statements that change either database, or
before one of their commits: between two of these nothing differs. Another process then looks, as the night does.
"""

import os
import shutil
import signal
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.integration.test_registry import FILTERS, PARAMS, REWARDS, Office, empty_store  # noqa: F401
from tests.trust.conftest import Trust

from threatwalk import promotion
from threatwalk.archive import database
from threatwalk.archive.ledger import By, Ledger
from threatwalk.registry import CHAMPION, Registry

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's own warnings

PROPERTY = "promotion is atomic"
FIGURE = "killed at each point between ledger and alias: never 0 or 2 champions; ledger = registry; a move by hand entered at next sight; rollback ≤ 60 s"
NEVER = 10**9


class Killing:
    """Counts the writes and commits of this process from now on, and kills it before the n-th of them."""

    def __init__(self, at: int) -> None:
        self.at, self.moments, self.wrote = at, 0, False
        sa.event.listen(sa.Engine, "before_cursor_execute", self._statement)
        sa.event.listen(sa.Engine, "commit", self._commit)

    def _statement(self, _connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.lstrip()[:6].upper() in {"INSERT", "UPDATE", "DELETE"}:
            self.wrote = True
            self._next()

    def _commit(self, _connection: object) -> None:
        if self.wrote:
            self.wrote = False
            self._next()

    def _next(self) -> None:
        self.moments += 1
        if self.moments == self.at:
            os.kill(os.getpid(), signal.SIGKILL)


def installed(template: Path, folder: Path) -> tuple[Registry, str]:
    shutil.copytree(template, folder)
    return Registry(
        f"sqlite:///{folder / 'mlflow' / 'mlflow.db'}", folder
    ), f"sqlite:///{folder / 'threatwalk.db'}"


def move(how: str, registry: Registry, ledger: Ledger) -> None:
    """Version 2 becomes champion in the place of version 1, or version 1 again in that of version 2."""
    if how == "rollback":
        promotion.rollback(registry, ledger)
        return
    before, after = registry.at(CHAMPION), registry.versions()[1]
    promotion._move(registry, ledger, before, after, By.GATE, "it is better", name="t")


def killed(how: str, template: Path, folder: Path, at: int) -> int | None:
    """Move in a process that is killed at a moment; how many there were where it came to its end."""
    says, tells = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            registry, url = installed(template, folder)
            ledger = Ledger.open(url)
            killing = Killing(at)
            move(how, registry, ledger)
            os.write(tells, str(killing.moments).encode())
        except BaseException as err:  # noqa: BLE001 - the parent judges it
            os.write(tells, repr(err).encode()[:400])
        os._exit(0)
    os.close(tells)
    with os.fdopen(says) as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return None
    assert said.isdecimal(), said
    return int(said)


def seeing(folder: Path) -> int:
    """A process that asks who is champion, as each worker of a night does; its exit code is the version."""
    child = os.fork()
    if child:
        return child
    seen = 0
    try:
        registry = Registry(f"sqlite:///{folder / 'mlflow' / 'mlflow.db'}", folder)
        ledger = Ledger.open(f"sqlite:///{folder / 'threatwalk.db'}")
        seen = promotion.champion(registry, ledger, FILTERS).version.number
    except BaseException:  # noqa: BLE001 - the parent judges the exit code
        traceback.print_exc()
    finally:
        os._exit(seen)


def looks(folder: Path) -> tuple[list[int], list[int], bool]:
    """Champions right after the kill, those when a later night has looked, and whether the ledger says the same."""
    registry = Registry(f"sqlite:///{folder / 'mlflow' / 'mlflow.db'}", folder)
    engine = database.engine(f"sqlite:///{folder / 'threatwalk.db'}")
    ledger = Ledger(engine, lambda: datetime.now(UTC) + timedelta(minutes=2))
    try:
        at_once = [version.number for version in registry.versions() if CHAMPION in version.aliases]
        promotion.champion(registry, ledger, FILTERS)
        later = [version for version in registry.versions() if CHAMPION in version.aliases]
        moves = ledger.moves()
        agrees = (
            all(one.done for one in moves)
            and [moves[-1].to_version] == [version.number for version in later]
            and all(a.to_version == b.from_version for a, b in pairwise(moves))
            and {one.by for one in moves} <= {By.GATE, By.ROLLBACK}
            and later[0].tags["promoted_at"] == moves[-1].at.isoformat(timespec="seconds")
        )
        return at_once, [version.number for version in later], agrees
    finally:
        engine.dispose()


@pytest.fixture(scope="module")
def offices(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Callable[[str], Path]:  # noqa: F811
    """Folders of installations in which version 1 is champion of two, or version 2 after version 1."""
    folder = tmp_path_factory.mktemp("r10")
    office = Office.founded(folder / "promote", empty_store)
    office.register("run-1")
    office.promote()
    office.register("run-2", REWARDS | {"threatwalk": 0.5}, actions=(1, 4))
    office.ledger.close()
    shutil.copytree(folder / "promote", folder / "rollback")
    registry = Registry(f"sqlite:///{folder / 'rollback/mlflow/mlflow.db'}", folder / "rollback")
    ledger = Ledger.open(f"sqlite:///{folder / 'rollback/threatwalk.db'}")
    move("promote", registry, ledger)
    ledger.close()
    return lambda how: folder / how


@pytest.mark.timeout(590)
@pytest.mark.parametrize("how", ["promote", "rollback"])
def test_killed_anywhere_there_is_one_champion_and_the_ledger_agrees(
    trust: Trust, offices: Callable[[str], Path], tmp_path: Path, how: str
) -> None:
    started = time.monotonic()
    moments = killed(how, offices(how), tmp_path / "whole", NEVER)
    took = time.monotonic() - started
    assert moments is not None
    points = range(1, moments + 1) if trust.full else range(2, moments + 1, max(1, moments // 4))
    wrong = []
    for at in points:
        folder = tmp_path / str(at)
        died = killed(how, offices(how), folder, at) is None
        at_once, later, agrees = looks(folder)
        if not (died and len(at_once) == 1 and later == at_once and agrees):
            wrong.append((at, died, at_once, later, agrees))
        shutil.rmtree(folder)

    ok = not wrong and took <= 60 and looks(tmp_path / "whole")[1:] == ([2 if how == "promote" else 1], True)
    trust.record(
        "R10",
        PROPERTY,
        value=f"{len(points)} of {moments} points between first and last statement: {len(wrong)} times not one champion or another ledger; unbroken {took:.1f} s",
        figure=FIGURE,
        ok=ok,
        part=how,
    )
    assert ok, wrong


def test_an_alias_that_a_person_moved_is_entered_at_next_sight(
    trust: Trust, offices: Callable[[str], Path], tmp_path: Path
) -> None:
    registry, url = installed(offices("promote"), tmp_path / "by-hand")
    registry.point(CHAMPION, 2)
    children = [seeing(tmp_path / "by-hand") for _ in range(4)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    ledger = Ledger.open(url)
    moves = ledger.moves()
    ledger.close()

    ok = codes == [2] * 4 and [(m.by, m.to_version) for m in moves] == [(By.GATE, 1), (By.HAND, 2)]
    trust.record(
        "R10",
        PROPERTY,
        value=f"seen by {len(children)} workers at once, entered {len(moves) - 1} time, as by {moves[-1].by}",
        figure=FIGURE,
        ok=ok,
        part="by hand",
    )
    assert ok
