"""params.yaml as strict frozen dataclasses: what is unknown, missing, mistyped or out of range is an error now."""

import copy
import json
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin

import yaml

from threatwalk.errors import ParamsError


@dataclass(frozen=True, slots=True)
class Within:
    """The numbers from `low` to `high`, `but` for one of the two."""

    low: float
    high: float = math.inf
    but: float | None = None

    def __contains__(self, number: float) -> bool:
        return self.low <= number <= self.high and number != self.but

    def __str__(self) -> str:
        lowest = f"above {self.low:g}" if self.but == self.low else f"at least {self.low:g}"
        if self.high == math.inf:
            return lowest
        return f"{lowest} and {'below' if self.but == self.high else 'at most'} {self.high:g}"


Number = Annotated[int, Within(0)]
Count = Annotated[int, Within(1)]
Width = Annotated[int, Within(2)]  # of a layer that is split in two
Amount = Annotated[float, Within(0)]
Rate = Annotated[float, Within(0, but=0)]
Share = Annotated[float, Within(0, 1)]
Part = Annotated[float, Within(0, 1, but=1)]  # of which something has to be left


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
    seed: Number
    reports: Count


@dataclass(frozen=True, slots=True)
class Ingest:
    min_samples: Count
    max_samples: Count


@dataclass(frozen=True, slots=True)
class Split:
    by: SplitBy
    test: Part
    valid: Part
    near_share: Share
    near_samples: Count


@dataclass(frozen=True, slots=True)
class Acceptance:
    check: str
    up_to: Share
    who: str
    why: str


@dataclass(frozen=True, slots=True)
class Contract:
    reports: Number
    rejected: Share
    lost: Share
    kinds: Share
    hubs: Share
    suspect: Share
    flood: Share
    compare: bool
    accept: tuple[Acceptance, ...]


@dataclass(frozen=True, slots=True)
class Compile:
    implied: bool
    hub_noise: Number
    merge_hosts: bool
    audit: bool


@dataclass(frozen=True, slots=True)
class Reward:
    pay: Pay
    excess_weight: Amount
    end_at: Amount


@dataclass(frozen=True, slots=True)
class Walk:
    steps: Count
    combine: Combine


@dataclass(frozen=True, slots=True)
class SetQ:
    episodes: Count
    environments: Count
    length: Count
    passes: Count
    minibatch: Count
    replay: Number
    lr: Rate
    gamma: Share
    words: Count
    width: Width
    pairs: bool
    members: Count
    doubt: Amount
    unread: Part
    exploration: Share


@dataclass(frozen=True, slots=True)
class Selective:
    episodes: Count
    environments: Count
    passes: Count
    replay: Number
    lr: Rate
    gamma: Share
    words: Count
    embedding: Count
    width: Width
    dropout: Part
    members: Count
    keep: Share
    price: float
    rounds: Count


@dataclass(frozen=True, slots=True)
class PaperDqn:
    episodes: Count
    obs_chars: Count
    width: Count
    lr: Rate
    gamma: Share
    epsilon_start: Share
    epsilon_end: Share
    epsilon_share: Share
    batch: Count
    replay: Count
    sync_steps: Count
    pay: Pay
    end_at: Amount


@dataclass(frozen=True, slots=True)
class TabularQ:
    episodes: Count
    gamma: Share
    alpha: Share
    epsilon: Share
    pay: Pay
    end_at: Amount


class Precision(StrEnum):
    """Of products in training, by Lightning's names: single, or bfloat16 beside single where that is needed."""

    SINGLE = "32-true"
    MIXED = "bf16-mixed"


@dataclass(frozen=True, slots=True)
class Train:
    policies: tuple[str, ...]
    reports: Number
    patience: Number
    devices: Count
    strategy: str
    precision: Precision
    threatwalk: SetQ
    selective: Selective
    paper_dqn: PaperDqn
    tabular_q: TabularQ


@dataclass(frozen=True, slots=True)
class Evaluate:
    trailheads: Count
    budgets: tuple[Count, ...]
    beam: Count
    bootstrap: Count


@dataclass(frozen=True, slots=True)
class Gate:
    tlp: dict[str, str]
    pap: dict[str, str]
    active_dns: bool
    warning_lists: tuple[str, ...]
    exact_lists: tuple[str, ...]
    known_good: tuple[str, ...]
    fresh_days: Amount
    timeout_s: Rate
    max_bytes: Count
    max_pivots: Count
    breaker_failures: Count
    breaker_wait_s: Amount
    in_flight: Count
    reserve: dict[str, Share]


@dataclass(frozen=True, slots=True)
class Record:
    pap: str
    hops: Number
    questions: Number
    follow: Number
    in_flight: Count


@dataclass(frozen=True, slots=True)
class Promote:
    approval: Approval
    gain: float
    margin: float
    shadow: Number
    shadow_s: Amount


@dataclass(frozen=True, slots=True)
class Analyze:
    lookups: Count
    night_lookups: Number
    indicator_s: Amount
    night_s: Amount
    lease_s: Count
    batch: Count
    shards: Count


@dataclass(frozen=True, slots=True)
class Params:
    """Everything that changes an experiment. Field names are those of params.yaml."""

    seed: Number
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
        ParamsError: the file cannot be read, or a value is unknown, missing, of a wrong type or out of range.
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
        ParamsError: a dotted name is no parameter, or its value of a wrong type or out of range.
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
    if origin is Annotated:
        plain, within = get_args(kind)
        number = _parse(plain, raw, where)
        if number not in within:
            raise ParamsError(f"{where} should be {within}, not {raw!r}")
        return number
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
    if kind is float and type(raw) in {int, float}:
        if not math.isfinite(raw):
            raise ParamsError(f"{where} should be a finite number, not {raw!r}")
        return float(raw)
    if type(raw) is not kind:
        raise ParamsError(f"{where} should be of type {kind.__name__}, not {raw!r}")
    return raw


def _record(kind: Any, raw: Any, where: str) -> Any:
    if not isinstance(raw, dict):
        raise ParamsError(f"{where} should be a table, not {raw!r}")
    hints = typing.get_type_hints(kind, include_extras=True)
    names = [field.name for field in fields(kind)]
    for name in raw:
        if name not in names:
            raise ParamsError(f"{where}: unknown parameter {name!r}; known are {', '.join(names)}")
    for name in names:
        if name not in raw:
            raise ParamsError(f"{where}: parameter {name!r} is missing")
    return kind(**{name: _parse(hints[name], raw[name], f"{where}.{name}") for name in names})
