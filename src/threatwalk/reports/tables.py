"""Reports as tables: CSV, TSV and the like. What a column or a row declares is trusted over its looks."""

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from enum import Enum, auto

from threatwalk.errors import SampleError
from threatwalk.reports import marking, reference, text
from threatwalk.reports.gather import Gathering, file_name, link
from threatwalk.reports.report import Report, Tlp
from threatwalk.reports.scan import clean, scan
from threatwalk.sample import HASH_LENGTHS, Sample, digest, host

Rows = list[list[str]]

_DELIMITERS = ",;\t|"
_SNIFFED = 100  # rows by which a delimiter, and a column of types, are told
_STEADY = 0.8  # of the rows of a table have one number of cells
_TYPED = 0.3  # of the cells of a column of types name a kind of sample
_WIDEST = 200  # columns whose headers are looked at


class Role(Enum):
    """What a column, or a cell in a column of types, says of cells."""

    DIGEST = auto()
    HOST = auto()
    LINK = auto()
    FILE = auto()
    ANY = auto()  # an indicator of some kind
    REFERENCE = auto()  # who wrote about it, and where
    NOTE = auto()  # anything else: free text


_CANONICAL: dict[Role, Callable[[str], Sample]] = {
    Role.DIGEST: digest,
    Role.HOST: host,
    Role.LINK: link,
    Role.FILE: file_name,
}
_NAMES = {
    Role.DIGEST: "md5, sha1, sha 1, sha256, sha 256, hash, hashes, file hash, filehash, md5sum, sha1sum, sha256sum, "
    "md5 hash, sha1 hash, sha256 hash, sha 256 hash, hash md5, hash sha1, hash sha256, filehash md5, filehash sha1, "
    "filehash sha256, file hashes md5, file hashes sha 1, file hashes sha 256",
    Role.HOST: "ip, ips, ipv4, ipv6, ip address, ip addresses, ipaddress, ip addr, ipv4 addr, ipv6 addr, ipv4 address, "
    "ipv6 address, ip dst, ip src, ip port, ip dst port, ip src port, c2 ip, source ip, destination ip, domain, "
    "domains, hostname, hostnames, host, host name, domain name, domain names, fqdn, domain port, hostname port, "
    "c2 domain, ip or domain, domain or ip",
    Role.LINK: "url, urls, uri, download url, c2 url, payload url, phishing url, malicious url, full url",
    Role.FILE: "filename, filenames, file name, file path name, file path, filepath",
    Role.ANY: "ioc, iocs, indicator, indicators, observable, value, data, c2, c2 server, c2 address, cnc, ioc value, "
    "indicator value, indicator of compromise, file",
    Role.REFERENCE: "link, links, reference, references, source, sources, report, external analysis, blog, attribution",
}
_ROLES = {name: role for role, names in _NAMES.items() for name in names.split(", ")}
_OF_THE_REPORT = {"description", "info", "comment", "title", "note", "report"}  # as a row's type
_SEPARATORS = re.compile(r"[\s_:\-|/.']+")
_IS_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)


def recognise(content: str, *, named: bool) -> Rows | None:
    """The rows of a table; None where the text is none. `named`: the file's name says that it is one."""
    lines = content.lstrip("\n\r").splitlines()[:_SNIFFED]
    delimiter = _sniff(lines, least=2 if named else 4)
    if delimiter is None:
        return None
    try:
        return [row for row in csv.reader(content.splitlines(keepends=True), delimiter=delimiter) if row]
    except csv.Error:  # a cell longer than any should be
        return None


def _sniff(lines: list[str], *, least: int) -> str | None:
    """The delimiter that cuts most lines into the same number of cells, more than one."""
    best, found = 0.0, None
    filled = [line for line in lines if line.strip()]
    for delimiter in _DELIMITERS:
        if 2 * sum(delimiter in line for line in filled) < len(filled):
            continue
        try:
            widths = Counter(len(row) for row in csv.reader(filled, delimiter=delimiter) if row)
        except csv.Error:
            continue
        rows = widths.total()
        width, count = max(widths.items(), key=lambda item: (item[0] > 1, item[1]), default=(0, 0))
        share = count / rows if rows else 0
        if width > 1 and rows >= least and share >= _STEADY and share > best:
            best, found = share, delimiter
    return found


def is_hash_list(rows: Rows) -> bool:
    """Whether it is `hashes.csv` of a MISP feed: the MD5 of each event, and its UUID; no report."""
    return all(len(row) == 2 and len(row[0]) == 32 and _IS_UUID.fullmatch(row[1].strip()) for row in rows)


def read(rows: Rows, content: str, *, path: str, source: str = "", recovered: bool = False) -> Report | None:
    """The report that a table is; None where it holds no sample."""
    if is_hash_list(rows):
        return None
    table = _Table(rows)
    made = text.report(
        table.samples(),
        content,
        path=path,
        source=source,
        recovered=recovered,
        title=text.named(path),
        tlp=table.tlp,
    )
    return made and replace(made, rejected=tuple(table.gathering.rejected))


class _Table:
    """The cells of a table, each sorted by what it is declared to be."""

    def __init__(self, rows: Rows) -> None:
        self.gathering = Gathering()
        self.tlp: Tlp | None = None
        self._loose: list[str] = []  # cells of free text
        self._meant: list[str] = []  # cells whose column says that they hold indicators
        header = [_role(name) for name in rows[0][:_WIDEST]]
        headed = any(role is not Role.NOTE for role in header) and not any(
            _is_sample(c) for c in rows[0][:_WIDEST]
        )
        body = rows[1:] if headed else rows
        roles = header if headed else []
        if headed:
            marks = [at for at, name in enumerate(rows[0][:_WIDEST]) if _normal(name) == "tlp"]
            self.tlp = marking.strictest(
                marking.tlp(row[at]) for at in marks for row in body if at < len(row)
            )
        types = _column_of_types(body)
        value = None if types is None else _column_of_values(body, types)
        if types is None or value is None:
            self._by_columns(body, roles)
        else:
            self._by_rows(body, roles, types, value)

    def samples(self) -> set[Sample]:
        loose, meant = scan("\n".join(self._loose)), scan("\n".join(self._meant))
        defanged = loose.defanged or meant.defanged
        return (
            set(self.gathering.samples)
            | reference.samples(loose, defanged=defanged)
            | meant.samples
            | meant.links
            | meant.names
        )

    def _by_columns(self, rows: Rows, roles: list[Role]) -> None:
        for row in rows:
            for at, cell in enumerate(row):
                if cell:
                    self._put(cell, roles[at] if at < len(roles) else Role.NOTE)

    def _by_rows(self, rows: Rows, roles: list[Role], types: int, value: int) -> None:
        for row in rows:
            kind = row[types] if types < len(row) else ""
            for at, cell in enumerate(row):
                if not cell or at == types:
                    continue
                if at == value:
                    self._put(cell, Role.REFERENCE if _normal(kind) in _OF_THE_REPORT else _role(kind))
                else:
                    self._put(cell, roles[at] if at < len(roles) else Role.NOTE)

    def _put(self, cell: str, role: Role) -> None:
        canonical = _CANONICAL.get(role)
        if canonical is not None:
            self._declared(cell.strip(), canonical)
        elif role is Role.ANY:
            self._meant.append(cell)
        elif role is Role.NOTE:
            self._loose.append(cell)

    def _declared(self, cell: str, canonical: Callable[[str], Sample]) -> None:
        """A cell of a declared kind; where it holds something else, or several values, it is searched."""
        if not cell:
            return
        try:
            self.gathering.samples.append(canonical(cell))
        except SampleError as err:
            several = set() if _is_one_word(cell) else _several(cell)
            self.gathering.samples += several
            if not several and any(c.isalnum() for c in cell):
                self.gathering.reject(cell, str(err))


def _is_one_word(cell: str) -> bool:
    """Whether nothing can be found in a cell: it holds no dot, however written, and is no hash."""
    return cell.isascii() and cell.isalnum() and len(cell) < min(HASH_LENGTHS)


def _several(cell: str) -> set[Sample]:
    found = scan(cell)
    return found.samples | found.links | found.names or _host_of(cell)


def _host_of(cell: str) -> set[Sample]:
    """The host of a URL that lacks its scheme."""
    place, slash, _ = cell.partition("/")
    try:
        return {host(place)} if slash else set()
    except SampleError:
        return set()


def _normal(name: str) -> str:
    return _SEPARATORS.sub(" ", clean(name)).strip().lower() if len(name) < 60 else ""


def _role(name: str) -> Role:
    return _ROLES.get(_normal(name), Role.NOTE)


def _is_sample(cell: str) -> bool:
    return len(cell) in HASH_LENGTHS or "." in cell


def _column_of_types(rows: Rows) -> int | None:
    """The column whose cells say what kind of sample stands in the same row."""
    best, found = _TYPED, None
    for at, cells in _columns(rows):
        filled = [cell for _, cell in cells if cell.strip()]
        share = sum(_role(cell) in _CANONICAL for cell in filled) / len(filled) if filled else 0
        if share > best:
            best, found = share, at
    return found


def _column_of_values(rows: Rows, types: int) -> int | None:
    """The column whose cells are most often what the column of types says."""
    best, found = 0, None
    for at, cells in _columns(rows):
        right = 0 if at == types else sum(_fits(cell, row[types]) for row, cell in cells if types < len(row))
        if right > best:
            best, found = right, at
    return found


def _columns(rows: Rows) -> Iterable[tuple[int, list[tuple[list[str], str]]]]:
    """The first columns of the first rows: each with its cells, and the rows where they stand."""
    few = rows[:_SNIFFED]
    for at in range(min(max(map(len, few), default=0), _WIDEST)):
        yield at, [(row, row[at]) for row in few if at < len(row)]


def _fits(cell: str, kind: str) -> bool:
    canonical = _CANONICAL.get(_role(kind))
    if canonical is None or not cell.strip():
        return False
    try:
        canonical(cell.strip())
    except SampleError:
        return False
    return True
