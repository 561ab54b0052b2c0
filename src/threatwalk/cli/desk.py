"""The nightly job as a command."""

import asyncio
import json
import os
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from threatwalk.cli.options import author_option, params_option
from threatwalk.desk.shown import counted
from threatwalk.errors import ModelError, ThreatwalkError, UnavailableError, UsageError
from threatwalk.params import Params
from threatwalk.settings import Settings

_NAMED = 20  # indicators in an error's one line

if TYPE_CHECKING:
    from threatwalk.desk.analyze import Night
    from threatwalk.learning.policy import Policy


@click.command()
@params_option
@click.option(
    "--shard",
    envvar="THREATWALK_SHARD",
    default="1/1",
    show_default=True,
    help="Which of how many equal workers this one is.",
)
@click.option(
    "--run",
    envvar="THREATWALK_RUN",
    default=lambda: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    show_default="the time of its start",
    help="The night's name. Workers of one name share its lookups.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Stop after so many indicators.")
@click.option(
    "--policy",
    "chosen",
    metavar="NAME|FOLDER/NAME",
    help="Walk with this stored policy; default: the champion.",
)
@author_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def analyze(
    params: Params, shard: str, run: str, limit: int | None, chosen: str | None, author: str, as_json: bool
) -> None:
    """Walk from every queued indicator with the champion; write a bundle and a page for each.

    Workers need not know of each other: each claims what no other one holds. It ends with an error where
    any indicator was not analysed, with exit code 75 where none of their questions was answered: each is
    queued again, and a repeat walks from those alone.
    """
    number, count = _shard(shard)
    settings = Settings.from_env()
    _log_to_stderr()
    policy, model, filters = _stored(chosen) if chosen else _champion(settings, params)
    owner = f"{socket.gethostname()}:{os.getpid()}:{number}/{count}"
    night = asyncio.run(
        _night(settings, params, policy, model, filters, owner=owner, run=run, author=author, limit=limit)
    )
    click.echo(json.dumps(_record(night, model)) if as_json else _account(night, model))
    if night.failed:
        raise _shortfall(night)


async def _night(
    settings: Settings,
    params: Params,
    policy: "Policy",
    model: str,
    filters: tuple[str, ...],
    *,
    owner: str,
    run: str,
    author: str,
    limit: int | None,
) -> "Night":
    from threatwalk.archive.store import Archive
    from threatwalk.desk.analyze import Desk, Walker
    from threatwalk.desk.queue import Queue
    from threatwalk.desk.worlds import worlds
    from threatwalk.sources import catalog

    archive, queue = Archive.open(settings.database), Queue.open(settings.database)
    try:
        async with worlds(archive, filters, params, settings) as world_of:
            walker = Walker(
                policy, model, filters, catalog.accepts, world_of, params, lambda: datetime.now(UTC)
            )
            desk = Desk(queue, walker, results=settings.results, author=author, owner=owner, run=run)
            return await desk.night(limit=limit)
    finally:
        queue.close()
        archive.close()


def _champion(settings: Settings, params: Params) -> tuple["Policy", str, tuple[str, ...]]:
    from threatwalk import promotion

    with promotion.opened(settings) as (registry, ledger):
        champion = promotion.champion(registry, ledger, params.filters)
    return champion.policy, champion.model, champion.version.filters


def _stored(chosen: str) -> tuple["Policy", str, tuple[str, ...]]:
    from threatwalk.learning import stored
    from threatwalk.learning.finished import digest

    path = Path(chosen)
    folder = path.parent if path.parent != Path() else Path("data/models")
    manifest = folder / f"{path.name}.json"
    try:
        filters = tuple(json.loads(manifest.read_text(encoding="utf-8"))["filters"])
    except FileNotFoundError as err:
        raise UsageError(f"{folder} holds no stored policy {path.name}") from err
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise ModelError(f"{manifest} cannot be read: {err}") from err
    return stored.load(folder, path.name), f"{path}, sha256 {digest(folder, path.name)[:16]}", filters


def _shard(text: str) -> tuple[int, int]:
    number, slash, count = text.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise UsageError(f"--shard {text[:40]!r} is not like 1/4")
    return int(number), int(count)


def _log_to_stderr() -> None:
    import structlog

    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))


def _record(night: "Night", model: str) -> dict[str, object]:
    return {
        "model": model,
        "analysed": night.analysed,
        "repeated": night.repeated,
        "unanswered": night.unanswered,
        "failed": night.failed,
        "lost": night.lost,
        "samples": night.samples,
        "lookups": night.lookups,
        "results": [str(folder) for folder in sorted(night.results, key=_number)],
        "errors": {str(number): reason for number, reason in night.errors.items()},
    }


def _account(night: "Night", model: str) -> str:
    done = night.analysed + night.repeated
    head = (
        f"{counted(done, 'indicator')} analysed by {model}: "
        f"{counted(night.samples, 'sample')}, {counted(night.lookups, 'lookup')}"
    )
    others = [
        f"{count} {what}"
        for count, what in (
            (night.failed, f"failed ({night.unanswered} without any answer)"),
            (night.lost, "taken over by another worker"),
        )
        if count
    ]
    return "\n".join(
        [", ".join([head, *others]), *(f"  {folder}" for folder in sorted(night.results, key=_number))]
    )


def _shortfall(night: "Night") -> ThreatwalkError:
    """Which indicators were not analysed, by their numbers: a log may be read by more people than the queue."""
    numbers = sorted(night.errors)
    named = ", ".join(map(str, numbers[:_NAMED])) + (", ..." if len(numbers) > _NAMED else "")
    kind = UnavailableError if night.unanswered == night.failed else ThreatwalkError
    return kind(
        f"{night.failed} of {counted(night.failed + night.analysed + night.repeated, 'indicator')} not analysed: {named} "
        f"(see threatwalk queue list); the first: {night.errors[numbers[0]]}"
    )


def _number(folder: Path) -> int:
    return int(folder.name.partition("-")[0])
