"""Options that several commands share."""

import getpass
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from threatwalk.errors import UsageError
from threatwalk.params import Params, load
from threatwalk.settings import Settings, params_file

if TYPE_CHECKING:
    from threatwalk.desk.actions import Actions
    from threatwalk.desk.rights import Person

F = TypeVar("F", bound=Callable[..., Any])


def values() -> dict[str, Any]:
    """What a trigger form set: THREATWALK_SET, a JSON object of dotted parameters.

    Raises:
        UsageError: it is no JSON object.
    """
    text = os.environ.get("THREATWALK_SET") or "{}"
    try:
        table = json.loads(text)
    except ValueError as err:
        raise UsageError(f"THREATWALK_SET is no JSON: {err}") from err
    if not isinstance(table, dict):
        raise UsageError("THREATWALK_SET is no JSON object")
    return table


def _load(_context: click.Context, _option: click.Parameter, path: Path | None) -> Params:
    return load(path or params_file(), values())


def params_option(function: F) -> F:
    """`--params FILE`: gives the command its Params as `params`."""
    return click.option(
        "--params",
        type=click.Path(path_type=Path),
        callback=_load,
        help="Parameters; default: THREATWALK_PARAMS, else params.yaml of this folder.",
    )(function)


def author_option(function: F) -> F:
    """`--author NAME`: who signs what is made, as `author`."""
    return click.option(
        "--author",
        envvar="THREATWALK_AUTHOR",
        default="threatwalk",
        show_default=True,
        help="Who signs the results.",
    )(function)


@contextmanager
def desk_of(params: Params) -> "Iterator[tuple[Actions, Person]]":
    """The desk, and whoever sits at this shell, who has every right."""
    from threatwalk.desk.actions import opened
    from threatwalk.desk.rights import EVERYTHING, Person

    desk = opened(Settings.from_env(), params)
    try:
        yield desk, Person(_me(), EVERYTHING)
    finally:
        desk.close()


def _me() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        return f"user {os.getuid()}"
