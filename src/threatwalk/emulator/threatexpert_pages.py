"""ThreatExpert's pages, in the markup that its recordings have: old, and never quite closed."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from html import escape
from urllib.parse import quote

from threatwalk.emulator.answers import Found
from threatwalk.emulator.registry import number
from threatwalk.sample import Kind, Sample

_HOSTS = frozenset({Kind.IPV4, Kind.IPV6, Kind.DOMAIN, Kind.HOSTNAME})
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_LABELS = {Kind.MD5: "MD5", Kind.SHA1: "SHA-1"}
_OWN_NAME = "[file and pathname of the sample #1]"
_HEAD = """<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" \
"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">
<HTML><head>
<meta http-equiv="Content-Type" content="text/html; charset=iso-8859-1">
<meta name="description" content="ThreatExpert Submission Report">
<style type="text/css">body a {color: #404040}</style>
<link href="./css/report.css" rel="stylesheet" type="text/css"/>
<title>ThreatExpert Report</title>
<script src="./counter.js" type="text/javascript"></script>
<script type="text/javascript"></script>
</head><body>
<table align="right"><tr class="top_link"><td><a href="http://www.threatexpert.com">Visit the site</a></td>
<td style="color: #707070">|</td><td><a href="javascript:window.close();">Close</a></td></tr></table>
<a href="http://www.threatexpert.com"><img src="./resources/logo.gif" style="border: none"/></a>
"""
_TAIL = """<p>&nbsp;</p><div class="discl">
<table cellpadding="0" cellspacing="0" style="width:100%"><tr><td width="100%" class="h3">&nbsp;</td></tr></table>
<p>A page of the emulator: nothing in it is real.</p>
<p style="color: #000000">In the form of <a href="http://www.threatexpert.com" style="color: #000000">\
ThreatExpert</a>.</p></div>
</body></html>"""


def report(md5: Sample, found: Sequence[Found], received: datetime) -> str:
    """What the sandbox saw one sample do."""
    samples = [f.sample for f in found]
    hashes = [s for s in samples if s.kind in _LABELS]
    own = next((s for s in hashes if s.kind is Kind.SHA1), None)
    dropped = [s for s in hashes if s != own]
    names = [s.value for s in samples if s.kind is Kind.FILENAME]
    hosts = [s.value for s in samples if s.kind in _HOSTS]
    urls = [s.value for s in samples if s.kind is Kind.URL]
    size = f"{number(md5.value) % 900_000 + 1_000:,} bytes"
    parts = [_HEAD, *_summary(md5, own, received, size)]
    parts += _title("file_mod", "File System Modifications")
    parts += _files([s for s in (md5, own) if s], names, dropped, size)
    parts += _title("other_mod", "Other details")
    mark = f"{number(f'mutex {md5.value}'):x}"
    parts += _listed(
        "Mutex object", "was created", [mark], lead="To mark the presence in the system, the following"
    )
    parts += _listed("Host Name", "was requested from a host database", hosts)
    parts += _connected([host for host in hosts if number(f"connected {host}") % 2])
    parts += _listed("data identified by the following URL", _REQUESTED, urls, lead="The")
    return "".join([*parts, _TAIL])


_REQUESTED = "was then requested from the remote web server"


def _summary(md5: Sample, own: Sample | None, received: datetime, size: str) -> Iterator[str]:
    day = f"{received.day} {_MONTHS[received.month - 1]} {received.year}, {received:%H:%M:%S}"
    yield "<h2>Submission Summary:</h2>\n<ul><li>Submission details:</li><ul>\n"
    yield f"<li>Submission received: {day}</li>\n<li>Processing time: 5 min 12 sec</li>\n"
    yield f"<li>Submitted sample:</li>\n<ul>\n<li>File MD5: 0x{md5.value.upper()}</li>\n"
    if own is not None:
        yield f"<li>File SHA-1: 0x{own.value.upper()}</li>\n"
    yield f"<li>Filesize: {size}</li>\n</ul>\n</ul></ul>\n<p>&nbsp;</p><h2>Technical Details:</h2>\n"


def _title(image: str, title: str) -> Iterator[str]:
    yield (
        '<p>&nbsp;</p><table cellpadding="0" cellspacing="0" style="width:100%"><tr><td><img style="border: none" '
        f'src="./resources/{image}.gif"/></td><td width="100%" class="h3">{title}</td></tr></table>\n'
    )


def _files(
    own: Sequence[Sample], names: Sequence[str], dropped: Sequence[Sample], size: str
) -> Iterator[str]:
    """One row for each file. The world pairs no names with hashes: each hash takes one, the rest are the sample's."""
    rows = [(list(own), [_OWN_NAME, *(f"%System%\\{name}" for name in names[len(dropped) :])])]
    for i, s in enumerate(dropped):
        rows.append(
            (
                [s],
                [f"%Temp%\\{names[i]}" if i < len(names) else f"[file and pathname of the sample #{i + 2}]"],
            )
        )
    files = "files were" if len(rows) > 1 else "file was"
    yield f"<ul><li>The following {files} created in the system:</li></ul>\n"
    yield _table("#", "Filename(s)", "File Size", "File Hash")
    for i, (hashes, paths) in enumerate(rows, 1):
        lines = "\n<br/>\n".join(map(escape, paths))
        values = "<br/>".join(f"{_LABELS[s.kind]}: 0x{s.value.upper()}" for s in hashes)
        yield f'<tr><td class="cell_1">{i}</td>\n<td class="cell_1">\n{lines}\n</td>\n'
        yield f'<td class="cell_1">{size}</td>\n<td class="cell_2">{values}</td>\n</tr>\n'
    yield "</table></p>\n"


def _table(*columns: str) -> str:
    cells = [f'<td class="cell_1_h">{column}</td>' for column in columns[:-1]]
    cells.append(f'<td class="cell_2_h">{columns[-1]}</td>')
    return f'<p><table class="tbl" cellpadding="5" cellspacing="0">\n<tr>{"".join(cells)}</tr>\n'


def _listed(what: str, happened: str, values: Sequence[str], lead: str = "The following") -> Iterator[str]:
    if not values:
        return
    if len(values) > 1:
        what, happened = f"{what}s", happened.replace("was requested", "were requested")
    yield f"<ul><li>{lead} {what} {happened}:</li>\n<ul>\n"
    yield from (f"<li>{escape(value)}</li>\n" for value in values)
    yield "</ul></ul>\n"


def _connected(hosts: Sequence[str]) -> Iterator[str]:
    if not hosts:
        return
    start = "were registered attempts" if len(hosts) > 1 else "was registered attempt"
    remote = "hosts" if len(hosts) > 1 else "host"
    yield f"<ul><li>There {start} to establish connection with the remote {remote}. The connection details are:</li>"
    yield "</ul>\n" + _table("Remote Host", "Port Number")
    for host in hosts:
        port = 1024 + number(f"port {host}") % 60_000
        yield f'<tr><td class="cell_1">{escape(host)}<td class="cell_2">{port}</td><tr>\n'
    yield "</table></p>\n"


def search(term: str, shown: Sequence[tuple[datetime, Sample]], *, at: int, of: int) -> str:
    """One page of the reports that mention a term."""
    if not shown:
        results = "<p>There were no ThreatExpert reports found that match your search criteria.</p>"
    else:
        rows = "".join(
            f"<tr><td>{_short(received)}</td><td>High</td><td>(not available)</td><td>"
            f'<a href="report.aspx?md5={md5.value}" target="_blank">Trojan.Generic</a></td></tr>\n'
            for received, md5 in shown
        )
        head = "<tr><td>Date</td><td>Risk</td><td>Origin</td><td>Findings</td></tr>\n"
        results = f'<table class="tbl">{head}{rows}</table>{_pager(term, at, of)}'
    return (
        "<html><head><title>ThreatExpert - Online File Scanner</title></head><body>\n"
        '<form method="get" action="reports.aspx"><input name="find"/></form>\n'
        f'<span id="txtResults">{results}</span>\n</body></html>'
    )


def _pager(term: str, at: int, of: int) -> str:
    if of < 2:
        return ""
    links = [(str(i), i) for i in range(1, of + 1) if i != at] + ([("Next", at + 1)] if at < of else [])
    cells = (
        f'<td><a href="reports.aspx?page={i}&amp;find={quote(term, safe="")}">{text}</a></td>'
        for text, i in links
    )
    return f"<table><tr>{''.join(cells)}</tr></table>"


def _short(when: datetime) -> str:
    """Month first, twelve hours."""
    half = "AM" if when.hour < 12 else "PM"
    return f"{when.month}/{when.day}/{when.year} {when.hour % 12 or 12}:{when:%M:%S} {half}"


def moved(location: str) -> str:
    where = escape(location)
    return f'<html><head><title>Object moved</title></head><body><h2>Object moved to <a href="{where}">here</a>.</h2></body></html>'


def missing() -> str:
    return "<html><head><title>The resource cannot be found.</title></head><body></body></html>"
