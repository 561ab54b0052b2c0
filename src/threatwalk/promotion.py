"""Who walks: the gate between challenger and champion, the way back, and the champion itself."""

import getpass
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from threatwalk import params as parameters
from threatwalk.analysis.shadow import Shadow
from threatwalk.archive.ledger import By, Ledger, Move
from threatwalk.errors import DataError, ModelError, NoChampionError, StoreError, UsageError
from threatwalk.learning import scored
from threatwalk.learning.finished import WALKS
from threatwalk.learning.policy import Policy
from threatwalk.learning.scored import Scored
from threatwalk.learning.verdict import table, verdict
from threatwalk.locked import locked
from threatwalk.params import Params
from threatwalk.registry import CHALLENGER, CHAMPION, Registry, Version
from threatwalk.settings import Settings

Rate = Callable[[Policy, Path], Sequence[Scored]]
"""What a policy's walks score on the held-out reports of a finished run's folder, under each budget, audited."""

Look = Callable[[Policy, Sequence[str]], Shadow]
"""What a policy, with its filters, would have done last night."""

_OPEN_MOVE_S = 60  # a move younger than this may still be under way in another process


@dataclass(frozen=True, slots=True)
class Champion:
    policy: Policy
    version: Version

    @property
    def model(self) -> str:
        """What every result says of it."""
        return f"version {self.version.number}, sha256 {self.version.digest[:16]}"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the gate says: `winner` is the policy that should walk, None where the champion stays.

    `report` is Markdown, for who is asked to approve.
    """

    champion: Version | None
    challenger: Version
    winner: str | None
    reason: str
    report: str

    @property
    def move(self) -> str:
        """Names the move, for who approves it: from which version to which policy of which challenger."""
        return f"{self.champion.number if self.champion else 0}-{self.challenger.number}-{self.winner}"


@dataclass(frozen=True, slots=True)
class Promotion:
    """What became of a judgement: `champion` is who walks now, `moved` whether that has changed."""

    champion: Version | None
    challenger: Version
    moved: bool
    reason: str


@contextmanager
def opened(settings: Settings, *, moving: bool = False) -> Iterator[tuple[Registry, Ledger]]:
    """Registry and ledger of this installation. Who is `moving` the champion waits for others who are.

    Raises:
        StoreError, UnavailableError: one of them is not there.
    """
    with locked(settings.home / ".promote.lock") if moving else nullcontext():
        ledger = Ledger.open(settings.database)
        try:
            yield Registry.open(settings), ledger
        finally:
            ledger.close()


def who() -> str:
    """Whose name stands in the ledger: THREATWALK_WHO, else the user of this process."""
    try:
        return os.environ.get("THREATWALK_WHO") or getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"


def register(registry: Registry, ledger: Ledger, folder: Path) -> Version:
    """The finished run in `folder` as the challenger, where none is newer; rates the present champion on its dataset.

    The rating is made here, where the dataset is, because the gate may run on another machine.
    """
    settle(registry, ledger)
    version, champion = registry.register(folder), registry.at(CHAMPION)
    if CHALLENGER in version.aliases and champion and champion.number != version.number:
        _rated(registry, champion, version, held_out)
    return version


def became(version: Version) -> str:
    """What `register` made of a run, in a line."""
    if CHALLENGER in version.aliases:
        return f"{version} is the challenger"
    return f"{version} was registered; a newer version stays the challenger"


def held_out(policy: Policy, folder: Path) -> Sequence[Scored]:
    """What a policy's walks score on the held-out reports of a finished run, as its stage evaluate walked, leak audit on."""
    from threatwalk.learning.dataset import Dataset  # noqa: PLC0415 - the night's work needs none of these
    from threatwalk.learning.evaluate import Held, outcomes, scores  # noqa: PLC0415
    from threatwalk.learning.walks import reach  # noqa: PLC0415

    params = parameters.load(folder / "params.yaml")
    data = Dataset.load(folder / "data" / "compiled")
    held = Held.of(data, params)
    within = reach(data, held.goals, held.heads, steps=params.walk.steps, audit=True)
    rows = []
    for budget in params.evaluate.budgets:
        done = outcomes(policy, held, within, audit=True, budget=budget)
        rows.append(Scored(policy.name, budget, True, held.group, scores(held, done, within)))
    return rows


def judge(registry: Registry, ledger: Ledger, params: Params, *, rate: Rate, look: Look) -> Judgement:
    """Hold the challenger against the gate; the verdict is noted on it, and the alias stays where it is.

    Raises:
        DataError: there is no challenger to judge, or its evaluation cannot be read.
    """
    settle(registry, ledger)
    challenger, champion = registry.at(CHALLENGER), registry.at(CHAMPION)
    if challenger is None:
        raise DataError("there is no challenger to judge: run `threatwalk register` first")
    if champion and champion.number == challenger.number:
        reason = f"{champion} is the champion already"
        return Judgement(champion, challenger, None, reason, reason)
    said = challenger.tags.get("verdict")
    if (
        champion
        and champion.run_id == challenger.run_id
        and said
        and champion.tags.get("promoted_because") == said
    ):
        reason = f"{champion} of the same run was promoted in its place: {said}"
        return Judgement(champion, challenger, None, reason, reason)
    winner, reason, tables = _judged(registry, champion, challenger, params, rate, look)
    walks = "There is no champion." if champion is None else f"The champion is {champion}."
    report = "\n\n".join((f"{challenger} asks to become champion. {walks} The gate: {reason}.", *tables))
    registry.note(challenger.number, verdict=reason)
    registry.describe(challenger.number, report)
    return Judgement(champion, challenger, winner, reason, report)


def _judged(
    registry: Registry,
    champion: Version | None,
    challenger: Version,
    params: Params,
    rate: Rate,
    look: Look,
) -> tuple[str | None, str, list[str]]:
    """Who should walk, why, and the tables that show it."""
    if challenger.filters[: len(params.filters)] != params.filters:
        reason = f"{challenger} knows the filters {', '.join(challenger.filters)}, params.yaml names others"
        return None, reason, []
    rows, digests = _evaluation(registry, challenger)
    rival, doubt = None, ""
    if champion:
        scored, doubt = _champion_rows(registry, champion, challenger, rows, digests, rate)
        if scored is None and not doubt:
            reason = f"{champion} cannot be rated on the challenger's dataset, which is not on this machine"
            return None, reason, []
        rival = None if scored is None else (str(champion), scored)
    found = verdict(rows, candidate=challenger.policy, stored=digests, champion=rival, params=params)
    report, reason = [table(found)], found.reason + doubt
    if found.winner is None:
        return None, reason, report
    with tempfile.TemporaryDirectory() as scratch:
        models, _ = registry.stored(challenger.run_id, found.winner, Path(scratch))
        shadow = look(_opened(models, found.winner), challenger.filters)
    report.append(shadow.table())
    blocked = shadow.blocks
    return (None, f"{blocked}; {reason}", report) if blocked else (found.winner, reason, report)


def promote(
    registry: Registry,
    ledger: Ledger,
    params: Params,
    *,
    rate: Rate,
    look: Look,
    judged: str | None = None,
    approved_by: str = "",
) -> Promotion:
    """Judge the challenger and move the alias `champion` to the winner. A repeat changes nothing.

    `judged` is the move that was approved, as `Judgement.move` names it, and `approved_by` the person.

    Raises:
        DataError: there is no challenger to judge, or the gate now says another move than was approved.
    """
    found = judge(registry, ledger, params, rate=rate, look=look)
    challenger, champion = found.challenger, found.champion
    if found.winner is None:
        return Promotion(champion, challenger, moved=False, reason=found.reason)
    if judged is not None and judged != found.move:
        raise DataError(
            f"the move {judged} was judged, but now the gate says {found.move}: nothing was moved; judge again"
        )
    winner = challenger if found.winner == challenger.policy else registry.also(challenger, found.winner)
    by = By.PERSON if approved_by else By.GATE
    _move(registry, ledger, champion, winner, by, found.reason, name=approved_by or who())
    return Promotion(winner, challenger, moved=True, reason=found.reason)


def rollback(registry: Registry, ledger: Ledger, to: int | None = None) -> Version:
    """Make a former champion champion again: version `to`, else the one before the present one.

    Raises:
        UsageError: there is no such version.
    """
    settle(registry, ledger)
    champion = registry.at(CHAMPION)
    by_number = {version.number: version for version in registry.versions()}
    if to is None and champion:
        former = [m.from_version for m in ledger.moves() if m.done and m.to_version == champion.number]
        to = former[-1] if former else None
    if to is None or to not in by_number:
        raise UsageError(f"there is no {'former champion' if to is None else f'version {to}'} to go back to")
    if champion is None or champion.number != to:
        _move(registry, ledger, champion, by_number[to], By.ROLLBACK, "taken back", name=who())
    return by_number[to]


def settle(registry: Registry, ledger: Ledger) -> None:
    """Make the ledger say what the registry holds, and the champion's tags what the ledger says.

    A move that was written down but never closed is closed where the alias arrived, and struck out
    where it did not; an alias that somebody moved in MLflow is entered as moved by hand.
    """
    champion = registry.at(CHAMPION)
    moves = ledger.moves()
    closed = [move.to_version for move in moves if move.done]
    for move in [m for m in moves if not m.done]:
        if champion and champion.number == move.to_version and closed[-1:] != [move.to_version]:
            ledger.close_move(move.id)
            closed.append(move.to_version)
        elif ledger.age_s(move) > _OPEN_MOVE_S:
            ledger.drop(move.id)
        else:
            return  # another process is about to move the alias
    moves = ledger.moves()
    known = moves[-1].to_version if moves else None
    if champion and champion.number != known:

        def sight() -> tuple[int, str] | None:
            now = registry.at(CHAMPION)
            return (now.number, now.policy) if now else None

        ledger.by_hand(sight, "the alias was moved in MLflow, without the gate")
        moves, champion = ledger.moves(), registry.at(CHAMPION)
        if not moves or not champion or not moves[-1].done or moves[-1].to_version != champion.number:
            return  # it moves at this very moment: the next one who looks will see
    if champion and champion.tags.get("promoted_at") != _moment(moves[-1]):
        last = moves[-1]
        told = {"promoted_by": last.who, "promoted_as": last.by.value, "promoted_because": last.reason}
        registry.note(champion.number, **told, promoted_at=_moment(last))


def _moment(move: Move) -> str:
    return move.at.isoformat(timespec="seconds")


def champion(registry: Registry, ledger: Ledger, filters: Sequence[str]) -> Champion:
    """The policy that walks, checked against what was registered and against this installation.

    `filters` is the list of params.yaml. A model may know archive-only filters after those.

    Raises:
        NoChampionError: nothing was promoted yet.
        ModelError: digest, filters or encoding do not fit.
    """
    settle(registry, ledger)
    version = registry.at(CHAMPION)
    if version is None:
        raise NoChampionError(
            "no model is champion yet: run `threatwalk register`, then `threatwalk promote`"
        )
    return Champion(load(registry, version, filters), version)


def load(registry: Registry, version: Version, filters: Sequence[str] | None = None) -> Policy:
    """A version's policy; raises ModelError where it is not what was registered or does not fit."""
    _ours(version)
    if filters is not None and version.filters[: len(filters)] != tuple(filters):
        raise ModelError(
            f"{version} knows the filters {', '.join(version.filters)}; params.yaml names {', '.join(filters)}: "
            "train and promote a model for this list"
        )
    with tempfile.TemporaryDirectory() as scratch:
        return _opened(registry.files(version, Path(scratch)), version.policy)


def check(registry: Registry, version: Version) -> None:
    """Raises ModelError where a version's files are not those that were registered."""
    _ours(version)
    with tempfile.TemporaryDirectory() as scratch:
        registry.files(version, Path(scratch))


def _ours(version: Version) -> None:
    if not version.policy or not version.digest:
        raise ModelError(f"version {version.number} of the model was not registered by threatwalk: roll back")


def _opened(models: Path, policy: str) -> Policy:
    from threatwalk.learning import stored  # noqa: PLC0415 - a network needs torch, which takes seconds

    return stored.load(models, policy)


def _move(
    registry: Registry,
    ledger: Ledger,
    before: Version | None,
    after: Version,
    by: By,
    reason: str,
    *,
    name: str,
) -> None:
    """Written down, then moved, then closed: killed anywhere, `settle` finds out what happened."""
    entry = ledger.write(
        who=name,
        by=by,
        from_version=before.number if before else None,
        to_version=after.number,
        policy=after.policy,
        reason=reason,
    )
    registry.point(CHAMPION, after.number)
    ledger.close_move(entry)
    settle(registry, ledger)


def _evaluation(registry: Registry, challenger: Version) -> tuple[Sequence[Scored], dict[str, str]]:
    """What the held-out walks of the challenger's run scored, and the digests of its stored policies."""
    with tempfile.TemporaryDirectory() as scratch:
        try:
            walks = registry.artifact(challenger.run_id, f"evaluation/{WALKS}", Path(scratch))
        except StoreError as err:
            raise DataError(
                f"the run of {challenger} in MLflow lacks evaluation/{WALKS}, which older versions did not write: "
                "evaluate and register it again, or train anew"
            ) from err
        models = registry.artifact(challenger.run_id, "models.json", Path(scratch)).read_text("utf-8")
        try:
            return scored.load(walks), {name: fact["digest"] for name, fact in json.loads(models).items()}
        except (ValueError, KeyError, TypeError) as err:
            raise DataError(f"the evaluation of {challenger} in MLflow cannot be read: {err!r}") from err


def _champion_rows(
    registry: Registry,
    champion: Version,
    challenger: Version,
    rows: Sequence[Scored],
    digests: dict[str, str],
    rate: Rate,
) -> tuple[Sequence[Scored] | None, str]:
    """What the champion scored on the challenger's held-out reports, or why nothing is known of it.

    (None, "") means that it cannot be known here; (None, text) that the champion cannot walk at all.
    """
    if digests.get(champion.policy) == champion.digest:
        return [row for row in rows if row.policy == champion.policy], ""
    if challenger.tags.get("rated") == str(champion.number):
        with tempfile.TemporaryDirectory() as scratch:
            path = f"gate/{_rating(champion)}"
            return scored.load(registry.artifact(challenger.run_id, path, Path(scratch))), ""
    return _rated(registry, champion, challenger, rate)


def _rated(
    registry: Registry, champion: Version, challenger: Version, rate: Rate
) -> tuple[Sequence[Scored] | None, str]:
    """Walk the champion on the challenger's dataset, where that lies on this machine, and keep what it scored."""
    folder = Path(registry.tag(challenger.run_id, "folder"))
    if champion.filters != challenger.filters:
        return None, f"; {champion} knows other filters and is not compared"
    if not (folder / "data" / "compiled").is_dir():
        return None, ""
    try:
        rows = rate(load(registry, champion), folder)
    except ModelError as err:
        return None, f"; the champion cannot be compared: {err}"
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / _rating(champion)
        scored.save(rows, path)
        registry.attach(challenger.run_id, path, "gate")
    registry.note(challenger.number, rated=str(champion.number))
    return rows, ""


def _rating(champion: Version) -> str:
    return f"champion-{champion.number}.parquet"
