"""Sending a result to a MISP server: its event is added, or brought up to date where it is there already."""

from typing import Any

from pymisp import MISPEvent
from pymisp.exceptions import PyMISPError
from requests import RequestException

from threatwalk.errors import SettingsError, UnavailableError
from threatwalk.reports.gather import plain
from threatwalk.reports.misp_server import connected, ours

KEY = "THREATWALK_KEY_MISP"


def push(event: dict[str, Any], url: str, key: str | None) -> bool:
    """Send one event (as `desk.misp` makes it), unpublished; True: it was new there.

    Raises:
        SettingsError: there is no key, or it is refused.
        UnavailableError: the server cannot be reached, or does not take the event.
    """
    if not key:
        raise SettingsError(f"{url}: a MISP server wants a key, in {KEY}")
    made = MISPEvent()
    made.from_dict(**event["Event"])
    try:
        server = connected(url, key)
        known = server.event_exists(made)
        said = server.update_event(made) if known else server.add_event(made)
    except (PyMISPError, RequestException) as err:
        raise ours(str(err).replace(key, "..."), url, KEY) from err
    if isinstance(said, dict) and "errors" in said:
        raise UnavailableError(
            f"{url} does not take the event: {plain(str(said['errors']).replace(key, '...'), 200)}"
        )
    return not known
