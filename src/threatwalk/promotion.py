"""Who walks: the gate between challenger and champion, the way back, and the champion itself."""

import getpass
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from threatwalk import params as parameters
from threatwalk.archive.ledger import By, Ledger
from threatwalk.errors import DataError, ModelError, NoChampionError, UsageError
from threatwalk.learning.policy import Policy
from threatwalk.learning.verdict import verdict
from threatwalk.registry import CHALLENGER, CHAMPION, Registry, Version
from threatwalk.settings import Settings

Rate = Callable[[Policy, Path], float]
"""The held-out reward of a policy on the dataset of a finished run's folder."""

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
    """What the gate says: `winner` is the policy that should walk, None where the champion stays."""

    champion: Version | None
    challenger: Version
    winner: str | None
    reason: str

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
def opened(settings: Settings) -> Iterator[tuple[Registry, Ledger]]:
    """Registry and ledger of this installation; raises StoreError or UnavailableError where one is not there."""
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
    """The finished run in `folder` as the new challenger; rates the present champion on its dataset.

    The rating is made here, where the dataset is, because the gate may run on another machine.
    """
    settle(registry, ledger)
    challenger, champion = registry.register(folder), registry.at(CHAMPION)
    if champion and champion.number != challenger.number and champion.dataset != challenger.dataset:
        rate_champion(registry, champion, challenger, held_out_reward)
    return challenger


def held_out_reward(policy: Policy, folder: Path) -> float:
    """The mean final reward of a policy on the held-out reports of a finished run's dataset."""
    from threatwalk.learning.dataset import Dataset  # noqa: PLC0415 - the night's work needs none of these
    from threatwalk.learning.evaluate import Held, outcomes, scores  # noqa: PLC0415
    from threatwalk.learning.walks import reach  # noqa: PLC0415

    params = parameters.load(folder / "params.yaml")
    data = Dataset.load(folder / "data" / "compiled")
    held = Held.of(data, params)
    within = reach(data, held.goals, held.heads, steps=params.walk.steps, audit=data.audit)
    done = outcomes(policy, held, within, audit=data.audit)
    return float(scores(held, done, within)["reward"].mean())


def judge(registry: Registry, ledger: Ledger, rate: Rate) -> Judgement:
    """Hold the challenger against the gate; the verdict is noted on it, and the alias stays where it is.

    Raises:
        DataError: there is no challenger to judge.
    """
    settle(registry, ledger)
    challenger, champion = registry.at(CHALLENGER), registry.at(CHAMPION)
    if challenger is None:
        raise DataError("there is no challenger to judge: run `threatwalk register` first")
    if champion and champion.number == challenger.number:
        return Judgement(champion, challenger, None, f"{champion} is the champion already")
    rewards, digests = _evaluation(registry, challenger)
    reward, doubt = None, ""
    if champion:
        reward, doubt = _champion_reward(registry, champion, challenger, rewards, digests, rate)
        if reward is None and not doubt:
            reason = f"{champion} cannot be rated on the challenger's dataset, which is not on this machine"
            registry.note(challenger.number, verdict=reason)
            return Judgement(champion, challenger, None, reason)
    found = verdict(rewards, candidate=challenger.policy, stored=digests, champion=reward)
    registry.note(challenger.number, verdict=found.reason + doubt)
    return Judgement(champion, challenger, found.winner, found.reason + doubt)


def promote(
    registry: Registry, ledger: Ledger, rate: Rate, *, judged: str | None = None, approved_by: str = ""
) -> Promotion:
    """Judge the challenger and move the alias `champion` to the winner. A repeat changes nothing.

    `judged` is the move that was approved, as `Judgement.move` names it, and `approved_by` the person.

    Raises:
        DataError: there is no challenger to judge, or the gate now says another move than was approved.
    """
    found = judge(registry, ledger, rate)
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
    """Make the ledger say what the registry holds.

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
        ledger.write(
            who="unknown",
            by=By.HAND,
            from_version=known,
            to_version=champion.number,
            policy=champion.policy,
            reason="the alias was moved in MLflow, without the gate",
            done=True,
        )


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
    from threatwalk.learning import stored  # noqa: PLC0415 - a network needs torch, which takes seconds

    if not version.policy or not version.digest:
        raise ModelError(f"version {version.number} of the model was not registered by threatwalk: roll back")
    if filters is not None and version.filters[: len(filters)] != tuple(filters):
        raise ModelError(
            f"{version} knows the filters {', '.join(version.filters)}; params.yaml names {', '.join(filters)}: "
            "train and promote a model for this list"
        )
    with tempfile.TemporaryDirectory() as scratch:
        return stored.load(registry.files(version, Path(scratch)), version.policy)


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
    at = datetime.now(UTC).isoformat(timespec="seconds")
    registry.note(after.number, promoted_by=name, promoted_at=at, promoted_because=reason)


def _evaluation(registry: Registry, challenger: Version) -> tuple[dict[str, float], dict[str, str]]:
    """Held-out rewards of the challenger's run, by policy, and the digests of its stored policies."""
    with tempfile.TemporaryDirectory() as scratch:
        table = registry.artifact(challenger.run_id, "evaluation/table.json", Path(scratch)).read_text(
            "utf-8"
        )
        models = registry.artifact(challenger.run_id, "models.json", Path(scratch)).read_text("utf-8")
    try:
        rows, facts = json.loads(table)["held_out"], json.loads(models)
        rewards = {name: float(row["reward"]) for name, row in rows.items() if row["reward"] is not None}
        return rewards, {name: fact["digest"] for name, fact in facts.items()}
    except (ValueError, KeyError, TypeError) as err:
        raise DataError(f"the evaluation of {challenger} in MLflow cannot be read: {err!r}") from err


def _champion_reward(
    registry: Registry,
    champion: Version,
    challenger: Version,
    rewards: dict[str, float],
    digests: dict[str, str],
    rate: Rate,
) -> tuple[float | None, str]:
    """The champion's reward on the challenger's held-out reports, or why it has none.

    (None, "") means that it cannot be known here; (None, text) that the champion cannot walk at all.
    """
    if digests.get(champion.policy) == champion.digest and champion.policy in rewards:
        return rewards[champion.policy], ""
    if champion.dataset == challenger.dataset and champion.reward is not None:
        return champion.reward, ""
    rated = challenger.tags.get("champion_reward", "").partition(" ")
    if rated[0] == str(champion.number):
        return float(rated[2]), ""
    return rate_champion(registry, champion, challenger, rate)


def rate_champion(
    registry: Registry, champion: Version, challenger: Version, rate: Rate
) -> tuple[float | None, str]:
    """Walk the champion on the challenger's dataset, where that lies on this machine, and note the reward."""
    folder = Path(registry.tag(challenger.run_id, "folder"))
    if champion.filters != challenger.filters:
        return None, f"; {champion} knows other filters and is not compared"
    if not (folder / "data" / "compiled").is_dir():
        return None, ""
    try:
        reward = rate(load(registry, champion), folder)
    except ModelError as err:
        return None, f"; the champion cannot be compared: {err}"
    registry.note(challenger.number, champion_reward=f"{champion.number} {reward!r}")
    return reward, ""
