"""A process with a gate of its own: it asks its questions all at once, as soon as it is told to."""

import asyncio
from multiprocessing.connection import Connection

from tests.trust.emulated import OPEN, gate

from threatwalk.archive.store import Archive
from threatwalk.sample import Sample


def ask_at_once(
    pipe: Connection, url: str, endpoints: dict[str, str], questions: list[tuple[str, Sample]]
) -> None:
    """Says that it is ready, waits for a word, asks, and tells outcome and number of pivots of each question."""

    async def asked() -> list[tuple[str, int]]:
        archive = Archive.open(url)
        try:
            async with gate(archive, endpoints, quota="100000/minute", timeout_s=60) as live:
                pipe.send("ready")
                pipe.recv()
                answers = await asyncio.gather(
                    *(live.ask(name, sample, **OPEN) for name, sample in questions)
                )
        finally:
            archive.close()
        return [(str(answer.outcome), len(answer.pivots)) for answer in answers]

    pipe.send(asyncio.run(asked()))
