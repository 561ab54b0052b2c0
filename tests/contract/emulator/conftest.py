"""A made-up internet, the emulator that plays it, and where the answers of the real one lie recorded."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from threatwalk.emulator import feed
from threatwalk.emulator.serve import Emulator, Generated, start
from threatwalk.emulator.world import World, make_world


@pytest.fixture(scope="session")
def made() -> World:
    return make_world(3, 60)


@pytest.fixture(scope="session")
def world(made: World) -> Generated:
    """The same as the routes see it."""
    return Generated(made)


@pytest.fixture
async def emulator(made: World, world: Generated) -> AsyncIterator[Emulator]:
    running = await start(world, feed.of_reports(made.reports))
    yield running
    await running.close()


@pytest.fixture(scope="session")
def providers(shared: Path) -> Path:
    return shared / "data" / "providers"
