"""Public pivot trails into the archive: each lookup page that an analyst cited is an answer of that source.

Maltrail's references name pages of VirusTotal, ThreatCrowd, Shodan, Censys, Open Threat Exchange and of
passive DNS services; the hosts below them are what the analyst found there. TweetFeed looked up the hosts
of its tweets in DNS and WHOIS itself (`domainmeta`, `ipmeta`).
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from threatwalk.archive import rows
from threatwalk.archive.importing import Imported, Progress
from threatwalk.archive.store import Archive, Entry, Stored
from threatwalk.errors import DataError, SampleError
from threatwalk.pivot import Outcome
from threatwalk.reports.trails import Block, blocks, tweet, tweeted_at
from threatwalk.sample import HASH_LENGTHS, Kind, Sample, SampleSet, host, parse, registered_domain, sample

_META = {"domainmeta", "ipmeta"}
_STATUS = re.compile(r"\.com/\w{1,20}/status/\d{1,20}")
Read = Callable[[Path], Iterator[Entry]]
_DAY_NOTE = re.compile(r"\b(20\d\d)-(\d\d)-(\d\d)\b")


def import_trails(archive: Archive, folder: Path, progress: Progress) -> Imported:
    """Import Maltrail's files and TweetFeed's look-up tables from wherever they lie below a folder.

    Raises:
        DataError: the folder holds neither, or a table is broken; what came before it is kept.
        StoreError: the archive cannot be written.
    """
    sources = _sources(folder)
    if not sources:
        raise DataError(f"{folder} holds neither Maltrail's trails nor TweetFeed's domainmeta or ipmeta")
    done = Imported()
    for title, files, read in sources:
        before = done.answers
        for number, path in enumerate(files, 1):
            entries = list(read(path))
            done.answers += len(entries)
            done.new += archive.put_all(entries)
            if number % 500 == 0:
                progress(f"{title}: {number:,} of {len(files):,} files, {done.answers - before:,} answers")
        progress(f"{title}: {len(files):,} files, {done.answers - before:,} answers")
    return done


def _sources(folder: Path) -> list[tuple[str, list[Path], Read]]:
    static = sorted(path for path in folder.rglob("trails/static") if path.is_dir())
    found: list[tuple[str, list[Path], Read]] = []
    for path in static:
        files = sorted(path.rglob("*.txt"))
        found.append(("maltrail", files, partial(cited_answers, newest=_newest(files))))
    for name, read in (("domainmeta", host_answers), ("ipmeta", address_answers)):
        tables = [sorted(path.glob("*.json")) for path in sorted(folder.rglob(name)) if path.is_dir()]
        found += [(f"tweetfeed {name}", files, read) for files in tables]
    return found


def cited_answers(path: Path, newest: datetime | None = None) -> Iterator[Entry]:
    """The answers that a Maltrail file cites.

    A pivot's reference is what its block reports besides lookups: its tweets (parted by spaces where
    there are several), else its first other page, else the lookup page itself. The answer is as old as
    the newest tweet of its block, or a date noted beside the reference; else nobody knows.

    So that no audit takes an undated block for an old one, its pivots count as seen when the next dated
    block of the file was (files grow at their end), or at `newest`.
    """
    with path.open(encoding="utf-8", errors="replace") as file:
        cited = list(blocks(file))
    seen = newest
    answers: list[Entry] = []
    for block in reversed(cited):
        when = _dated(block)
        seen = when or seen
        questions = [(question, url) for url, _ in block.references if (question := lookup(url))]
        hosts = block.hosts() if questions else frozenset()
        told = _told(block)
        for question, url in reversed(questions):
            if hosts - {question[1]}:
                answers.append(_entry(*question, hosts, told or url, when, seen))
    yield from reversed(answers)


def _entry(
    name: str, origin: Sample, hosts: SampleSet, reference: str, when: datetime | None, seen: datetime | None
) -> Entry:
    found = ((one.kind.value, one.value, rows.us(seen), None, reference) for one in hosts if one != origin)
    return Entry(name, origin, Stored(rows.dump(found), Outcome.FOUND, when, "rows"))


def _newest(files: Iterable[Path]) -> datetime | None:
    """When the newest tweet was sent that any of the files cites."""
    cited = (set(_STATUS.findall(path.read_text(encoding="utf-8", errors="replace"))) for path in files)
    return max(filter(None, (tweeted_at("https://x" + url) for urls in cited for url in urls)), default=None)


def _dated(block: Block) -> datetime | None:
    dates = [tweeted_at(url) for url, _ in block.references] + [_noted(note) for _, note in block.references]
    return max(filter(None, dates), default=None)


def _told(block: Block) -> str | None:
    others = [url for url, _ in block.references if lookup(url) is None]
    tweets = sorted(set(filter(None, map(tweet, others))))
    return " ".join(tweets) or next(iter(others), None)


def _noted(note: str) -> datetime | None:
    day = _DAY_NOTE.search(note)
    try:
        return datetime(int(day[1]), int(day[2]), int(day[3]), tzinfo=UTC) if day else None
    except ValueError:
        return None


@lru_cache(maxsize=4096)
def lookup(url: str) -> tuple[str, Sample] | None:
    """The (filter, sample) that a cited page looked up; None where it is no page of a lookup."""
    try:
        parts = urlsplit(url)
        name = (parts.hostname or "").removeprefix("www.")
        read = _PAGES.get(name)
        return (
            read(parts.path + ("/" + parts.fragment if parts.fragment else ""), parts.query) if read else None
        )
    except (SampleError, ValueError):
        return None


def _virustotal(path: str, _query: str) -> tuple[str, Sample] | None:
    page = re.search(r"/(file|ip-address|domain)/([^/?#]+)", path)
    return ("virustotal", _named(page[1], page[2])) if page else None


def _otx(path: str, _query: str) -> tuple[str, Sample] | None:
    page = re.search(r"/indicator/(file|ip|domain|hostname)/([^/?#]+)", path)
    return ("otx", _named(page[1], page[2])) if page else None


def _threatcrowd(_path: str, query: str) -> tuple[str, Sample] | None:
    asked = parse_qs(query)
    for key in ("md5", "domain", "ip"):
        if key in asked:
            return "threatcrowd", _named("file" if key == "md5" else key, asked[key][0])
    return None


def _validin(_path: str, query: str) -> tuple[str, Sample] | None:
    asked = parse_qs(query)
    if "find" not in asked or asked.get("type", ["ip"])[0] not in {"ip", "ip4", "ip6", "dom"}:
        return None
    return "passivetotal", host(asked["find"][0])


def _shodan(path: str, _query: str) -> tuple[str, Sample] | None:
    page = re.match(r"/host/([^/?#]+)", path)
    return ("shodan", _named("ip", page[1])) if page else None


def _censys(path: str, _query: str) -> tuple[str, Sample] | None:
    page = re.match(r"/(?:hosts|ipv4)/([^/?#]+)", path)
    return ("censys", _named("ip", page[1])) if page else None


def _riskiq(path: str, _query: str) -> tuple[str, Sample] | None:
    page = re.match(r"/search/([^/?#]+)/?\Z", path)
    return ("passivetotal", host(unquote(page[1]))) if page else None


_PAGES: dict[str, Callable[[str, str], tuple[str, Sample] | None]] = {
    "virustotal.com": _virustotal,
    "otx.alienvault.com": _otx,
    "threatcrowd.org": _threatcrowd,
    "app.validin.com": _validin,
    "shodan.io": _shodan,
    "beta.shodan.io": _shodan,
    "search.censys.io": _censys,
    "platform.censys.io": _censys,
    "censys.io": _censys,
    "community.riskiq.com": _riskiq,
}


def _named(what: str, text: str) -> Sample:
    if what == "file":
        kind = HASH_LENGTHS.get(len(text))
        if kind is None:
            raise SampleError(f"{text[:80]!r} is no hash")
        return sample(kind, text)
    return host(unquote(text))


def host_answers(path: Path) -> Iterator[Entry]:
    """TweetFeed's look-ups of hosts: addresses are answers of dns, name servers answers of whois.

    A list that is null was not asked for, unless the status says that there is no such name.
    """
    for text, entry in _table(path):
        try:
            asked = parse("http://" + text if "/" in text or ":" in text else text)
            one = host(urlsplit(asked.value).hostname or "") if asked.kind is Kind.URL else asked
        except (SampleError, ValueError):
            continue
        when = _checked(entry.get("checked_at"))
        absent = entry.get("status") == "nxdomain"
        if one.kind not in {Kind.DOMAIN, Kind.HOSTNAME}:
            continue
        yield from _looked_up("dns", {one}, entry.get("ips"), absent, when)
        apex = host(registered_domain(one.value))
        yield from _looked_up("whois", {one, apex}, entry.get("ns"), absent, when)


def address_answers(path: Path) -> Iterator[Entry]:
    """TweetFeed's look-ups of addresses: the registry was asked and named no sample."""
    for text, entry in _table(path):
        try:
            yield from _looked_up("whois", {host(text)}, [], True, _checked(entry.get("fetched_at")))
        except SampleError:
            continue


def _looked_up(
    name: str, about: set[Sample], found: list[str] | None, absent: bool, when: datetime | None
) -> Iterator[Entry]:
    if found is None and not absent:
        return
    samples = set(_hosts(found or []))
    for one in sorted(about):
        others = [(s.kind.value, s.value, None, None, None) for s in samples if s != one]
        if not others and found:
            continue  # what it named is no sample, and that is not the same as nothing
        yield Entry(
            name, one, Stored(rows.dump(others), Outcome.FOUND if others else Outcome.EMPTY, when, "rows")
        )


def _hosts(texts: Iterable[str]) -> Iterator[Sample]:
    for text in texts:
        try:
            yield host(str(text))
        except SampleError:
            continue


def _table(path: Path) -> list[tuple[str, dict[str, Any]]]:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        entries: dict[str, dict[str, Any]] = table.get("entries", {})  # meta.json has none
        return sorted(entries.items())
    except (ValueError, AttributeError) as err:
        raise DataError(f"{path} is no table of TweetFeed: {err}") from err


def _checked(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
