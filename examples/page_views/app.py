"""Live page views inside a web service: run it with `uvicorn app:app`, kill it at any moment, start it again."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import FastAPI

from actorstream import EventLog, Job, Pipeline


@dataclass(frozen=True)
class Click:
    user: str
    page: str


clicks = EventLog(Click, "data/clicks")  # durable, replayable, embedded
pipeline = Pipeline("page-views")
views = pipeline.source(clicks).key_by(lambda c: c.page).count(name="views")
jobs: dict[str, Job] = {}


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
    async with pipeline.run(store="data") as jobs["views"]:  # resumes where the last run stopped, or died
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/clicks")
async def click(c: Click) -> None:
    await clicks.append(c)  # on disk when this returns


@app.get("/views/{page}")
async def count(page: str) -> int:
    return await jobs["views"].get(views, page) or 0  # from memory, no round trip
