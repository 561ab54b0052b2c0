"""Claims: which questions are under way, over all processes, so that no two ask the same at the same time.

A claim lies in our database while its question flies. Those of a process that died are void after a while.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from hashlib import blake2b
from uuid import uuid4

import sqlalchemy as sa

from threatwalk.errors import StoreError
from threatwalk.gate import tables
from threatwalk.sample import Sample

LEASE_S = 30.0

_claims = sa.Table(
    "source_claims",
    tables.metadata,
    sa.Column("question", sa.String(32), primary_key=True),  # a digest of source and sample
    sa.Column("owner", sa.String(32), nullable=False, index=True),
    sa.Column("until", sa.Float, nullable=False),  # seconds since 1970
)


class Claims:
    """The claims of one gate. They are taken and given back in groups: while one is written, the next gathers."""

    def __init__(self, engine: sa.Engine, now: Callable[[], datetime]) -> None:
        self._engine = engine
        self._now = now
        self._owner = uuid4().hex
        self._held: set[str] = set()
        self._taking: dict[str, asyncio.Future[bool]] = {}
        self._giving: set[str] = set()
        self._writing: asyncio.Task[None] | None = None
        self._renewing: asyncio.Task[None] | None = None

    async def take(self, source: str, sample: Sample) -> bool:
        """Claim a question; False: another process has it. One that is not given back is held until `close`.

        Raises:
            StoreError: the database cannot be used.
        """
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._taking[_digest(source, sample)] = future
        self._write_soon()
        return await future

    def give(self, source: str, sample: Sample) -> None:
        """Let others have the question, soon."""
        self._give(_digest(source, sample))

    async def close(self) -> None:
        """Give back what is left."""
        for question in list(self._held):
            self._give(question)
        if self._writing is not None:
            await self._writing
        if self._renewing is not None:
            self._renewing.cancel()

    def _give(self, question: str) -> None:
        self._held.discard(question)
        self._giving.add(question)
        self._write_soon()

    def _write_soon(self) -> None:
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())

    async def _write(self) -> None:
        while self._taking or self._giving:
            taking, self._taking = self._taking, {}
            giving, self._giving = self._giving, set()
            try:
                taken = await asyncio.to_thread(self._exchange, sorted(giving), sorted(taking))
            except StoreError as err:
                for future in taking.values():
                    if not future.done():
                        future.set_exception(err)
                continue
            self._held |= taken
            self._giving |= taking.keys() - taken  # which deletes another's claim only where it is void
            for question, future in taking.items():
                if not future.done():
                    future.set_result(question in taken)
                elif question in taken:  # whoever wanted it is gone
                    self._give(question)
            if self._held and self._renewing is None:
                self._renewing = asyncio.create_task(self._renew())

    def _exchange(self, giving: list[str], taking: list[str]) -> set[str]:
        """Delete claims that are ours or void, then make others; those that were made.

        In two transactions, each in the order of the keys, so that no two processes wait for each other.
        """
        at = self._now().timestamp()
        if giving:
            free = sa.or_(_claims.c.owner == self._owner, _claims.c.until <= at)
            with tables.transaction(self._engine, "claims") as connection:
                connection.execute(
                    _claims.delete().where(_claims.c.question == sa.bindparam("of"), free),
                    [{"of": question} for question in giving],
                )
        if not taking:
            return set()
        rows = [{"question": one, "owner": self._owner, "until": at + LEASE_S} for one in taking]
        fresh = tables.insert(self._engine, _claims).values(rows).on_conflict_do_nothing()
        with tables.transaction(self._engine, "claims") as connection:
            return set(connection.execute(fresh.returning(_claims.c.question)).scalars())

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(LEASE_S / 3)
            if self._held:
                with suppress(StoreError):  # who needs the database meets it as well
                    await asyncio.to_thread(self._prolong)

    def _prolong(self) -> None:
        until = self._now().timestamp() + LEASE_S
        with tables.transaction(self._engine, "claims") as connection:
            connection.execute(_claims.update().where(_claims.c.owner == self._owner).values(until=until))


def _digest(source: str, sample: Sample) -> str:
    return blake2b(f"{source} {sample}".encode(), digest_size=16).hexdigest()
