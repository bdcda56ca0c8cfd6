"""Tickets get their topics from a language model behind HTTP, and go to a help desk behind HTTP.

    raw (log) ──> label ──> file ──> done (log)
                    └ dead (log) ── resend, once what was wrong is mended ──> raw

    python tickets.py            forty tickets, two of which are too long for the model; then the model is mended

A call may be made twice, after a timeout or a crash. The model is told so by `idempotency_key()`, the desk by the
ticket's own id: each ticket is paid for once, filed once, and once in the log.
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
from services import Services

from actorstream import EventLog, Failure, OutputTag, Pipeline, Retry, idempotency_key
from actorstream.evolve import resend


@dataclass(frozen=True)
class Ticket:
    id: str
    text: str
    topic: str | None = None


class BusyError(Exception):
    """429, or 500 and above: try again, later."""


class RefusedError(Exception):
    """Any other error: it would be refused again."""


FAILED: OutputTag[Failure[Ticket]] = OutputTag("failed")
RETRY = Retry(12, backoff=0.02, factor=1.5, jitter=0.5, on=(BusyError, httpx.TransportError))


async def post(client: httpx.AsyncClient, path: str, body: object, key: str) -> str:
    """Give the answer, or raise what says whether it makes sense to ask again."""
    response = await client.post(path, json=body, headers={"Idempotency-Key": key})
    if response.status_code == 429 or response.status_code >= 500:
        raise BusyError(f"{path}: {response.status_code} {response.json()}")
    if response.is_error:
        raise RefusedError(f"{path}: {response.status_code} {response.json()}")
    return str(response.json())


class Desk:
    """The logs of the pipeline, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.store = folder / "store"
        self.raw = EventLog(Ticket, folder / "raw")
        self.done = EventLog(Ticket, folder / "done")
        self.dead = EventLog(Failure[Ticket], folder / "dead")

    def pipeline(self, client: httpx.AsyncClient) -> Pipeline:
        async def label(ticket: Ticket) -> Ticket:
            return replace(ticket, topic=await post(client, "/topic", {"text": ticket.text}, idempotency_key()))

        async def file(ticket: Ticket) -> Ticket:
            await post(client, "/tickets", {"topic": ticket.topic}, ticket.id)
            return ticket

        pipeline = Pipeline("tickets")
        raw = pipeline.source(self.raw, name="raw")
        labelled = raw.map(
            label, name="label", concurrency=8, ordered=False, rate=500, timeout=30, retry=RETRY, errors=FAILED
        )
        labelled.side_output(FAILED).sink(self.dead, name="dead")
        filed = labelled.map(file, name="file", concurrency=8, timeout=30, retry=RETRY)  # fails for good: loudly
        filed.sink(self.done, name="done")
        return pipeline

    async def run_until(self, client: httpx.AsyncClient, done: int, dead: int) -> None:
        """Run until the logs hold so many records."""
        async with self.pipeline(client).run(store=self.store, checkpoint_interval=0.1) as job:
            for log, count in ((self.done, done), (self.dead, dead)):
                async with log:
                    async for record in log.records():
                        if record.offset + 1 == count:
                            break
            await job.stop()


def some_tickets() -> list[Ticket]:
    texts = ["my invoice is wrong", "I cannot log in", "where is the invoice of May"]
    tickets = [Ticket(f"T{number}", f"{texts[number % 3]} ({number})") for number in range(40)]
    for number in (13, 27):
        tickets[number] = replace(tickets[number], text=tickets[number].text * 10)
    return tickets


async def main(folder: Path) -> None:
    services, desk = Services(), Desk(folder)
    async with services.serve() as url, httpx.AsyncClient(base_url=url) as client:
        async with desk.raw:
            await desk.raw.extend(some_tickets())
        await desk.run_until(client, done=38, dead=2)
        print(
            f"{len(services.filed)} tickets filed; told to come later {services.said[429] + services.said[500]} times"
        )
        async with desk.dead:
            async for record in desk.dead.records(stop="now"):
                if (ticket := record.value.value) is not None:
                    print(f"dead: {ticket.id}, {record.value.error}")

        services.longest = 1_000
        print(await resend(desk.dead, desk.raw))
        await desk.run_until(client, done=40, dead=2)
        print(f"{len(services.filed)} tickets filed, {services.charged.total()} texts paid for")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        asyncio.run(main(Path(made)))
