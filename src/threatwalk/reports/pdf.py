"""A PDF as text. It is read in a process of its own, which has little time and little memory."""

import os
import resource
import subprocess
import sys
from io import BytesIO

from threatwalk.errors import DocumentError

LARGEST = 64 * 1024 * 1024  # bytes of one document
PAGES = 500  # later ones are left out
CHARS = 8 * 1024 * 1024  # of text; what follows is left out
SECONDS = 60  # of processor time
MEMORY = 1024 * 1024 * 1024  # bytes
DEPTH = 400  # calls inside one another; nested objects are read by recursion

_MARK = b"%PDF-"


def recognises(data: bytes) -> bool:
    """Whether a document is a PDF: readers allow some rubbish before its first line."""
    return _MARK in data[:1024]


def content(data: bytes, path: str) -> tuple[str, str]:
    """The title that a PDF gives itself ("" where it gives none), and its text.

    Raises:
        DocumentError: it cannot be read, is encrypted, or asks for more than it may have.
    """
    if len(data) > LARGEST:
        raise DocumentError(f"{path}: holds {len(data)} bytes, more than a PDF of {LARGEST}")
    command = [sys.executable, "-I", "-m", "threatwalk.reports.pdf"]
    try:
        done = subprocess.run(command, input=data, capture_output=True, timeout=4 * SECONDS, check=False)  # noqa: S603 - ourselves
    except subprocess.TimeoutExpired as err:
        raise DocumentError(f"{path}: takes too long to read") from err
    if done.returncode:
        told = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2] or "too much time or memory"
        raise DocumentError(f"{path}: is no PDF that can be read: {told[:200]}")
    title, _, text = done.stdout.decode("utf-8", "replace").partition("\n")
    return title, text


def main() -> None:
    """Read a PDF from the standard input; write its title as one line, then its text."""
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    from pypdf import PdfReader  # noqa: PLC0415 - only this process needs it

    sys.setrecursionlimit(DEPTH)
    reader = PdfReader(BytesIO(sys.stdin.buffer.read()))
    title = " ".join(str((reader.metadata and reader.metadata.title) or "").split())
    parts, chars = [title], 0
    for page in reader.pages[:PAGES]:
        parts.append(page.extract_text())
        chars += len(parts[-1])
        if chars > CHARS:
            break
    sys.stdout.buffer.write("\n".join(parts).encode("utf-8", "replace"))
    sys.stdout.buffer.flush()
    os._exit(0)  # nothing to tidy up, and a document of many objects takes long to forget


if __name__ == "__main__":
    main()
