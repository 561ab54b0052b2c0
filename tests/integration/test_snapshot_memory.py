"""A snapshot reads the archive as a stream: four times the answers take no more memory."""

from pathlib import Path

import pytest
from tests.integration.conftest import new_database
from tests.integration.large_snapshot import fill, measure

SMALL, LARGE = 30_000, 120_000


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_memory_does_not_grow_with_the_archive(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    told = {}
    for count in (SMALL, LARGE):
        url = f"sqlite:///{tmp_path / str(count)}.db"
        if kind == "postgresql":
            url = new_database(request.getfixturevalue("postgres_server"))
        fill(url, count)
        told[count] = measure(url, tmp_path / f"out-{count}")

    print(f"\n{kind}: {told}")
    assert [told[count]["questions"] for count in (SMALL, LARGE)] == [SMALL, LARGE]
    assert told[LARGE]["peak_mb"] < told[SMALL]["peak_mb"] * 1.1 + 10
