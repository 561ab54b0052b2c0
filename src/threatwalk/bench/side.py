"""One side of a comparison, in a process of its own: a reader goes over files and tells what each one cost.

Run by its path, by whichever interpreter has the reader: `PYTHON side.py READER < request`. The request is JSON,
`{"files": [...], "root": "..."}`; the answer is `{"seconds": [...], "peak": bytes}`, processor time for each file, null
where the reader refused it, and the most memory that was resident. Exit code 3 says that the reader is not installed.
"""

import json
import logging
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from time import process_time

Read = Callable[[str], object]
ABSENT = 3


def threatwalk(root: str) -> Read:
    """All that `threatwalk.reports.read` makes of a file."""
    read = import_module("threatwalk.reports.read").read
    # the public suffix list is loaded once in a process, not once for a file
    import_module("threatwalk.sample").host("example.com")
    return lambda path: list(read(Path(path), Path(root)))


def pymisp(_: str) -> Read:
    event = import_module("pymisp").MISPEvent
    return lambda path: event().load_file(path)


def stix2parse(_: str) -> Read:
    parse = import_module("stix2").parse
    return lambda path: parse(Path(path).read_bytes().decode(), allow_custom=True)


def pythonstix(_: str) -> Read:
    load: Read = import_module("stix.core").STIXPackage.from_xml
    return load


def iocfinder(_: str) -> Read:
    """Only the kinds that we read too, as far as it can leave others out; so the next two."""
    find = import_module("ioc_finder").find_iocs
    kinds = ["md5s", "sha1s", "sha256s", "ipv4s", "ipv6s", "domains", "urls"]
    return lambda path: find(_text(path), included_ioc_types=kinds)


def iocextract(_: str) -> Read:
    library = import_module("iocextract")
    finds = library.extract_urls, library.extract_ips, library.extract_hashes
    return lambda path: [list(find(_text(path))) for find in finds]


def iocsearcher(_: str) -> Read:
    searcher = import_module("iocsearcher.searcher").Searcher()
    kinds = {"md5", "sha1", "sha256", "ip4", "ip6", "fqdn", "url"}
    return lambda path: searcher.search_data(_text(path), targets=kinds)


def json_alone(_: str) -> Read:
    """The bytes read and parsed, and nothing taken out."""
    loads = import_module("orjson").loads
    return lambda path: loads(Path(path).read_bytes())


def xml_alone(_: str) -> Read:
    """The same of XML."""
    from lxml import etree  # noqa: PLC0415

    def parse(path: str) -> object:
        return etree.fromstring(
            Path(path).read_bytes(), etree.XMLParser(resolve_entities=False, recover=True)
        )

    return parse


def _text(path: str) -> str:
    return Path(path).read_bytes().decode("utf-8", "replace")


SIDES = {
    side.__name__: side
    for side in (
        threatwalk, pymisp, stix2parse, pythonstix, iocfinder, iocextract, iocsearcher, json_alone, xml_alone
    )
}  # fmt: skip
APART = frozenset({"pythonstix", "iocfinder", "iocextract", "iocsearcher"})  # not in our own environment


def costs(read: Read, files: list[str]) -> list[float | None]:
    """Processor seconds of each file, read one after the other; None where the reader raises."""
    seconds: list[float | None] = []
    for path in files:
        start = process_time()
        try:
            read(path)
        except Exception:  # noqa: BLE001 - a library may raise anything at all, and then it cannot read the file
            seconds.append(None)
        else:
            seconds.append(process_time() - start)
    return seconds


def _peak() -> int:
    """Bytes: the most that were resident in this process. What its parent had when it began does not count."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) * 1024


def main() -> None:
    warnings.simplefilter("ignore")
    logging.disable()
    request = json.load(sys.stdin)
    try:
        read = SIDES[sys.argv[1]](request["root"])
    except ModuleNotFoundError as err:
        sys.stderr.write(f"{err}")
        sys.exit(ABSENT)
    answer = {"seconds": costs(read, request["files"]), "peak": _peak()}
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
