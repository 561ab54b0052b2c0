"""Who may do what at the desk.

| right | what it allows | who has it in Airflow |
|---|---|---|
| READ | see the queue, results, verdicts | may see the DAG `analyze` (Viewer and above) |
| QUEUE | queue, change and cancel indicators, choose active DNS where PAP allows it | may trigger the DAG `analyze` (User and above) |
| DECIDE | accept and reject found samples, which later datasets learn from | the same |
| LOOSEN | give an indicator a freer TLP or PAP than it had | may edit connections, the keys to the sources (Op and above) |
"""

from dataclasses import dataclass
from enum import StrEnum

from threatwalk.errors import RightError


class Right(StrEnum):
    READ = "read"
    QUEUE = "queue"
    DECIDE = "decide"
    LOOSEN = "loosen"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody at the desk: a name that is kept with what they do, and their rights."""

    name: str
    rights: frozenset[Right]

    def need(self, right: Right, what: str) -> None:
        """Raises RightError where the person may not do `what`."""
        if right not in self.rights:
            raise RightError(f"{self.name} may not {what}: that needs the right to {right}")


EVERYTHING = frozenset(Right)
