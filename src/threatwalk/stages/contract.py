"""Stage contract: what the corpus is like, held against what it has to be like; nothing is trained on it before."""

import json
from collections.abc import Iterator, Sequence
from html import escape as html_escape
from pathlib import Path
from string import Template
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from threatwalk.archive import tables
from threatwalk.errors import ContractError, DataError
from threatwalk.learning import census, contract, implied
from threatwalk.learning.census import Census
from threatwalk.params import Params

MEMORY = "census.json"  # what the next dataset is compared with
PAGE = "contract.html"


def run(
    params: Params,
    *,
    corpus: Path,
    reports: Path,
    metrics: Path,
    split: Path,
    accepted: Path,
    contract_: Path,
) -> None:
    """Read reports.parquet and its counts, split.json, `corpus`, and the last `accepted` dataset's MEMORY, if there is one.

    Write `contract_` as JSON, and beside it MEMORY and PAGE. All three are written before a breach is raised.

    Raises:
        ContractError: the contract is broken; says by what and whom, and what to do.
        DataError: a file is absent or holds something else.
    """
    table = _reports(reports)
    lists = corpus / implied.WARNINGLISTS
    answers = corpus / "answers"
    taken = census.take(
        table,
        params.split,
        answers=(one for _, one in tables.each_file(answers)) if answers.is_dir() else (),
        listed=implied.hubs(lists) if lists.is_dir() else implied.NO_HUBS,
    )
    before = contract.Accepted.of(_json(accepted)) if params.contract.compare and accepted.exists() else None
    files = {name: count for name, count in _json(metrics).items() if isinstance(count, int)}
    made = contract.checks(taken, files, _torn(taken, _json(split)), before, params.contract)
    told = {
        "ok": all(one.ok for one in made),
        "compared_with": before.name if before else None,
        "checks": contract.as_json(made),
        "figures": taken.figures(),
    }
    contract_.parent.mkdir(parents=True, exist_ok=True)
    _write(contract_.with_name(MEMORY), json.dumps(contract.memory(taken), indent=0) + "\n")
    _write(contract_.with_name(PAGE), page(told))
    _write(contract_, json.dumps(told, indent=1) + "\n")
    if not told["ok"]:
        raise ContractError(
            f"the data contract is broken: {contract.breach(made)}; see {contract_.with_name(PAGE)}. Who answers for "
            "a breach says so in params.yaml: contract.accept"
        )


def page(told: dict[str, Any]) -> str:
    """The contract as one self-contained HTML page without scripts; publishers' texts are escaped."""
    checks = "".join(_row(name, one) for name, one in told["checks"].items())
    figures = told["figures"]
    counted = "".join(
        f"<tr><th>{_text(name)}<td>{_counts(value) if isinstance(value, dict) else f'{value:,}'}"
        for name, value in figures.items()
    )
    verdict = (
        "The data contract is kept."
        if told["ok"]
        else "The data contract is broken: nothing is trained on this."
    )
    against = told["compared_with"]
    compared = (
        f"Compared with {against}." if against else "Compared with nothing: no dataset was accepted before."
    )
    return _PAGE.substitute(verdict=verdict, compared=_text(compared), checks=checks, figures=counted)


def _row(name: str, one: dict[str, Any]) -> str:
    blamed = "<br>".join(
        f"{_text(culprit['publisher'])}: {culprit['reports']} of {culprit['of']} reports"
        f"<details><summary>which</summary>{_text(', '.join(culprit['ids']))}</details>"
        for culprit in one["culprits"][:20]
    )
    state = "accepted" if one["accepted"] else "ok" if one["ok"] else "broken"
    said = "; ".join(filter(None, (one["what"], one["detail"], one["accepted"])))
    return f"<tr class={state}><th>{name}<td>{one['value']:.4g}<td>{one['limit']:g}<td>{state}<td>{_text(said)}<td>{blamed}"


def _counts(counts: dict[str, int]) -> str:
    shown = [f"{_text(name)} {count:,}" for name, count in list(counts.items())[:40]]
    return ", ".join(shown + ([f"and {len(counts) - 40:,} more"] if len(counts) > 40 else []))


def _text(text: str) -> str:
    """A publisher's text in HTML, without control and direction characters."""
    return html_escape("".join(c if c.isprintable() else " " for c in text))


def _torn(taken: Census, split: dict[str, Any]) -> Sequence[str]:
    """The reports of groups that stand in more than one part."""
    parts: dict[int, set[str]] = {}
    try:
        for name, group in zip(taken.ids, taken.group.tolist(), strict=True):
            parts.setdefault(group, set()).add(split["parts"][name])
    except (KeyError, TypeError) as err:
        raise DataError(f"the split does not name report {err}: run threatwalk split again") from err
    return [
        name for name, group in zip(taken.ids, taken.group.tolist(), strict=True) if len(parts[group]) > 1
    ]


def _reports(path: Path) -> pa.Table:
    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowException) as err:
        raise DataError(f"{path} is no table of reports, run threatwalk ingest: {err}") from err


def _json(path: Path) -> dict[str, Any]:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise DataError(f"{path} cannot be read: {err}") from err
    if not isinstance(table, dict):
        raise DataError(f"{path} holds no JSON object")
    return table


def _write(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8", errors="backslashreplace")
    part.replace(path)


def lines(told: dict[str, Any]) -> Iterator[str]:
    """The contract as lines for a terminal or a task's log."""
    for name, one in told["checks"].items():
        state = f"accepted by {one['accepted']}" if one["accepted"] else "ok" if one["ok"] else "BROKEN"
        yield f"{name:<16} {one['value']:>10.4g}  limit {one['limit']:<6g} {state}"
        for culprit in one["culprits"][:5]:
            ids = ", ".join(culprit["ids"][:5])
            yield f"{'':<16} {culprit['reports']} of {culprit['of']} reports by {culprit['publisher']}: {ids}"
        if one["detail"]:
            yield f"{'':<16} {one['detail']}"


_PAGE = Template("""<!doctype html>
<html lang=en><meta charset=utf-8><meta http-equiv=Content-Security-Policy content="default-src 'none'; style-src 'unsafe-inline'">
<title>Data contract</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #1c2733 }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid #d6dde4 }
td, details { overflow-wrap: anywhere } .broken { background: #fbe6e4 } .accepted { background: #fdf4d8 }
</style>
<h1>$verdict</h1>
<p>$compared
<table><tr><th>check<th>value<th>limit<th>state<th>what<th>whose
$checks
</table>
<h2>What the corpus is like</h2>
<table>$figures</table>
</html>
""")
