"""Writing a world as a corpus folder: a MISP feed of its reports, and every source's answers as Parquet."""

import csv
import hashlib
import io
import json
import shutil
import uuid
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from threatwalk.emulator.graph import KINDS, UNDATED, Graph, Ids
from threatwalk.emulator.relations import RELATIONS
from threatwalk.emulator.world import World
from threatwalk.errors import UsageError
from threatwalk.reports.report import Report
from threatwalk.sample import Kind, Sample

_ORGANISATION = {"name": "threatwalk emulator", "uuid": "5f2b6f0e-3c55-4b4c-9a51-6d2f3f0f7a10"}
_NAMESPACE = uuid.UUID(_ORGANISATION["uuid"])
_TYPES = {Kind.IPV4: "ip-dst", Kind.IPV6: "ip-dst"}  # the other kinds are called alike
_CATEGORIES = dict.fromkeys((Kind.MD5, Kind.SHA1, Kind.SHA256, Kind.FILENAME), "Payload delivery")
GENERATOR = ("campaign", "graph", "internet", "looks", "names", "relations", "styles", "world")
_DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Written:
    """What `write` wrote: reports, samples of the world, rows of answers."""

    reports: int
    samples: int
    rows: int


def write(world: World, folder: Path) -> Written:
    """The world as `folder`/reports, /answers and /world.json; what stood there before is replaced.

    Everything is written beside it first, and moved when it is whole.

    Raises:
        UsageError: the folder holds something else than a world; it is left alone.
    """
    if folder.exists() and not (folder / "world.json").is_file() and any(folder.iterdir()):
        raise UsageError(f"{folder} holds something else than a made-up world; name another folder")
    fresh = folder.with_name(folder.name + ".new")
    if fresh.exists():
        shutil.rmtree(fresh)
    _write_feed(world.reports, fresh / "reports")
    rows = {name: _write_answers(world.graph, name, fresh / "answers") for name in sorted(RELATIONS)}
    about = {
        "seed": world.seed,
        "generator": generator_hash(),
        "reports": len(world.reports),
        "samples": len(world.graph.samples),
        "rows": rows,
        "campaigns": len({report.campaign for report in world.reports}),
        "reports_by_style": dict(sorted(Counter(world.styles.values()).items())),
        "styles": dict(sorted(world.styles.items())),
    }
    (fresh / "world.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    if folder.exists():
        shutil.rmtree(folder)
    fresh.rename(folder)
    return Written(len(world.reports), len(world.graph.samples), sum(rows.values()))


def generator_hash() -> str:
    """SHA-256 over the source of everything that decides what a world is."""
    digest = hashlib.sha256()
    for name in GENERATOR:
        digest.update((Path(__file__).parent / f"{name}.py").read_bytes())
    return digest.hexdigest()


def event(report: Report) -> dict[str, object]:
    """A report as a MISP event, as a feed publishes it."""
    published = report.published or date(1970, 1, 1)
    stamp = str(int(datetime.combine(published, time(12), UTC).timestamp()))
    tags = [{"name": f"tlp:{report.tlp}"}] if report.tlp else []
    tags.append({"name": f'threatwalk:campaign="{report.campaign}"'})
    return {
        "uuid": report.id,
        "info": report.title,
        "date": published.isoformat(),
        "timestamp": stamp,
        "publish_timestamp": stamp,
        "published": True,
        "analysis": "2",
        "threat_level_id": "2",
        "Orgc": _ORGANISATION,
        "Tag": tags,
        "Attribute": [_attribute(report, one, stamp) for one in sorted(report.goal)],
    }


def _attribute(report: Report, one: Sample, stamp: str) -> dict[str, object]:
    return {
        "uuid": str(uuid.uuid5(_NAMESPACE, f"{report.id}/{one}")),
        "type": _TYPES.get(one.kind, one.kind.value),
        "category": _CATEGORIES.get(one.kind, "Network activity"),
        "value": one.value,
        "to_ids": one.kind is not Kind.FILENAME,
        "timestamp": stamp,
    }


def _write_feed(reports: tuple[Report, ...], folder: Path) -> None:
    folder.mkdir(parents=True)
    manifest = {}
    hashes = io.StringIO()
    lines = csv.writer(hashes, lineterminator="\n")
    for report in reports:
        about = event(report)
        (folder / f"{report.id}.json").write_text(json.dumps({"Event": about}), encoding="utf-8")
        keys = (
            "info",
            "date",
            "timestamp",
            "publish_timestamp",
            "analysis",
            "threat_level_id",
            "Orgc",
            "Tag",
        )
        manifest[report.id] = {key: about[key] for key in keys}
        for one in sorted(report.goal):
            lines.writerow((hashlib.md5(one.value.encode(), usedforsecurity=False).hexdigest(), report.id))
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    (folder / "hashes.csv").write_text(hashes.getvalue(), encoding="utf-8")


def _write_answers(graph: Graph, source: str, folder: Path) -> int:
    """Every question that the source accepts, with what it found, or with nothing; the number of rows."""
    folder.mkdir(parents=True, exist_ok=True)
    known = graph.answers[source]
    kinds = np.array([KINDS.index(one.kind) for one in graph.samples], np.int8)
    accepted = np.isin(kinds, [KINDS.index(kind) for kind in RELATIONS[source]])
    degree = np.diff(known.start)
    empty = np.flatnonzero(accepted & (degree == 0)).astype(np.int32)
    origin = np.concatenate([np.repeat(np.arange(len(degree), dtype=np.int32), degree), empty])
    found = np.concatenate([known.found, np.full(len(empty), -1, np.int32)])
    undated = np.full(len(empty), UNDATED, np.int32)
    order = np.argsort(origin, kind="stable")
    values = pa.array([one.value for one in graph.samples])
    table = pa.table(
        {
            "filter": pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(order), np.int32)), [source]),
            "kind": _kind_column(kinds, origin[order]),
            "value": _column(values, origin[order]),
            "found_kind": _kind_column(kinds, found[order]),
            "found_value": _column(values, found[order]),
            "first_seen": _times(np.concatenate([known.first, undated])[order]),
            "last_seen": _times(np.concatenate([known.last, undated])[order]),
        }
    )
    # without Arrow's own schema the dictionaries are read back as the plain strings that they are
    pq.write_table(table, folder / f"{source}.parquet", compression="zstd", store_schema=False)
    return len(order)


def _column(values: pa.Array, ids: Ids) -> pa.DictionaryArray:
    """The texts of samples; null for sample -1, the found of an empty answer."""
    used, codes = np.unique(ids[ids >= 0], return_inverse=True)
    indices = np.full(len(ids), -1, np.int32)
    indices[ids >= 0] = codes
    return pa.DictionaryArray.from_arrays(pa.array(indices, mask=indices < 0), values.take(pa.array(used)))


def _kind_column(kinds: np.ndarray[tuple[int], np.dtype[np.int8]], ids: Ids) -> pa.DictionaryArray:
    codes = np.where(ids >= 0, kinds[ids], -1).astype(np.int32)
    return pa.DictionaryArray.from_arrays(pa.array(codes, mask=codes < 0), [kind.value for kind in KINDS])


def _times(days: Ids) -> pa.Array:
    return pa.array(days.astype(np.int64) * _DAY_US, mask=days == UNDATED).cast(pa.timestamp("us", "UTC"))
