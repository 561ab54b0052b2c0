"""Commands of the model registry: register a run, promote its model, look, go back."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from threatwalk.cli.options import params_option
from threatwalk.params import Params
from threatwalk.settings import Settings

if TYPE_CHECKING:
    from threatwalk.archive.ledger import Move
    from threatwalk.registry import Version

_json = click.option("--json", "as_json", is_flag=True, help="One JSON object.")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False), default=".")
@_json
def register(folder: Path, as_json: bool) -> None:
    """Put a finished run (FOLDER with params.yaml and data/) into MLflow, its model as the challenger."""
    from threatwalk import promotion

    with promotion.opened(Settings.from_env()) as (registry, ledger):
        version = promotion.register(registry, ledger, folder)
    click.echo(json.dumps(_version(version)) if as_json else promotion.became(version))


@click.command()
@click.option(
    "--judge", "only_judge", is_flag=True, help="Say what the gate says, as JSON, and move nothing."
)
@click.option("--judged", envvar="THREATWALK_JUDGED", help="Only this move, as --judge named it.")
@click.option("--approved-by", envvar="THREATWALK_APPROVED_BY", default="", help="Who approved it.")
@_json
@params_option
def promote(params: Params, only_judge: bool, judged: str | None, approved_by: str, as_json: bool) -> None:
    """Make the challenger champion if it passes the gate, else the best baseline if that is better."""
    from threatwalk import promotion
    from threatwalk.desk import shadow

    settings = Settings.from_env()
    look = shadow.of_last_night(settings, params)
    with promotion.opened(settings, moving=True) as (registry, ledger):
        if only_judge:
            found = promotion.judge(registry, ledger, params, rate=promotion.held_out, look=look)
            told = {"move": found.move if found.winner else None, "reason": found.reason}
            told |= {"report": found.report, "approval": params.promote.approval}
            click.echo(json.dumps(told))
            return
        done = promotion.promote(
            registry,
            ledger,
            params,
            rate=promotion.held_out,
            look=look,
            judged=judged or None,
            approved_by=approved_by,
        )
    if as_json:
        champion = _version(done.champion) if done.champion else None
        record = {
            "champion": champion,
            "challenger": _version(done.challenger),
            "moved": done.moved,
            "reason": done.reason,
        }
        click.echo(json.dumps(record))
    else:
        walks = (
            f"{done.champion} {'is now' if done.moved else 'stays'} champion"
            if done.champion
            else "there is no champion"
        )
        click.echo(f"{walks}: {done.reason}")


@click.group()
def model() -> None:
    """Look at the versions of the model, promote the challenger, and go back to an earlier one."""


model.add_command(promote)


@model.command("list")
@_json
def list_(as_json: bool) -> None:
    """List the versions, the oldest first."""
    from threatwalk import promotion

    with promotion.opened(Settings.from_env()) as (registry, _):
        versions = registry.versions()
    if as_json:
        click.echo(json.dumps([_version(version) for version in versions]))
        return
    for version in versions:
        reward = "" if version.reward is None else f"{version.reward:.3f}"
        click.echo(
            f"{version.number:>4}  {version.policy:<20} {reward:>7}  {version.digest[:12]}  {' '.join(version.aliases)}"
        )


@model.command()
@_json
def show(as_json: bool) -> None:
    """Show champion, challenger and the ledger of promotions; fails where the champion's files were changed."""
    from threatwalk import promotion

    with promotion.opened(Settings.from_env()) as (registry, ledger):
        promotion.settle(registry, ledger)
        by_alias = {alias: version for version in registry.versions() for alias in version.aliases}
        moves = ledger.moves()[::-1]
        _shown(by_alias, moves, as_json=as_json)
        if "champion" in by_alias:
            promotion.check(registry, by_alias["champion"])


def _shown(by_alias: Mapping[str, "Version"], moves: Sequence["Move"], *, as_json: bool) -> None:
    if as_json:
        aliases = {
            name: _version(by_alias[name]) if name in by_alias else None
            for name in ("champion", "challenger")
        }
        click.echo(json.dumps({**aliases, "ledger": [_move(move) for move in moves]}))
        return
    for name in ("champion", "challenger"):
        click.echo(f"{name:<11} {by_alias.get(name, 'none')}")
    for move in moves:
        before = "nobody" if move.from_version is None else f"version {move.from_version}"
        click.echo(
            f"{move.at:%Y-%m-%d %H:%M}  {before} to version {move.to_version} ({move.policy}) by {move.by}, {move.who}: {move.reason}"
        )


@model.command()
@click.option(
    "--to", type=click.IntRange(min=1), help="This version; default: the champion before the present one."
)
def rollback(to: int | None) -> None:
    """Make an earlier version champion again."""
    from threatwalk import promotion

    with promotion.opened(Settings.from_env(), moving=True) as (registry, ledger):
        version = promotion.rollback(registry, ledger, to)
    click.echo(f"{version} is champion")


def _version(version: "Version") -> dict[str, Any]:
    return {
        "version": version.number,
        "policy": version.policy,
        "digest": version.digest,
        "filters": list(version.filters),
        "encoding": version.encoding,
        "dataset": version.dataset,
        "dataset_tag": version.tags.get("dataset_tag"),
        "reward": version.reward,
        "aliases": list(version.aliases),
        "verdict": version.tags.get("verdict"),
        "promoted": {name: version.tags.get(f"promoted_{name}") for name in ("by", "as", "at")},
    }


def _move(move: "Move") -> dict[str, Any]:
    return {
        "at": move.at.isoformat(timespec="seconds"),
        "who": move.who,
        "by": move.by,
        "from": move.from_version,
        "to": move.to_version,
        "policy": move.policy,
        "reason": move.reason,
        "done": move.done,
    }
