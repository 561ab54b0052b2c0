"""S3: what is found in text is found in time that grows with the text alone; what is defanged comes back."""

import gc
import os
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import product
from statistics import median
from time import thread_time

import pytest
from tests.trust.conftest import Trust
from tests.trust.redos import texts

from threatwalk.errors import DocumentError, SampleError
from threatwalk.reports import marking, reference, scan, tables, text
from threatwalk.reports.read import parse
from threatwalk.sample import Kind, Sample, host, refang, sample

PROPERTY = "extraction takes linear time, and refangs what was defanged"
FIGURE = ">= 150 texts: linear, <= 1 ms per KB; round trip 100 %"
MS_PER_KB = 1.0
GROWTH = 4.0  # of the time per KB, where a text becomes 16 times as long
_NOISE = 0.05  # ms per KB below which growth is noise
_MORE = 20  # turns at most, where the first did not do


def _document(name: str) -> Callable[[str], object]:
    return lambda content: list(parse(content.encode(), path=name))


def _table(content: str) -> object:
    rows = tables.recognise(content, named=True)
    return rows and tables.read(rows, content, path="a.csv")


_LATIN = b'<html><meta charset="iso-8859-1">'  # what is written in UTF-8 becomes letters that nobody meant

READERS: dict[str, Callable[[str], object]] = {
    "scan": scan.scan,
    "text": lambda content: text.read(content, path="a.txt"),
    "table": _table,
    "page": lambda content: list(parse(f"<html>{content}".encode(), path="a.html")),
    "latin page": lambda content: list(parse(_LATIN + content.encode(), path="a.html")),
    "markdown": _document("a.md"),
    "references": reference.split,
    "refang": refang,
    "tags": lambda content: [
        (marking.tlp(tag), marking.campaign([tag])) for tag in _cut(f"campaign:{content}", 290)
    ],
}


def _cut(content: str, size: int) -> Iterable[str]:
    return (content[at : at + size] for at in range(0, len(content), size))


def ms_per_kb(read: Callable[[str], object], contents: Iterable[str]) -> float:
    """The least over texts of one form and size, in time of this thread.

    What else the machine does only adds to it. Each turn has names of its own, so none is remembered of the last.
    """
    taken = []
    for content in contents:
        began = thread_time()
        with suppress(DocumentError):  # refused by type
            read(content)
        size = len(content.encode("utf-8", "surrogatepass")) / 1024
        taken.append((thread_time() - began) * 1000 / size)
    return min(taken)


@pytest.fixture
def heap() -> Iterator[None]:
    """Let the collector pass over what others left in this process."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def _corpora(sizes: tuple[int, int], turns: range) -> Iterator[tuple[str, list[str], list[str]]]:
    """Each text's name, and its texts of both sizes, one of each a turn."""
    for every in zip(*(texts(size, turn) for size in sizes for turn in turns), strict=True):
        contents = [content for _, content in every]
        yield every[0][0], contents[: len(turns)], contents[len(turns) :]


@pytest.mark.usefixtures("heap")
def test_time_grows_with_the_text_alone(trust: Trust) -> None:
    small, large, repeats = (8_192, 131_072, 3) if trust.full else (4_096, 65_536, 2)
    for read in READERS.values():
        read("evil[.]example[.]com, 203.0.113.7, a::b::1, bücher.de\n" * 4)  # what is loaded once
    worst: dict[str, float] = {}
    slow, steep, number = {}, {}, 0
    for name, short, long in _corpora((small, large), range(repeats)):
        number += 1
        every = len(READERS)
        chosen = READERS if trust.full else dict(list(READERS.items())[number % every :: every])
        for reader, read in chosen.items():
            first, last = ms_per_kb(read, short), ms_per_kb(read, long)
            for _ in range(_MORE):  # on a busy machine; what is slow by itself never comes below the figure
                if max(first, last) <= MS_PER_KB and last <= GROWTH * max(first, _NOISE):
                    break
                first, last = min(first, ms_per_kb(read, short)), min(last, ms_per_kb(read, long))
            worst[f"{reader}, {name}"] = max(first, last)
            if max(first, last) > MS_PER_KB:
                slow[f"{reader}, {name}"] = (first, last)
            if last > GROWTH * max(first, _NOISE):
                steep[f"{reader}, {name}"] = (first, last)

    slowest = max(worst, key=worst.__getitem__)
    ok = not slow and not steep and number >= 150
    value = (
        f"{number} texts by {len(READERS)} readers at {small // 1024} and {large // 1024} KB: {len(steep)} not linear, {len(slow)} over "
        f"{MS_PER_KB:.0f} ms per KB; the slowest {worst[slowest]:.2f} ({slowest}), the median {median(worst.values()):.3f}"
        f"; processor time under a load of {os.getloadavg()[0]:.1f}"
    )
    trust.record("S3", PROPERTY, value=value, figure=FIGURE, ok=ok, part="time")
    assert ok, (slow, steep)


DOTS = ("[.]", "(.)", "{.}", "[dot]", "(dot)", "{dot}", "[DOT]", "<.>", "[ . ]", "( dot )", "((.))", "[[.]]", "[.", ".]", "\u3002", "\uff0e",
        "\uff61", "\u200b.", ".\u200b", "[punkt]")  # fmt: skip
_NOT_IN_TEXT = frozenset({"\u3002", "<.>"})  # a sentence's end, and a tag's
COLONS = (":", "[:]", "(:)", "{:}")
SCHEMES = {
    "http": ("hxxp", "hXXp", "HXXP", "htxp", "h**p", "hxtp"),
    "https": ("hxxps", "hXXps", "h**ps", "htxps"),
    "ftp": ("fxp", "fxps", "fXp"),
}
NAMES = ("example.com", "a.b.example.co.uk", "www.xn--mnchen-3ya.de", "münchen.de", "例え.jp", "почта.рф", "παράδειγμα.gr", "faß.de", "a-b.example.org",
         "x1.y2.example.net", "_dmarc.example.com", "ñandú.es", "bücher.example.com")  # fmt: skip
TAILS = (
    "/",
    "/a",
    "/a/b.php?c=d&e=f",
    "/PaTh/%2e%2e/x",
    "/a?u=http://b.example/",
    ":8080/a",
    "/a.b.c",
    "?q=1",
    "/~user/+x=1",
)


def _addresses(rng: random.Random, number: int) -> Iterable[str]:
    """Public addresses: those of every network are no samples in a text."""
    for _ in range(number):
        yield ".".join(map(str, (rng.randrange(11, 127), *(rng.randrange(256) for _ in range(3)))))


def _v6(rng: random.Random, number: int) -> Iterable[str]:
    for _ in range(number):
        groups = [f"{rng.getrandbits(16):x}" for _ in range(8)]
        groups[0] = f"2{rng.getrandbits(12):03x}"
        yield ":".join(groups)


def _found(content: str) -> set[Sample]:
    got = scan.scan(content)
    return got.samples | got.links | got.names


def test_what_was_defanged_comes_back(trust: Trust) -> None:
    rng = random.Random(5)
    times = 40 if trust.full else 4
    lost: list[str] = []
    number = 0

    def check(fanged: str, expected: Sample, *, in_text: bool) -> None:
        nonlocal number
        number += 1
        try:
            back = sample(expected.kind, fanged)
        except SampleError as err:
            back = err  # type: ignore[assignment]
        if back != expected:
            lost.append(f"{fanged!a} read as {back!a}")
        if in_text:
            number += 1
            if (got := _found(f"It calls {fanged} at night.")) != {expected}:
                lost.append(f"{fanged!a} found as {got!a}")

    for dot in DOTS:
        in_text = dot not in _NOT_IN_TEXT
        for name in (*NAMES, *_addresses(rng, times)):
            one = host(name)
            last = name.rpartition(".")
            told = in_text and name[0] != "_"  # in Markdown that is emphasis
            check(name.replace(".", dot), one, in_text=told)
            check(f"{last[0]}{dot}{last[2]}", one, in_text=told)
    for (scheme, fanged), name, tail in product(
        [(plain, one) for plain, ones in SCHEMES.items() for one in ones],
        NAMES[:: 1 if trust.full else 4],
        TAILS,
    ):
        plain = "ftps" if fanged.lower() == "fxps" else scheme
        if plain == "ftps":
            continue  # no scheme of ours
        for dot, colon in product(("[.]", "(.)", "[dot]", "."), COLONS):
            url = sample(Kind.URL, f"{plain}://{name}{tail}")
            check(f"{fanged}{colon}//{name.replace('.', dot)}{tail}", url, in_text=True)
    for address in _v6(rng, 10 * times):
        one = host(address)
        for colon in ("[:]", "(:)", "{:}", ":"):
            check(address.replace(":", colon), one, in_text=True)
        check(f"hxxp://[{address}]/a", sample(Kind.URL, f"http://[{address}]/a"), in_text=False)

    ok = not lost
    value = f"{number - len(lost):,} of {number:,} defanged texts came back ({len(DOTS)} dots, {sum(map(len, SCHEMES.values()))} schemes)"
    trust.record("S3", PROPERTY, value=value, figure=FIGURE, ok=ok, part="round trip")
    assert ok, lost[:20]


@pytest.mark.parametrize(
    "steep", [lambda content: sum(map(len, (content[at:] for at in range(0, len(content), 8))))]
)
def test_a_quadratic_reader_would_be_seen(steep: Callable[[str], object]) -> None:
    assert ms_per_kb(steep, ["a" * 400_000] * 3) > GROWTH * ms_per_kb(steep, ["a" * 25_000] * 3)
