"""Credentials: keys of several parts, written as one text with ":" between them."""

from base64 import b64encode

from threatwalk.sources.filter import Session
from threatwalk.sources.response import DeniedError


def parts(name: str, session: Session, count: int) -> list[str]:
    """The parts of a source's key; only the last may hold a ":" itself. A key without one is every part.

    Raises:
        DeniedError: there is no key, or it has another number of parts.
    """
    key = session.key or ""
    found = key.split(":", count - 1) if ":" in key else [key] * count
    if len(found) != count or not all(found):
        raise DeniedError(f"{name} wants a key of {count} parts with ':' between them")
    return found


def basic(name: str, session: Session) -> str:
    """The Authorization header of HTTP basic for a key USER:PASSWORD; raises DeniedError as `parts` does."""
    return f"Basic {b64encode(':'.join(parts(name, session, 2)).encode()).decode()}"
