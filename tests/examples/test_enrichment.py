"""Tickets through real HTTP: paid for once, filed once, whatever is refused, out of order or crashes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.examples.loading import EXAMPLES, load, run_page

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(EXAMPLES / "enrichment")
    return load("enrichment", "tickets")


def noticed(services: Any, count: int) -> asyncio.Event:
    """Give an event that is set when so many tickets are filed."""
    file, event = services.file, asyncio.Event()

    async def noticing(key: str, body: Any) -> Any:
        answer = await file(key, body)
        if len(services.filed) >= count:
            event.set()
        return answer

    services.file = noticing
    return event


async def test_a_crash_in_the_middle_files_each_ticket_once(example: Any, tmp_path: Path) -> None:
    """Crashed with calls in flight, behind the model and behind the desk; the services live on."""
    services, desk = example.Services(), example.Desk(tmp_path)
    tickets = {ticket.id: ticket for ticket in example.some_tickets()}
    async with desk.raw:
        await desk.raw.extend(tickets.values())
    async with services.serve() as url:
        for count in (5, 20):
            filed = noticed(services, count)
            async with httpx.AsyncClient(base_url=url) as client:
                with pytest.raises(KeyError):  # noqa: PT012  (the block is what is crashed out of)
                    async with desk.pipeline(client).run(store=desk.store, checkpoint_interval=0.02):
                        await filed.wait()
                        raise KeyError("as a crash")
            assert len(services.filed) < 38
        async with httpx.AsyncClient(base_url=url) as client:
            await desk.run_until(client, done=38, dead=2)
            services.longest = 1_000
            await example.resend(desk.dead, desk.raw)
            await desk.run_until(client, done=40, dead=2)

    topics = {name: "login" if "log in" in ticket.text else "money" for name, ticket in tickets.items()}
    assert services.filed == topics
    assert services.charged == {ticket.text: 1 for ticket in tickets.values()}
    assert services.said[500] > 0
    async with desk.done:
        done = [record.value async for record in desk.done.records(stop="now")]
    assert sorted((ticket.id, ticket.topic) for ticket in done) == sorted(topics.items())


def test_the_page_shows_what_the_program_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLES / "enrichment")
    run_page("enrichment")
