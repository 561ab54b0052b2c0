"""S7: hostile strings through the desk's pages in a real headless Chromium, through every export, and into the log."""

import asyncio
import csv
import io
import itertools
import json
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from tests.integration.conftest import missing_package
from tests.integration.desk_server import application, finish, opened, serving
from tests.trust.conftest import Trust
from tests.unit.desk.conftest import Doubts, World, walked
from tests.unit.desk.payloads import PAYLOADS
from tests.unit.desk.pdfs import pieces, read_back
from tests.unit.desk.test_analyze import Office

from threatwalk.analysis.analysis import Analysis, Question
from threatwalk.desk.actions import LONGEST_NOTE, Actions
from threatwalk.desk.export import Form, export, members
from threatwalk.desk.listing import Sought
from threatwalk.desk.pdf import MOST
from threatwalk.desk.queue import State, Wanted
from threatwalk.desk.rights import EVERYTHING, Person
from threatwalk.desk.verdicts import Decision
from threatwalk.pivot import Answer
from threatwalk.sample import Kind, Sample

pytestmark = pytest.mark.slow

PROPERTY = "hostile strings through every export and page"
FIGURE = "0 scripts run in a headless browser under CSP, 0 live links, 0 cells opening with = + - @, 0 forged log lines; ≥ 500 payloads"
WRAPPED = (
    *("{}", "a{}", '">{}', "'>{}", "</textarea>{}", "</title>{}", "</option>{}", "--></script>{}", "<b>{}"),
    *(
        "<!-- {}",
        "`{}`",
        "&{};",
        "%3c{}",
        "{{{{ {} }}}}",
        "\u202e{}",
        "{}\n{}",
        "<a href='{}'>x</a>",
        "<img src='{}'>",
    ),
)
DRESSED = ((Kind.FILENAME, ""), (Kind.URL, "http://evil.example.com/"))
FORMULA = ("=", "+", "-", "@", "\t", "\r")
HIDDEN = re.compile("[\u202a-\u202e\u2066-\u2069\u200b\ufeff\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x85\u2028\u2029]")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")  # the log's own
OUR_LINKS = re.compile(r"/(|night|compare\?[a-z0-9&=]+|indicators/[0-9]+(/report)?|\?[^#]*)\Z|#main\Z")


def payloads(shared: Path | None) -> list[str]:
    """Ours, each in several dresses, and every text that stands in the hostile documents."""
    made = [wrap.format(*[one] * wrap.count("{}")) for one, wrap in itertools.product(PAYLOADS, WRAPPED)]
    if shared is not None:
        for path in sorted((shared / "data/hostile/json").glob("*.json")):
            made += _texts(path)
        for path in sorted((shared / "data/hostile/text").iterdir()):
            made += path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()[:40]
    return list(dict.fromkeys(text[:1500] for text in made if text.strip()))


def _texts(path: Path) -> list[str]:
    try:
        left: list[Any] = [json.loads(path.read_bytes())]
    except (ValueError, RecursionError):
        return [path.read_text(encoding="utf-8", errors="surrogateescape")[:1500]]
    found: list[str] = []
    while left and len(found) < 60:
        one = left.pop()
        if isinstance(one, str):
            found.append(one)
        elif isinstance(one, dict):
            left += [*one, *one.values()]
        elif isinstance(one, list):
            left += one
    return found


@pytest.fixture(scope="module")
def hostile(request: pytest.FixtureRequest) -> list[str]:
    try:
        shared = request.getfixturevalue("shared")
    except pytest.skip.Exception:
        shared = None
    return payloads(shared)


@pytest.fixture(scope="module")
def desk(hostile: list[str], tmp_path_factory: pytest.TempPathFactory) -> Actions:
    """Payloads as indicators, notes, people, workers, runs, samples, reasons, and what sources say."""
    made = opened(tmp_path_factory.mktemp("hostile"))
    storable = [text.encode("utf-8", "replace").decode() for text in hostile]
    notes = [text.replace("\0", "")[:LONGEST_NOTE] for text in storable]
    for at in range(0, len(storable), 100):
        wanted = [Wanted(Sample(Kind.FILENAME, s), note=n) for s, n in zip(storable, notes, strict=True)]
        made.add(Person(notes[at][:150], EVERYTHING), wanted[at : at + 100])
    for claimed in made.queue.claim(40, "worker", 600):
        made.queue.fail(claimed.id, "worker", notes[-claimed.id])
    made.queue.claim(20, notes[1][:150], 600)
    for number in made.listing.page(Sought(state=State.QUEUED), limit=20):
        made.change(Person(notes[2][:150], EVERYTHING), number.id, {"note": notes[number.id % 50]})
    return made


@pytest.fixture(scope="module")
def results(desk: Actions, hostile: list[str]) -> list[int]:
    """Two runs of one indicator, of which nothing is harmless; their numbers."""
    samples = [Sample(Kind.FILENAME, text) for text in hostile]
    samples += [Sample(Kind.URL, "http://evil.example.com/" + text) for text in hostile]
    numbers = []
    for seed in (4, 5):
        analysis = _finished(walked(World(seed, samples), Doubts(), budget=600, steps=5))
        number = finish(desk, _worse(analysis, hostile), note=hostile[0], run=hostile[seed][:150])
        storable = [s for s in analysis.samples[1:] if not any("\ud800" <= c <= "\udfff" for c in s.value)]
        for at, s in enumerate(storable[:100]):
            why = hostile[at].encode("utf-8", "replace").decode().replace("\0", "")
            decision = (Decision.ACCEPTED, Decision.REJECTED)[at % 2]
            desk.verdicts.write(number, [s], decision, who=hostile[at % 9][:150], why=why)
        numbers.append(number)
    return numbers


def _finished(walk: Any) -> Analysis:
    """In a thread of its own: Playwright keeps this one's event loop running."""
    with ThreadPoolExecutor(1) as pool:
        done: Analysis = pool.submit(asyncio.run, walk).result()
    return done


def _worse(analysis: Analysis, hostile: list[str]) -> Analysis:
    """The same walk, with payloads wherever a source, a list or a registry may say anything."""
    texts = itertools.cycle(hostile)

    def question(q: Question) -> Question:
        pivots = tuple(p._replace(reference=next(texts)) for p in q.answer.pivots)
        return replace(q, answer=replace(q.answer, pivots=pivots, reason=next(texts)))

    steps = tuple(replace(s, questions=tuple(map(question, s.questions))) for s in analysis.steps)
    benign = tuple((s, next(texts)) for s in analysis.samples[3:30])
    held_back = tuple((name, next(texts)) for name in ("dns", "otx"))
    return replace(analysis, steps=steps, benign=benign, held_back=held_back, model=next(texts))


class Visitor:
    """A tab of Chromium, logged in; what it saw that it should not have."""

    def __init__(self, context: Any, root: str) -> None:
        self._root = root
        self._tab = context.new_page()
        self.wrong: list[str] = []
        self.seen = 0
        self._tab.on(
            "dialog", lambda dialog: (self.wrong.append(f"dialog {dialog.message}"), dialog.dismiss())
        )
        self._tab.on("pageerror", lambda error: self.wrong.append(f"error {error}"))
        self._tab.on("console", self._heard)
        self._tab.on("request", self._asked)

    def _heard(self, message: Any) -> None:
        if "the server responded with a status of 4" not in message.text:
            self.wrong.append(f"console {message.text}")

    def _asked(self, request: Any) -> None:
        if not request.url.startswith(self._root + "/"):
            self.wrong.append(f"request {request.url}")

    def go(self, path: str) -> Any:
        self._tab.goto(self._root + path)
        self.look(path)
        return self._tab

    def look(self, where: str) -> None:
        """Whatever a payload could have made of a page and its frames."""
        self.seen += 1
        for frame in self._tab.frames:
            facts = frame.evaluate(LOOK)
            strange = [link for link in facts["links"] if not OUR_LINKS.match(self._path(link))]
            bad = {**facts, "links": strange, "title": facts["title"] in {"owned", "1"}}
            self.wrong += [f"{where}: {name} {value}" for name, value in bad.items() if value]

    def _path(self, link: str) -> str:
        place = urlsplit(link)
        at_home = not place.netloc or link.startswith(self._root + "/")
        return (place.path + ("?" + place.query if place.query else "")) or link if at_home else link


LOOK = """() => {
  const report = document.getElementById("walk") !== null;
  const all = [...document.querySelectorAll("*")];
  return {
    title: document.title,
    links: report ? [...document.querySelectorAll("a")].map((a) => a.getAttribute("href")).filter((h) => !h.startsWith("#"))
                  : [...document.querySelectorAll("a, area, form")].map((a) => a.getAttribute(a.tagName === "FORM" ? "x-none" : "href") ?? "/"),
    scripts: all.filter((e) => e.tagName === "SCRIPT" && !report && !e.src.endsWith("/assets/desk.js")).length,
    handlers: all.flatMap((e) => [...e.attributes]).filter((a) => /^on/i.test(a.name)).length,
    embedded: all.filter((e) => /^(IMG|OBJECT|EMBED|BASE|VIDEO|AUDIO|LINK|META|IFRAME|STYLE)$/.test(e.tagName) && !(
      (e.tagName === "LINK" && /assets/.test(e.href)) || e.tagName === "META" || (e.tagName === "STYLE" && report)
      || (e.tagName === "IFRAME" && e.className === "report"))).length + document.querySelectorAll("meta[http-equiv=refresh]").length,
    hidden: (document.body.innerText.match(/[\u202a-\u202e\u2066-\u2069\u200b-\u200f\ufeff\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/g) || []).map((c) => c.codePointAt(0).toString(16)),
  };
}"""


@pytest.fixture(scope="module")
def visitor(desk: Actions, results: list[int]) -> Iterator[Visitor]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        missing_package("Chromium")
    from playwright.sync_api import sync_playwright

    with serving(application(desk)) as root, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = browser.new_context()
        context.add_cookies([{"name": "who", "value": "chief", "url": root}])
        yield Visitor(context, root)
        browser.close()


def test_no_payload_runs_or_becomes_a_link_on_any_page(
    trust: Trust, visitor: Visitor, desk: Actions, results: list[int], hostile: list[str]
) -> None:
    rows = desk.listing.page(Sought(), limit=10_000)
    step = max(1, len(rows) // (150 if trust.full else 25))
    for before in [None, *(one.id for one in rows[99::100])]:
        visitor.go(f"/?before={before}" if before else "/")
    for one in rows[::step]:
        visitor.go(f"/indicators/{one.id}")
    first, second = results
    for path in (
        "/night",
        f"/indicators/{first}",
        f"/indicators/{second}/report",
        f"/indicators/{second}/page",
        f"/compare?first={first}&second={second}",
        "/<script>document.title='owned'</script>",
        "/?state=<script>document.title='owned'</script>",
    ):
        visitor.go(path)
    for text in hostile[:: 5 if trust.full else 25]:
        visitor.go("/?" + urlencode({"text": text.encode("utf-8", "replace")[:400], "run": '"><b>'}))

    value = f"{len(hostile)} payloads on {visitor.seen} pages, {len(visitor.wrong)} did anything"
    ok = len(hostile) >= 500 and not visitor.wrong
    trust.record("S7", PROPERTY, value=value, figure=FIGURE, ok=ok, part="the desk's pages")
    assert visitor.wrong == []
    assert len(hostile) >= 500


def test_what_is_typed_comes_back_as_text(visitor: Visitor, hostile: list[str]) -> None:
    lines = [" ".join(text.split())[:200] for text in hostile][:490]
    tab = visitor.go("/")
    tab.locator("#list").fill("\n".join(lines).replace("\0", "").encode("utf-8", "replace").decode())
    tab.wait_for_selector("#preview li")
    visitor.look("the preview")
    tab.locator("input[name=note]").first.fill(hostile[3])
    tab.locator("button.main").first.click()
    tab.wait_for_selector("[role=alert]")
    visitor.look("the form that came back")

    assert visitor.wrong == []


def test_an_injected_script_would_be_refused(visitor: Visitor) -> None:
    tab = visitor.go("/")
    said: list[str] = []
    tab.on("console", lambda message: said.append(message.text))
    tab.evaluate(
        "document.querySelector('main').insertAdjacentHTML('beforeend', '<img src=x onerror=\"document.title=`owned`\">')"
    )
    tab.evaluate(
        "s = document.createElement('script'); s.textContent = 'document.title = `owned`'; document.body.append(s)"
    )
    tab.wait_for_timeout(200)

    assert tab.title() != "owned"
    assert sum("Content Security Policy" in text for text in said) >= 2


def test_no_payload_is_a_formula_a_link_or_a_line_in_any_export(
    trust: Trust, desk: Actions, results: list[int], hostile: list[str]
) -> None:
    wrong: list[str] = []
    papers: list[bytes] = []
    for number in results:
        analysis, some = desk.members(number, 0.0)
        files = {form: export(form, analysis, some, dial=0.0, author=hostile[1]) for form in Form}
        shown = {form: data.decode() for form, data in files.items() if form is not Form.PDF}
        for live in (False, True):
            text = export(Form.CSV, analysis, some, dial=0.0, author="CERT", live=live).decode()
            table = list(csv.reader(io.StringIO(text, newline="")))
            wrong += [f"formula {cell[:40]}" for row in table for cell in row if cell[:1] in FORMULA and cell]
            wrong += ["rows"] if len(table) != 1 + len(some) else []
        for form in (Form.CSV, Form.TEXT):
            wrong += [
                f"link in {form}: {link}" for link in re.findall(r"https?://.{9}", shown[form], re.IGNORECASE)
            ]
            wrong += [f"hidden in {form}: {c!r}" for c in HIDDEN.findall(shown[form])]
        listed = [line for line in shown[Form.BLOCKLIST].splitlines() if not line.startswith("#")]
        values = {m.sample.value for m in some if m.good}
        wrong += [f"line {line[:40]}" for line in listed if line not in values]
        for form in (Form.MISP, Form.STIX):
            json.loads(shown[form])
            wrong += [f"not ASCII in {form}"] if not shown[form].isascii() else []
        papers.append(files[Form.PDF])
    step = 1 if trust.full else 8
    kept = [Sample(kind, start + text) for kind, start in DRESSED for text in hostile[::step]]
    large = replace(analysis, samples=(analysis.trailhead, *kept), beliefs=tuple((s, 1.0) for s in kept))
    some = [m for m in members(large, {}, dial=0.0, benign=lambda _: None) if m.good]
    assert len(some) >= len(kept) - 60  # `_worse` calls a few harmless
    for at in range(0, len(some), MOST):  # so many stand in one
        data = export(Form.PDF, large, some[at : at + MOST], dial=0.0, author=hostile[at % 9])
        wrong += [f"rows in PDF: {at}"] if _rows(data) != len(some[at : at + MOST]) else []
        papers.append(data)
    for text in ("".join(read_back(data)) for data in papers):  # none can act, or this fails
        wrong += [f"link in PDF: {link}" for link in re.findall(r"https?://.{9}", text, re.IGNORECASE)]
        wrong += [f"hidden in PDF: {c!r}" for c in HIDDEN.findall(text)]

    value = f"{len(hostile)} payloads in {len(results) * (len(Form) - 1) + len(papers)} files, {len(papers)} of them PDFs, {len(wrong)} did anything"
    ok = len(hostile) >= 500 and not wrong
    trust.record("S7", PROPERTY, value=value, figure=FIGURE, ok=ok, part="the exports")
    assert wrong == []
    assert len(hostile) >= 500


def _rows(data: bytes) -> int:
    """How many samples a PDF lists as belonging, by what stands at its left edge."""
    found = pieces(data)
    margin = min(x for x, _ in found)
    return sum(x == margin and bool(re.match(r"\d\.\d\d  [a-z0-9]+\Z", piece)) for x, piece in found)


def test_no_payload_forges_a_line_of_the_log(
    trust: Trust, hostile: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    some = hostile[:: 2 if trust.full else 8]
    office = Office(tmp_path, count=len(some))
    texts = iter(some)

    async def look_up(name: str, s: Sample) -> Answer:
        raise RuntimeError(next(texts, "spent"))

    capsys.readouterr()
    night = _finished(office.night(look_up, batch=1))
    said = capsys.readouterr().out.splitlines()
    strange = [
        line for line in said if line.count("not analysed") != 1 or HIDDEN.search(COLOUR.sub("", line))
    ]

    value = f"{len(some)} payloads, {len(said)} lines, {len(strange)} of them forged"
    ok = len(said) == len(some) == night.failed and not strange
    trust.record("S7", PROPERTY, value=value, figure=FIGURE, ok=ok, part="the log")
    assert strange == []
    assert len(said) == len(some) == night.failed
