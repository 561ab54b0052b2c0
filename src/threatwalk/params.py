"""params.yaml as strict frozen dataclasses: an unknown, missing or mistyped value is an error now."""

import copy
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import yaml

from threatwalk.errors import ParamsError


class Pay(StrEnum):
    LEVEL = "level"
    GAIN = "gain"


class Combine(StrEnum):
    PARALLEL = "parallel"
    IN_TURN = "in_turn"


class SplitBy(StrEnum):
    GROUP = "group"
    DATE = "date"


class Form(StrEnum):
    MISP = "misp"
    FOLDER = "folder"
    TAXII = "taxii"
    MISP_SERVER = "misp_server"


class Approval(StrEnum):
    PERSON = "person"
    GATE = "gate"


@dataclass(frozen=True, slots=True)
class Feed:
    name: str
    form: Form
    url: str
    tlp: str


@dataclass(frozen=True, slots=True)
class World:
    seed: int
    reports: int


@dataclass(frozen=True, slots=True)
class Ingest:
    min_samples: int
    max_samples: int


@dataclass(frozen=True, slots=True)
class Split:
    by: SplitBy
    test: float
    valid: float
    near_share: float
    near_samples: int


@dataclass(frozen=True, slots=True)
class Acceptance:
    check: str
    up_to: float
    who: str
    why: str


@dataclass(frozen=True, slots=True)
class Contract:
    reports: int
    rejected: float
    lost: float
    kinds: float
    hubs: float
    suspect: float
    flood: float
    compare: bool
    accept: tuple[Acceptance, ...]


@dataclass(frozen=True, slots=True)
class Compile:
    implied: bool
    hub_noise: int
    merge_hosts: bool
    audit: bool


@dataclass(frozen=True, slots=True)
class Reward:
    pay: Pay
    excess_weight: float
    end_at: float


@dataclass(frozen=True, slots=True)
class Walk:
    steps: int
    combine: Combine


@dataclass(frozen=True, slots=True)
class SetQ:
    episodes: int
    environments: int
    length: int
    passes: int
    minibatch: int
    replay: int
    lr: float
    gamma: float
    words: int
    width: int
    pairs: bool
    members: int
    doubt: float
    unread: float
    exploration: float


@dataclass(frozen=True, slots=True)
class Selective:
    episodes: int
    environments: int
    passes: int
    replay: int
    lr: float
    gamma: float
    words: int
    embedding: int
    width: int
    dropout: float
    members: int
    keep: float
    price: float
    rounds: int


@dataclass(frozen=True, slots=True)
class PaperDqn:
    episodes: int
    obs_chars: int
    width: int
    lr: float
    gamma: float
    epsilon_start: float
    epsilon_end: float
    epsilon_share: float
    batch: int
    replay: int
    sync_steps: int
    pay: Pay
    end_at: float


@dataclass(frozen=True, slots=True)
class TabularQ:
    episodes: int
    gamma: float
    alpha: float
    epsilon: float
    pay: Pay
    end_at: float


class Precision(StrEnum):
    """Of products in training, by Lightning's names: single, or bfloat16 beside single where that is needed."""

    SINGLE = "32-true"
    MIXED = "bf16-mixed"


@dataclass(frozen=True, slots=True)
class Train:
    policies: tuple[str, ...]
    reports: int
    patience: int
    devices: int
    strategy: str
    precision: Precision
    threatwalk: SetQ
    selective: Selective
    paper_dqn: PaperDqn
    tabular_q: TabularQ


@dataclass(frozen=True, slots=True)
class Evaluate:
    trailheads: int
    budgets: tuple[int, ...]
    beam: int
    bootstrap: int


@dataclass(frozen=True, slots=True)
class Gate:
    tlp: dict[str, str]
    pap: dict[str, str]
    active_dns: bool
    warning_lists: tuple[str, ...]
    exact_lists: tuple[str, ...]
    known_good: tuple[str, ...]
    fresh_days: float
    timeout_s: float
    max_bytes: int
    max_pivots: int
    breaker_failures: int
    breaker_wait_s: float
    in_flight: int
    reserve: dict[str, float]


@dataclass(frozen=True, slots=True)
class Record:
    pap: str
    hops: int
    questions: int
    follow: int
    in_flight: int


@dataclass(frozen=True, slots=True)
class Promote:
    approval: Approval
    gain: float
    margin: float
    shadow: int
    shadow_s: float


@dataclass(frozen=True, slots=True)
class Analyze:
    lookups: int
    night_lookups: int
    indicator_s: float
    night_s: float
    lease_s: int
    batch: int
    shards: int


@dataclass(frozen=True, slots=True)
class Params:
    """Everything that changes an experiment. Field names are those of params.yaml."""

    seed: int
    filters: tuple[str, ...]
    feeds: tuple[Feed, ...]
    corpus: str
    world: World
    ingest: Ingest
    split: Split
    contract: Contract
    compile: Compile
    reward: Reward
    walk: Walk
    train: Train
    evaluate: Evaluate
    gate: Gate
    record: Record
    promote: Promote
    analyze: Analyze
    profiles: dict[str, dict[str, Any]]


T = TypeVar("T")


def load(path: Path, values: Mapping[str, Any] | None = None) -> Params:
    """The parameters of a file, with dotted `values` in place of its own.

    Raises:
        ParamsError: the file cannot be read, or a value is unknown, missing or of a wrong type.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as err:
        raise ParamsError(f"{path} cannot be read: {err}") from err
    params = parse(Params, override(raw, values or {}), path.name)
    for name, profile in params.profiles.items():
        parse(Params, override(raw, profile), f"{path.name}, profile {name}")
    if len(set(params.filters)) != len(params.filters):
        raise ParamsError(f"{path.name}: filters names a source twice")
    return params


def override(raw: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of raw parameters with dotted ones ("reward.pay") replaced; a value of None changes nothing.

    `profile` names a table of such values, one of `profiles`; what stands beside it goes before it.

    Raises:
        ParamsError: a dotted name is no parameter, or there is no such profile.
    """
    changed: dict[str, Any] = copy.deepcopy(raw)
    for dotted, value in {**_profile(raw, values.get("profile")), **_given(values)}.items():
        table: Any = changed
        *path, name = dotted.split(".")
        for part in path:
            table = table.get(part) if isinstance(table, dict) else None
        if not isinstance(table, dict) or name not in table:
            raise ParamsError(f"{dotted!r} is no parameter of params.yaml")
        table[name] = value
    return changed


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {dotted: value for dotted, value in values.items() if value is not None and dotted != "profile"}


def _profile(raw: Any, name: object) -> dict[str, Any]:
    if name is None:
        return {}
    known = raw.get("profiles") if isinstance(raw, dict) else None
    found = known.get(name) if isinstance(known, dict) and isinstance(name, str) else None
    if not isinstance(found, dict):
        raise ParamsError(f"there is no profile {name!r}; params.yaml has {', '.join(known or ()) or 'none'}")
    return found


def changed(params: Params, values: Mapping[str, Any]) -> Params:
    """The same parameters but for these dotted ones.

    Raises:
        ParamsError: a dotted name is no parameter, or its value of a wrong type.
    """
    plain = json.loads(json.dumps(asdict(params)))  # lists for tuples, text for enums: as YAML gives them
    return parse(Params, override(plain, values), "params.yaml")


def parse(kind: type[T], raw: Any, where: str) -> T:
    """`raw` (from YAML or JSON) as the annotated type `kind`; raises ParamsError naming the place."""
    return typing.cast("T", _parse(kind, raw, where))


def _parse(kind: Any, raw: Any, where: str) -> Any:
    if kind is Any:
        return raw
    if is_dataclass(kind):
        return _record(kind, raw, where)
    origin = get_origin(kind)
    if origin is tuple:
        if not isinstance(raw, list):
            raise ParamsError(f"{where} should be a list, not {raw!r}")
        return tuple(_parse(get_args(kind)[0], item, f"{where}[{i}]") for i, item in enumerate(raw))
    if origin is dict:
        if not isinstance(raw, dict):
            raise ParamsError(f"{where} should be a table, not {raw!r}")
        return {str(key): _parse(get_args(kind)[1], item, f"{where}.{key}") for key, item in raw.items()}
    if origin in {typing.Union, types.UnionType}:
        return None if raw is None else _parse(get_args(kind)[0], raw, where)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        if raw not in list(kind):
            raise ParamsError(f"{where} should be one of {', '.join(kind)}, not {raw!r}")
        return kind(raw)
    if kind is float and type(raw) is int:
        return float(raw)
    if type(raw) is not kind:
        raise ParamsError(f"{where} should be of type {kind.__name__}, not {raw!r}")
    return raw


def _record(kind: Any, raw: Any, where: str) -> Any:
    if not isinstance(raw, dict):
        raise ParamsError(f"{where} should be a table, not {raw!r}")
    hints = typing.get_type_hints(kind)
    names = [field.name for field in fields(kind)]
    for name in raw:
        if name not in names:
            raise ParamsError(f"{where}: unknown parameter {name!r}; known are {', '.join(names)}")
    for name in names:
        if name not in raw:
            raise ParamsError(f"{where}: parameter {name!r} is missing")
    return kind(**{name: _parse(hints[name], raw[name], f"{where}.{name}") for name in names})
