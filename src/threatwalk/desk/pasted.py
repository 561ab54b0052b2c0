"""A pasted list of indicators, line by line: what each is taken for, or why it is none."""

from collections.abc import Iterator
from dataclasses import dataclass

from threatwalk.errors import SampleError
from threatwalk.sample import Sample, parse


@dataclass(frozen=True, slots=True)
class Line:
    """One line that is neither blank nor a comment; `sample` is None where `problem` says why."""

    number: int
    text: str
    sample: Sample | None
    problem: str = ""


def lines(text: str) -> Iterator[Line]:
    """The indicators of a text, one on each line, defanged or not, `#` before a comment."""
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line[0] == "#":
            continue
        try:
            yield Line(number, line, parse(line))
        except SampleError as err:
            yield Line(number, line, None, str(err))


def samples(text: str, where: str) -> list[Sample]:
    """The same as samples, each once; raises SampleError naming the first line that is none."""
    found: dict[Sample, None] = {}
    for line in lines(text):
        if line.sample is None:
            raise SampleError(f"{where}, line {line.number}: {line.problem}; nothing was queued")
        found[line.sample] = None
    return list(found)
