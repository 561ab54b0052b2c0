"""The request log: one JSON line for each question that reached the emulator, secrets left out."""

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import orjson

if TYPE_CHECKING:
    from threatwalk.emulator.faults import Fault

_SECRET = re.compile(r"([?&](?:key|apikey|api_key)=)[^&]*", re.IGNORECASE)


class RequestLog:
    """Lines `{"at": seconds since 1970, "source", "question", "status", "fault"}`; without a path, nothing."""

    def __init__(self, path: Path | None = None) -> None:
        self._file: TextIO | None = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a", encoding="utf-8", buffering=1)

    def write(self, source: str, question: str, status: int | str, fault: "Fault | None" = None) -> None:
        if self._file is None:
            return
        line = {
            "at": round(time.time(), 6),
            "source": source,
            "question": _SECRET.sub(r"\1REDACTED", question),
            "status": status,
            "fault": fault.name if fault is not None else None,
        }
        self._file.write(orjson.dumps(line).decode() + "\n")

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
