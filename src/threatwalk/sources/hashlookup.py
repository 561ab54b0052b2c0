"""CIRCL hashlookup."""

from threatwalk.sample import FILE_KINDS, Kind
from threatwalk.sources.filter import Filter, Opsec, Quota, Status

_HASHES = FILE_KINDS - {Kind.FILENAME}

filter_ = Filter(
    "hashlookup",
    "CIRCL hashlookup",
    accepts=_HASHES,
    yields=FILE_KINDS,
    opsec=Opsec.THIRD_PARTY,
    quota=Quota(per_minute=300),
    status=Status.LIVE,
    terms="Free, best effort, CC BY.",
    endpoints={"hashlookup": "https://hashlookup.circl.lu"},
)
