"""A world of a few answers, and questions to one route of the emulator without HTTP between."""

from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from threatwalk.emulator.http import Reply, Request, Route
from threatwalk.sample import Sample, parse

KEY = "emulated"
BASIC = {"authorization": f"Basic {b64encode(f'{KEY}:{KEY}'.encode()).decode()}"}


@dataclass(frozen=True)
class Seen:
    sample: Sample
    first_seen: datetime | None = datetime(2026, 8, 22, tzinfo=UTC)
    last_seen: datetime | None = datetime(2026, 9, 28, tzinfo=UTC)


@dataclass(frozen=True)
class Few:
    """What every source answers, by sample."""

    answers: dict[Sample, Sequence[Seen]]

    def answer(self, source: str, sample: Sample) -> Sequence[Seen]:
        return self.answers.get(sample, ())

    def samples(self) -> Iterable[Sample]:
        return self.answers

    def knows(self, sample: Sample) -> bool:
        return sample in self.answers


def few(answers: dict[str, Iterable[str]]) -> Few:
    """A world from texts KIND:VALUE."""
    return Few({parse(asked): [Seen(parse(text)) for text in found] for asked, found in answers.items()})


NAMES = [f"domain:example-{i}.net" for i in range(40)]
HASHES = ["md5:d41d8cd98f00b204e9800998ecf8427e", "md5:0cc175b9c0f1b6a831c399e269772661"]
WORLD = few(
    {
        "domain:example.org": ["ipv4:198.51.100.7", "hostname:www.example.org", *NAMES, *HASHES],
        "ipv4:198.51.100.7": ["domain:example.org", *NAMES, *HASHES],
    }
)


def ask(
    route: Route,
    path: str,
    query: dict[str, str] | None = None,
    *,
    headers: dict[str, str] | None = None,
    body: bytes | None = None,
) -> Reply:
    method = "GET" if body is None else "POST"
    base = "http://127.0.0.1:1/source"
    return route(Request(method, path, query or {}, BASIC if headers is None else headers, base, body or b""))
