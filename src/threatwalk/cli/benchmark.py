"""What `threatwalk evaluate --benchmark` trains and tests on: made-up worlds, public trails, or any corpus folder."""

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from threatwalk.errors import UsageError
from threatwalk.params import Feed, Params, changed
from threatwalk.settings import Settings
from threatwalk.stages import ablations, benchmark

STUDY, TRAILS = "study", "trails"
_SEEDS = 5

Say = Callable[[str], None]


def folder_of(name: str) -> Path:
    """Where a benchmark's table and everything that led to it lies by default."""
    return Settings.from_env().home / "benchmark" / name


def study_of(reports: int) -> Path:
    """That of the study in worlds of so many reports: other sizes lie beside the usual one."""
    return folder_of(STUDY if reports == benchmark.REPORTS else f"{STUDY}-{reports}")


def results_of(
    params: Params,
    name: str,
    *,
    seeds: int | None,
    reports: int,
    corpus: Path,
    out: Path | None,
    ablate: Sequence[str],
    say: Say,
) -> dict[str, Path]:
    """Run a benchmark, then the ablations of these topics -> the tables, by title.

    Raises:
        UsageError: there is no such benchmark or corpus folder.
    """
    match name:
        case "study":
            out = out or study_of(reports)
            return _run(params, STUDY, _study(seeds or _SEEDS, reports, out, say), out, "", ablate, say)
        case "trails":
            return _trails(params, seeds or 1, corpus, out or folder_of(TRAILS), ablate, say)
        case _:
            folder = Path(name)
            if not (folder / "reports").is_dir():
                raise UsageError(
                    f"--benchmark {name}: it is neither {STUDY} nor {TRAILS}, nor a corpus folder that holds reports/"
                )
            title = folder.resolve().name
            return _run(params, title, [folder] * (seeds or 1), out or folder_of(title), "", ablate, say)


def _run(
    params: Params, name: str, corpora: Sequence[Path], out: Path, title: str, ablate: Sequence[str], say: Say
) -> dict[str, Path]:
    tables = {title: benchmark.run(params, name, corpora, out, say=say)}
    if ablate:
        tables[f"{title} ablations".strip()] = ablations.run(
            params, name, corpora, out, topics=ablate, say=say
        )
    return tables


def _study(seeds: int, reports: int, out: Path, say: Say) -> list[Path]:
    """The made-up worlds of the seeds 0, 1, ..."""
    from threatwalk.emulator.corpus import generator_hash, write
    from threatwalk.emulator.world import make_world

    worlds = []
    for seed in range(seeds):
        world = out / f"seed-{seed}" / "world"
        worlds.append(world)
        wanted = {"seed": seed, "generator": generator_hash(), "reports": reports}
        if (world / "world.json").is_file():
            made = json.loads((world / "world.json").read_text(encoding="utf-8"))
            if all(made.get(name) == value for name, value in wanted.items()):
                continue
        say(f"seed {seed}: world of {reports:,} reports")
        write(make_world(seed, reports), world)
    return worlds


def _trails(
    params: Params, seeds: int, corpus: Path, out: Path, ablate: Sequence[str], say: Say
) -> dict[str, Path]:
    """Public reports and tweets with the settings of `threatwalk real`, in pairs: as it is, and with its variants."""
    from threatwalk.demo.real import CAUTIONS, VALUES, VARIANTS, feeds

    if not (corpus / "reports").is_dir():
        raise UsageError(
            f"{corpus} holds no folder reports/: say with --corpus where reports and public trails lie"
        )
    values: dict[str, Any] = {**VALUES, "feeds": feeds(corpus)}
    collected = _collected(changed(params, values), corpus, out, say)
    results: dict[str, Path] = {}
    for variant, more in {"as_it_is": {}, "merged": VARIANTS["merged"]}.items():
        title = f"{TRAILS}, {variant}"
        say(title)
        varied = changed(params, {**values, **more})
        results |= _run(varied, TRAILS, [collected] * seeds, out / variant, title, ablate, say)
    for caution in CAUTIONS:
        say(f"note: {caution}")
    return results


def _collected(params: Params, corpus: Path, out: Path, say: Say) -> Path:
    """The corpus folder that collect, archive import-trails and snapshot make of public files; made once."""
    from threatwalk.archive.importing import import_answers
    from threatwalk.archive.snapshot import snapshot
    from threatwalk.archive.store import Archive
    from threatwalk.archive.trails import import_trails
    from threatwalk.learning.implied import WARNINGLISTS, copy_lists
    from threatwalk.sources import catalog

    made = out / "corpus"
    if made.is_dir():
        say(f"{TRAILS}: {made} was made before")
        return made
    home = out / "home"
    home.mkdir(parents=True, exist_ok=True)
    for feed in params.feeds:
        say(f"{TRAILS}: collecting {feed.name}")
        _sync(feed, home)
    archive = Archive.open(f"sqlite:///{home / 'threatwalk.db'}")
    if (corpus / "answers").is_dir():
        import_answers(archive, corpus, say)
    import_trails(archive, corpus, say)
    copy_lists(corpus / WARNINGLISTS, home / WARNINGLISTS)
    written = snapshot(archive, catalog.readers(), home, made, params.gate.max_pivots)
    say(f"{TRAILS}: {written.reports:,} report files, {written.rows:,} rows of answers")
    return made


def _sync(feed: Feed, home: Path) -> None:
    from threatwalk.reports.feed import sync

    settings = Settings(home, "", {}, offline=True)
    asyncio.run(sync(feed, reports=settings.reports, quarantined=settings.quarantine, url=feed.url, key=None))
