"""Where this installation keeps its things: environment variables, read when they are needed.

What changes an experiment stands in params.yaml; what differs between two machines stands here.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from threatwalk.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Settings:
    """The environment of one command.

    `home` (THREATWALK_HOME, default ./var) holds reports, quarantine and results; `database`
    (THREATWALK_DATABASE) is an SQLAlchemy URL; `endpoints` (THREATWALK_ENDPOINTS, a JSON file)
    sends sources elsewhere than to their public hosts, to the emulator for instance; `offline`
    (THREATWALK_OFFLINE=1) answers from the archive alone and asks nobody.
    """

    home: Path
    database: str
    endpoints: dict[str, str]
    offline: bool = False

    @classmethod
    def from_env(cls) -> "Settings":
        """Raises SettingsError where a variable cannot be used."""
        home = Path(os.environ.get("THREATWALK_HOME", "var")).absolute()
        database = os.environ.get("THREATWALK_DATABASE", f"sqlite:///{home / 'threatwalk.db'}")
        offline = os.environ.get("THREATWALK_OFFLINE", "") not in {"", "0"}
        return cls(home, database, _endpoints(os.environ.get("THREATWALK_ENDPOINTS")), offline)

    @property
    def reports(self) -> Path:
        return self.home / "reports"

    @property
    def quarantine(self) -> Path:
        return self.home / "quarantine"

    @property
    def results(self) -> Path:
        return self.home / "results"


def params_file() -> Path:
    """params.yaml of the current folder, or the file that THREATWALK_PARAMS names."""
    return Path(os.environ.get("THREATWALK_PARAMS", "params.yaml"))


def key(source: str) -> str | None:
    """The API key of a source: THREATWALK_KEY_VIRUSTOTAL and so on; None where there is none."""
    return os.environ.get(f"THREATWALK_KEY_{source.upper()}") or None


def quota(source: str) -> str | None:
    """What a source allows this installation, where that differs from its free plan: THREATWALK_QUOTA_VIRUSTOTAL
    and so on, written `1000/minute 20000/day 500000/month` or `none`; None: as published.
    """
    return os.environ.get(f"THREATWALK_QUOTA_{source.upper()}") or None


def contact() -> str | None:
    """The e-mail address that sources which want one are shown (THREATWALK_CONTACT); None where there is none."""
    return os.environ.get("THREATWALK_CONTACT") or None


def _endpoints(path: str | None) -> dict[str, str]:
    if not path:
        return {}
    try:
        table = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise SettingsError(f"THREATWALK_ENDPOINTS names {path}, which cannot be read: {err}") from err
    if not isinstance(table, dict):
        raise SettingsError(f"THREATWALK_ENDPOINTS names {path}, which holds no JSON object")
    return {str(name): str(url) for name, url in table.items()}
