"""Hybrid Analysis (API v2) over HTTP: the search for a hash or a term, the overview of a file, and reports.

A file was run once: one report holds what the world knows of it. Of its own other hashes a report names
those that the world finds, the first of each kind.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from urllib.parse import parse_qsl

from threatwalk.emulator.answers import Answers, Found
from threatwalk.emulator.faults import plain
from threatwalk.emulator.http import Reply, Request, Route, json_reply
from threatwalk.emulator.registry import number
from threatwalk.errors import SampleError
from threatwalk.sample import Kind, Sample, digest, host, sample

Body = dict[str, object]

_HASHES = (Kind.MD5, Kind.SHA1, Kind.SHA256)
_IPS = frozenset({Kind.IPV4, Kind.IPV6})
_NAMES = frozenset({Kind.DOMAIN, Kind.HOSTNAME})
_LIMITS = {"limits": {"minute": 200, "hour": 2000}, "used": {"minute": 1, "hour": 1}, "limit_reached": False}
_HEADERS = (("Api-Version", "2.35.0"), ("Api-Limits", json.dumps(_LIMITS, separators=(",", ":"))))
_SYSTEM = {"environment_id": 120, "environment_description": "Windows 7 64 bit"}
_VERDICT = {"threat_score": 100, "verdict": "malicious"}
_RUN = {"state": "SUCCESS", "error_type": None, "error_origin": None}
_WORDS = {
    400: "Validation failed",
    401: "Api key is missing",
    403: "The api key has no permission to do that",
    404: "Not found",
    429: "Exceeded maximum API requests per minute (200). Please try again later.",
}


def route(world: Answers, key: str) -> Route:
    """The API for whoever shows the key in `api-key` and calls itself as the sandbox wants."""
    shown: dict[str, Sample] = {}  # the files of the reports that a search named: they are asked for next

    @lru_cache(maxsize=128)
    def known(asked: Sample) -> tuple[Found, ...]:
        return tuple(world.answer("hybrid_analysis", asked))

    def answer(request: Request) -> Reply:
        if "falcon" not in request.headers.get("user-agent", "").lower():
            return _refused(403, "User agent is not allowed")
        if request.headers.get("api-key") != key:
            return _refused(401 if "api-key" not in request.headers else 403)
        match request.path.strip("/").split("/"):
            case ["api", "v2", "search", "hash"]:
                return search(request.query.get("hash", ""))
            case ["api", "v2", "search", "terms"] if request.method == "POST":
                return _terms(world, dict(parse_qsl(request.body.decode("utf-8", "replace"))))
            case ["api", "v2", "overview", text]:
                asked = _hash(text)
                if asked is None or asked.kind is not Kind.SHA256:
                    return _refused(400)
                there = _job(asked) in shown or known(asked)
                return _reply(_overview(asked)) if there else _unknown()
            case ["api", "v2", "report", id_, "summary"]:
                asked = shown.get(id_)
                return _reply(_summary(asked, known(asked))) if asked is not None else _unknown("Report")
            case _:
                return _refused(404)

    def search(text: str) -> Reply:
        asked = _hash(text)
        if asked is None:
            return _refused(400)
        if not known(asked):
            return _reply({"sha256s": [], "reports": []})
        own = _own(asked, known(asked)).get(Kind.SHA256)
        shown[_job(asked)] = asked
        if own is not None:
            shown.setdefault(_job(own), own)
        report = {"id": _job(asked), **_SYSTEM, **_RUN, "verdict": _VERDICT["verdict"]}
        return _reply({"sha256s": [own.value] if own else [], "reports": [report]})

    return answer


def _hash(text: str) -> Sample | None:
    try:
        return digest(text)
    except SampleError:
        return None


def _job(asked: Sample) -> str:
    return blake2b(f"job {asked}".encode(), digest_size=12).hexdigest()


def _own(asked: Sample, found: Sequence[Found]) -> dict[Kind, Sample]:
    """The hashes of the file itself."""
    own = {kind: next((f.sample for f in found if f.sample.kind is kind), None) for kind in _HASHES}
    return {kind: s for kind, s in (own | {asked.kind: asked}).items() if s is not None}


def _iso(when: datetime | None, asked: Sample) -> str:
    """A time of the world; where it has none, the day on which a report says that it was made."""
    day = when or datetime(2023, 1, 1, tzinfo=UTC) + timedelta(days=number(f"run {asked}") % 730)
    return day.strftime("%Y-%m-%dT%H:%M:%S+00:00")


def _terms(world: Answers, form: dict[str, str]) -> Reply:
    """The files that spoke with a host or a URL."""
    if not form:
        return _refused(400)
    asked = _term(form)
    found = world.answer("hybrid_analysis", asked) if asked is not None else ()
    results = [_result(f) for f in found if f.sample.kind is Kind.SHA256]
    terms = [{"id": name, "value": value} for name, value in form.items()]
    return _reply({"search_terms": terms, "count": len(results), "result": results})


def _term(form: dict[str, str]) -> Sample | None:
    try:
        if "url" in form:
            return sample(Kind.URL, form["url"])
        asked = host(form.get("host") or form.get("domain", ""))
    except SampleError:
        return None
    return asked if asked.kind in (_IPS if "host" in form else _NAMES) else None


def _result(f: Found) -> Body:
    when = f.first_seen.strftime("%Y-%m-%d %H:%M:%S") if f.first_seen else None
    common = {"verdict": "malicious", "av_detect": "61", "threat_score": 100, "vx_family": "Trojan.Generic"}
    return {
        **common,
        "job_id": _job(f.sample),
        "sha256": f.sample.value,
        **_SYSTEM,
        "analysis_start_time": when,
        "submit_name": f"{f.sample.value}.bin",
        "size": number(f.sample.value) % 900_000,
        "type": None,
        "type_short": "exe",
    }


def _overview(asked: Sample) -> Body:
    """A file that was run once: what is known of it stands in that report."""
    return {
        "sha256": asked.value,
        "last_file_name": "",
        "other_file_name": [],
        **_VERDICT,
        "url_analysis": False,
        "size": number(asked.value) % 900_000,
        "type": "PE32 executable (GUI) Intel 80386, for MS Windows",
        "type_short": ["peexe", "executable"],
        "analysis_start_time": _iso(None, asked),
        "last_multi_scan": _iso(None, asked),
        "tags": [],
        "architecture": "WINDOWS",
        "multiscan_result": 61,
        "scanners": [],
        "submit_context": [],
        "reports": [_job(asked)],
        "related_parent_hashes": [],
        "related_children_hashes": [],
        "whitelisted": False,
        "children_in_queue": 0,
        "children_in_progress": 0,
        "related_reports": [],
    }


def _summary(asked: Sample, found: Sequence[Found]) -> Body:
    own = _own(asked, found)
    rest = [f.sample for f in found if f.sample not in own.values()]
    hosts = [s.value for s in rest if s.kind in _IPS]
    names = [s.value for s in rest if s.kind in _NAMES]
    started = _iso(max((f.last_seen for f in found if f.last_seen), default=None), asked)
    return {
        "job_id": _job(asked),
        **_SYSTEM,
        "size": number(asked.value) % 900_000,
        "type": "PE32 executable (GUI) Intel 80386, for MS Windows",
        "type_short": ["peexe", "executable"],
        "target_url": None,
        **_RUN,
        "submit_name": "",
        **{kind.value: s.value for kind, s in own.items()},
        "sha512": blake2b(asked.value.encode(), digest_size=64).hexdigest(),
        "ssdeep": "Unknown",
        "imphash": "Unknown",
        "av_detect": 61,
        "vx_family": "Trojan.Generic",
        "url_analysis": False,
        "analysis_start_time": started,
        "interesting": False,
        "threat_level": 2,
        **_VERDICT,
        "certificates": [],
        "domains": names,
        "classification_tags": [],
        "compromised_hosts": [],
        "hosts": hosts,
        "total_network_connections": len(hosts),
        "total_processes": 0,
        "total_signatures": 0,
        "extracted_files": _extracted(rest),
        "processes": [],
        "file_metadata": None,
        "tags": [],
        "mitre_attcks": [],
        "submissions": [
            {"submission_id": _job(s), "filename": "", "url": s.value, "created_at": started}
            for s in rest
            if s.kind is Kind.URL
        ],
    }


def _extracted(samples: Sequence[Sample]) -> list[Body]:
    """The dropped files. The world pairs no names with hashes: each stands in an entry of its own."""
    return [
        {
            "name": s.value if s.kind is Kind.FILENAME else "",
            "file_path": f"%TEMP%\\{s.value}" if s.kind is Kind.FILENAME else "",
            "file_size": number(s.value) % 900_000,
            **({s.kind.value: s.value} if s.kind in _HASHES else {}),
            "type_tags": ["peexe"],
            "description": "data",
            "runtime_process": "sample.exe",
            "threat_level": 2,
            "threat_level_readable": "malicious",
            "av_label": None,
            "av_matched": 0,
            "av_total": 70,
            "file_available_to_download": False,
        }
        for s in samples
        if s.kind in _HASHES or s.kind is Kind.FILENAME
    ]


def _reply(body: object, status: int = 200) -> Reply:
    reply = json_reply(body, status)
    return Reply(reply.body, status, reply.media_type, _HEADERS)


def _refused(status: int, text: str | None = None) -> Reply:
    return _reply({"message": text or _WORDS[status]}, status)


def _unknown(what: str = "Sample") -> Reply:
    return _refused(404, f"{what} not found")


def wording(status: int) -> tuple[bytes, str]:
    if status >= 500 or status not in _WORDS:
        return plain(status)
    return json.dumps({"message": _WORDS[status]}).encode(), "application/json"
