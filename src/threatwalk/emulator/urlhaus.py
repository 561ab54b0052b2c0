"""URLhaus (`/v1/host/`, `/v1/url/`, `/v1/payload/`) over HTTP."""

from collections.abc import Sequence
from urllib.parse import parse_qsl

from threatwalk.emulator.abuse_ch import Body, as_digest, drawn, first, keyed, of, time
from threatwalk.emulator.answers import Answers, Found
from threatwalk.emulator.http import Request, Route
from threatwalk.errors import SampleError
from threatwalk.sample import Kind, Sample, host, sample

_HOSTS = (Kind.IPV4, Kind.DOMAIN, Kind.HOSTNAME)
_REPORTERS = ("abuse_ch", "lantern7", "rosefinch", "quarrywatch")
_TYPES = ("exe", "elf", "dll", "zip")
_NOTHING: Body = {"query_status": "no_results"}


def route(world: Answers, key: str) -> Route:
    """The three look-ups, for whoever shows the key."""

    def answer(request: Request) -> Body | None:
        form = dict(parse_qsl(request.body.decode("utf-8", "replace")))
        match request.path.strip("/"):
            case "v1/host":
                asked, invalid = _host(form.get("host", "")), "invalid_host"
            case "v1/url":
                asked, invalid = _url(form.get("url", "")), "invalid_url"
            case "v1/payload" if "md5_hash" in form:
                asked, invalid = as_digest(form["md5_hash"], Kind.MD5), "invalid_md5"
            case "v1/payload":
                asked, invalid = as_digest(form.get("sha256_hash"), Kind.SHA256), "invalid_sha256"
            case _:
                return None
        if asked is None:
            return {"query_status": invalid}
        found = world.answer("urlhaus", asked)
        if not found:
            return _NOTHING
        if asked.kind is Kind.URL:
            return _of_url(asked, found)
        return _of_host(asked, found) if asked.kind in _HOSTS else _of_payload(asked, found)

    return keyed(key, answer)


def _host(text: str) -> Sample | None:
    try:
        found = host(text)
    except SampleError:
        return None
    return found if found.kind in _HOSTS else None


def _url(text: str) -> Sample | None:
    try:
        return sample(Kind.URL, text)
    except SampleError:
        return None


def _of_host(asked: Sample, found: Sequence[Found]) -> Body:
    urls = of(found, Kind.URL)
    return {
        "query_status": "ok",
        "urlhaus_reference": f"https://urlhaus.abuse.ch/host/{asked.value}/",
        "host": asked.value,
        "firstseen": time(min((f.first_seen for f in urls if f.first_seen), default=None)),
        "url_count": str(len(urls)),
        "blacklists": _blacklists(asked),
        "urls": [
            {
                "id": _id(f.sample),
                "urlhaus_reference": _page(f.sample),
                "url": f.sample.value,
                "url_status": _status(f.sample),
                "date_added": time(f.first_seen),
                "threat": "malware_download",
                "reporter": _reporter(f.sample),
                "larted": "true",
                "takedown_time_seconds": str(drawn(10**6, f.sample.value, "takedown")),
                "tags": [_type(f.sample)],
            }
            for f in urls
        ],
    }


def _of_url(asked: Sample, found: Sequence[Found]) -> Body:
    """The URL's own host is the only one that it names."""
    own = next(iter(of(found, *_HOSTS, Kind.IPV6)), None)
    return {
        "query_status": "ok",
        "id": _id(asked),
        "urlhaus_reference": _page(asked),
        "url": asked.value,
        "url_status": _status(asked),
        **({} if own is None else {"host": own.sample.value}),
        "date_added": time(own.first_seen if own else found[0].first_seen),
        "last_online": time(own.last_seen if own else None),
        "threat": "malware_download",
        "blacklists": _blacklists(asked),
        "reporter": _reporter(asked),
        "larted": "true",
        "takedown_time_seconds": None,
        "tags": [_type(asked)],
        "payloads": [_payload(f) for f in of(found, Kind.MD5, Kind.SHA256, Kind.FILENAME)],
    }


def _payload(f: Found) -> Body:
    """What lay at a URL. Whether two hashes are of one file, a world does not tell: each stands by itself."""
    name = {Kind.MD5: "response_md5", Kind.SHA256: "response_sha256"}.get(f.sample.kind, "filename")
    return {
        "firstseen": time(f.first_seen, ""),
        "filename": None,
        "file_type": _type(f.sample),
        "response_size": str(1000 + drawn(10**6, f.sample.value)),
        "response_md5": None,
        "response_sha256": None,
        "urlhaus_download": None,
        "signature": None,
        "virustotal": None,
        "imphash": None,
        "ssdeep": None,
        "tlsh": None,
        "magika": _type(f.sample),
        name: f.sample.value,
    }


def _of_payload(asked: Sample, found: Sequence[Found]) -> Body:
    """Names of the file are those under which it lay at its URLs, and stand beside them."""
    urls, names = of(found, Kind.URL), of(found, Kind.FILENAME)
    other = first(found, Kind.SHA256 if asked.kind is Kind.MD5 else Kind.MD5)
    both = {asked.kind: asked.value} | ({} if other is None else {other.sample.kind: other.sample.value})
    rows = max(len(urls), len(names)) if urls else 0
    return {
        "query_status": "ok",
        "md5_hash": both.get(Kind.MD5),
        "sha256_hash": both.get(Kind.SHA256),
        "file_type": _type(asked),
        "file_size": str(1000 + drawn(10**6, asked.value)),
        "signature": None,
        "firstseen": time(other.first_seen if other else found[0].first_seen, ""),
        "lastseen": time(other.last_seen if other else None, ""),
        "url_count": str(len(urls)),
        "urlhaus_download": None,
        "virustotal": None,
        "imphash": None,
        "ssdeep": None,
        "tlsh": None,
        "magika": _type(asked),
        "urls": [
            {
                "url_id": _id(urls[i % len(urls)].sample),
                "url": urls[i % len(urls)].sample.value,
                "url_status": _status(urls[i % len(urls)].sample),
                "urlhaus_reference": _page(urls[i % len(urls)].sample),
                "filename": names[i].sample.value if i < len(names) else None,
                "firstseen": time(urls[i % len(urls)].first_seen, ""),
                "lastseen": time(urls[i % len(urls)].last_seen, ""),
            }
            for i in range(rows)
        ],
    }


def _id(s: Sample) -> str:
    return str(100_000 + drawn(3 * 10**6, s.value))


def _page(s: Sample) -> str:
    return f"https://urlhaus.abuse.ch/url/{_id(s)}/"


def _status(s: Sample) -> str:
    return "online" if drawn(4, s.value, "status") == 0 else "offline"


def _reporter(s: Sample) -> str:
    return _REPORTERS[drawn(len(_REPORTERS), s.value, "reporter")]


def _type(s: Sample) -> str:
    return _TYPES[drawn(len(_TYPES), s.value, "type")]


def _blacklists(s: Sample) -> Body:
    listed = drawn(3, s.value, "blacklists") == 0
    return {"spamhaus_dbl": "not listed", "surbl": "listed" if listed else "not listed"}
