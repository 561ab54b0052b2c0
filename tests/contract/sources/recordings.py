"""Recorded answers of the sources, read in place from the shared data folder."""

from collections.abc import Iterator
from pathlib import Path

from threatwalk.sample import Sample, parse
from threatwalk.sources import catalog

ELSEWHERE = parse("ipv4:203.0.113.9")  # a sample that no recording is about


def bodies(shared: Path, provider: str) -> Iterator[tuple[str, str]]:
    """Name and text of every recorded body of a provider."""
    for path in sorted((shared / "data" / "providers" / provider).iterdir()):
        if path.name != "SOURCES.md" and not path.name.endswith(".meta.json"):
            yield path.name, text(path)


def text(path: Path) -> str:
    data = path.read_bytes()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def found(name: str, sample: str, raw: str) -> set[str]:
    """What the source's reader finds in a raw answer about a sample, written KIND:VALUE."""
    return {str(pivot.found) for pivot in pivots(name, parse(sample), raw)}


def pivots(name: str, sample: Sample, raw: str) -> list:
    made = list(catalog.readers()[name](sample, raw))
    assert all(pivot.origin == sample and pivot.filter == name and pivot.found != sample for pivot in made)
    return made
