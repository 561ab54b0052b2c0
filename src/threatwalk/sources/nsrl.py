"""NSRL."""

from threatwalk.sample import FILE_KINDS
from threatwalk.sources import hashlookup
from threatwalk.sources.filter import Filter, Opsec, Quota, Status

filter_ = Filter(
    "nsrl",
    "NSRL",
    accepts=FILE_KINDS,
    yields=FILE_KINDS,
    opsec=Opsec.LOCAL,
    quota=Quota(),
    status=Status.LIVE,
    terms="Public domain. It says known, not good.",
    endpoints={"nsrl": ""},
    successors=(hashlookup.filter_,),
)
