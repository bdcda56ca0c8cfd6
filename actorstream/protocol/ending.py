"""Who wants the job to end, and what follows its final checkpoint once all output is committed.

    stop                  final checkpoint ── committed ── the job ends
    end of all input      final checkpoint ── committed ── the job ends
    stop with savepoint   final checkpoint ── committed ── keep it as a savepoint ── the job ends
                                  └─ failed                        └─ failed ───────── sources read on
    hand over             final checkpoint ── committed ── another attempt goes on from it
                                  └─ failed ─────────────────────────────────────────── sources read on

A stop and the end of input insist: a final checkpoint that fails is tried again. The others only ask: when
theirs fails they are told so, and the job goes on as if they had not come. With `drain` the sources end first, as if
their input had; from there is no way back, so that insists too.

Pure, a part of protocol/coordinator.py.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

Then: TypeAlias = Literal["end", "savepoint", "hand over"]


@dataclass(frozen=True, slots=True)
class EndRequest:
    """One wish that the job, or this attempt of it, ends with a final checkpoint. `savepoint`: the name, if any."""

    request: int
    then: Then = "end"
    savepoint: str = ""
    drain: bool = False


class KeepRequest(NamedTuple):
    """A savepoint to be made of the final checkpoint; `ends`: the job ends if that works."""

    request: int
    savepoint: str
    ends: bool


SAVEPOINTS_MAX = 1_000
"""So many savepoints may wait for their turn."""


class Ending:
    """The requests that wait for the job's end; `savepoints` wait for a moment before it, oldest first."""

    def __init__(self) -> None:
        """Nobody has asked yet."""
        self.requests: list[EndRequest] = []
        self.savepoints: deque[tuple[int, str]] = deque()
        self.keeps: deque[KeepRequest] = deque()
        self._kept = False

    @property
    def draining(self) -> bool:
        """Tell whether the sources end before the final checkpoint."""
        return any(request.drain for request in self.requests)

    @property
    def stops(self) -> bool:
        """Tell whether the sources stop at the barrier of the final checkpoint."""
        return bool(self.requests) and not self.draining

    @property
    def insists(self) -> bool:
        """Tell whether somebody wants the end whatever fails."""
        return self.draining or any(request.then == "end" for request in self.requests)

    def give_up(self) -> list[int]:
        """Take all requests back, none of which insists: the final checkpoint they hoped for has failed."""
        asked, self.requests = self.requests, []
        return [request.request for request in asked]

    def close(self) -> list[int]:
        """The final checkpoint is durable: give those whom that is enough, turn savepoints into what is to be kept."""
        stops = [request.request for request in self.requests if request.then == "end"]
        self._kept = bool(stops)
        for request in self.requests:
            if request.then == "savepoint":
                self.keeps.append(KeepRequest(request.request, request.savepoint, ends=True))
        self.keeps += [KeepRequest(*waiting, ends=False) for waiting in self.savepoints]
        self.savepoints.clear()
        return stops

    def join(self, request: int, savepoint: str | None) -> None:
        """Take a stop that comes after `close`: what is there already is what it wants."""
        if savepoint is None:
            self._kept = True
        else:
            self.keeps.append(KeepRequest(request, savepoint, ends=True))

    def fail(self) -> list[int]:
        """Give everybody who waits: the job has failed."""
        return [*(asked.request for asked in self.requests), *(request for request, _ in self.savepoints)]

    def on_kept(self, problem: str | None) -> KeepRequest:
        """Take the outcome of the oldest of `keeps`."""
        keep = self.keeps.popleft()
        self._kept = self._kept or (keep.ends and problem is None)
        return keep

    def after(self, *, all_finished: bool) -> Literal["end", "hand over", "go on"]:
        """Say what follows when all is committed and kept."""
        if self._kept or all_finished:
            return "end"
        return "hand over" if self.handed_over else "go on"

    @property
    def handed_over(self) -> list[int]:
        """Give those who want another attempt to go on."""
        return [request.request for request in self.requests if request.then == "hand over"]

    def go_on(self) -> None:
        """Forget who asked: the job goes on."""
        self.requests = []
