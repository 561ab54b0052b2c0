"""Options that several commands share."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from threatwalk.errors import UsageError
from threatwalk.params import Params, load
from threatwalk.settings import params_file

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
