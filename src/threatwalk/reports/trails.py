"""Public pivot trails: TweetFeed's daily tables (a tweet is a report) and Maltrail's cited blocks of hosts.

TweetFeed (https://github.com/0xDanielLopez/TweetFeed): CSV lines of date, author, kind, value, tags, tweet.
Maltrail (https://github.com/stamparm/maltrail): `# Reference:` lines, then the hosts that they speak of.
"""

import csv
import io
import lzma
import re
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from threatwalk.errors import DocumentError, SampleError
from threatwalk.reports.report import Rejected, Report
from threatwalk.sample import Kind, Sample, host, sample

SOURCE = "tweetfeed"
_XZ = b"\xfd7zXZ\x00"
OLDER = "older.tar.xz"
MAX_DAY_BYTES = 64_000_000  # of one day's table; the largest real one has half a megabyte

MAX_UNPACKED_BYTES = 512_000_000  # of all tables together; those of five real years have a hundred megabytes

_KINDS = {
    "url": Kind.URL,
    "domain": Kind.DOMAIN,
    "md5": Kind.MD5,
    "sha1": Kind.SHA1,
    "sha256": Kind.SHA256,
}
_FIRST_LINE = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,[^,\r\n]*,(?:url|ip|domain|md5|sha1|sha256),")
_DAY = re.compile(r"\d{8}\.csv")
_TWEET = re.compile(r"https?://(?:www\.|mobile\.)?(?:twitter|x)\.com/(\w{1,20})/status(?:es)?/(\d{1,20})")
_SNOWFLAKE_EPOCH_MS = 1_288_834_974_657  # tweet ids count milliseconds from here, above 22 low bits
_FIRST_SNOWFLAKE = 29_700_859_247
_REFERENCE = re.compile(r"#\s*Ref\w*\s*:\s*(\S+)(.*)")
_SCHEME = re.compile(r"[a-z]+://", re.IGNORECASE)


def recognises(head: bytes) -> bool:
    """Whether a file that begins so is a day of TweetFeed, or may be a packed folder of days."""
    return head.startswith(_XZ) or _FIRST_LINE.match(head.removeprefix(b"\xef\xbb\xbf")) is not None


def is_lookups(document: Any) -> bool:
    """Whether a JSON value is one of TweetFeed's tables of look-ups, or their list: answers, no report."""
    if not isinstance(document, dict):
        return False
    return document.keys() == {"count", "entries"} or {"scheme", "shards", "total"} <= document.keys()


def read(path: Path) -> Iterator[Report]:
    """The tweets of one day, or of every day in a tar.xz file, each a report; raises as `parse` does."""
    with path.open("rb") as file:
        yield from _any(file, path.name)


def parse(data: bytes, *, path: str) -> Iterator[Report]:
    """The same for a document that is in memory.

    Raises:
        DocumentError: it is no table of tweets, or a broken tar.xz file.
    """
    yield from _any(io.BytesIO(data), path)


def tweets(folder: Path) -> Iterator[Report]:
    """Every tweet below a folder: those of OLDER first (read as a stream, never unpacked), then the CSV files.

    Raises:
        DocumentError: a table or the tar file is broken.
    """
    for packed in sorted(folder.rglob(OLDER)):
        yield from read(packed)
    for path in sorted(folder.rglob("*.csv")):
        if _DAY.fullmatch(path.name):
            yield from read(path)


def tweet(url: str) -> str | None:
    """The one form of a tweet's address, whichever of its hosts was cited; None: it is no tweet."""
    match = _TWEET.match(url)
    return f"https://x.com/{match[1].lower()}/status/{match[2]}" if match else None


def tweeted_at(url: str) -> datetime | None:
    """When a tweet was sent, as its number tells; None where it is older than such numbers, or no tweet."""
    match = _TWEET.match(url)
    if not match or int(match[2]) < _FIRST_SNOWFLAKE or int(match[2]) >= 1 << 63:
        return None
    return datetime.fromtimestamp(((int(match[2]) >> 22) + _SNOWFLAKE_EPOCH_MS) / 1000, UTC)


def _any(content: BinaryIO, where: str) -> Iterator[Report]:
    packed = content.read(len(_XZ)) == _XZ
    content.seek(0)
    yield from _packed(content, where) if packed else _day(content, where)


def _packed(content: BinaryIO, where: str) -> Iterator[Report]:
    """The days inside a tar file. Nothing is written, so a member's path can lead nowhere."""
    try:
        with _Unpacked(content, where) as plain, tarfile.open(fileobj=plain, mode="r|") as tar:
            for member in tar:
                name = PurePosixPath(member.name).name
                table = tar.extractfile(member) if member.isreg() and _DAY.fullmatch(name) else None
                if table is None:
                    continue
                if member.size > MAX_DAY_BYTES:
                    raise DocumentError(
                        f"{where}: {name} has {member.size:,} bytes, too many for a day of tweets"
                    )
                yield from _day(io.BytesIO(table.read()), f"{where}/{name}")
    except (tarfile.TarError, lzma.LZMAError, EOFError) as err:
        raise DocumentError(f"{where} is no tar.xz file, or a broken one: {err}") from err


class _Unpacked(lzma.LZMAFile):
    """What a file unpacks to, up to the limit: a few kilobytes may unpack to anything."""

    def __init__(self, content: BinaryIO, where: str) -> None:
        super().__init__(content)
        self._where, self._left = where, MAX_UNPACKED_BYTES

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self._left -= len(data)
        if self._left < 0:
            raise DocumentError(
                f"{self._where} unpacks to more than {MAX_UNPACKED_BYTES:,} bytes, too many for days of tweets"
            )
        return data


@dataclass(slots=True)
class _Tweet:
    author: str
    published: date
    found: set[Sample] = field(default_factory=set)
    rejected: list[Rejected] = field(default_factory=list)


def _day(content: BinaryIO, where: str) -> Iterator[Report]:
    found: dict[str, _Tweet] = {}
    with io.TextIOWrapper(content, encoding="utf-8-sig", newline="") as text:
        try:
            for number, row in enumerate(csv.reader(text), 1):
                if len(row) != 6 or not row[0].startswith("20"):
                    raise DocumentError(f"{where}, line {number}: no line of TweetFeed")
                sent, author, kind, value, _tags, url = row
                key = tweet(url) or f"{author}, {sent}"  # a few addresses are cut short
                one = found.get(key)
                if one is None:
                    one = found[key] = _Tweet(author, date.fromisoformat(sent[:10]))
                try:
                    one.found.add(host(value) if kind == "ip" else sample(_KINDS[kind], value))
                except SampleError as err:
                    one.rejected.append(Rejected(value, str(err)))
                except KeyError:
                    one.rejected.append(Rejected(value, f"no kind is called {kind!r}"))
        except (csv.Error, UnicodeDecodeError, ValueError) as err:
            raise DocumentError(f"{where} is no table of tweets: {err}") from err
    for key, one in found.items():
        yield Report(
            key,
            f"{one.author}, {one.published}",
            one.published,
            frozenset(one.found),
            source=SOURCE,
            path=where,
            rejected=tuple(one.rejected),
            publisher=one.author,
            form="tweets",
        )


@dataclass(frozen=True, slots=True)
class Block:
    """One block of a Maltrail file: the references above it, with the rest of their lines, and its trails."""

    references: tuple[tuple[str, str], ...]
    trails: tuple[str, ...]

    def hosts(self) -> frozenset[Sample]:
        """The block's trails as samples. Bare paths and wild cards name no host and are left out."""
        return frozenset(filter(None, map(trail, self.trails)))


def blocks(lines: Iterable[str]) -> Iterator[Block]:
    """The cited blocks of a Maltrail file. A comment after hosts ends a block."""
    references: list[tuple[str, str]] = []
    hosts: list[str] = []
    for raw in lines:
        line = raw.strip()
        if not line.startswith("#"):
            if line:
                hosts.append(line)
            continue
        if hosts:
            if references:
                yield Block(tuple(references), tuple(hosts))
            references, hosts = [], []
        cited = _REFERENCE.match(line)
        if cited:
            references.append((cited[1], cited[2].strip()))
    if references and hosts:
        yield Block(tuple(references), tuple(hosts))


def trail(text: str) -> Sample | None:
    """The sample of one Maltrail line: a URL, a host or address (its port is dropped), host and path; else None."""
    line = text.partition(" ")[0]
    try:
        if _SCHEME.match(line):
            return sample(Kind.URL, line)
        name, slash, _ = line.partition("/")
        if slash:
            return sample(Kind.URL, f"http://{line}") if name else None
        return host(name.partition(":")[0] if name.count(":") == 1 else name)
    except SampleError:
        return None
