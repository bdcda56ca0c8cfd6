"""Sensors of a plant: readings that are unlike those before, and sensors that are not heard of any more.

    python anomalies.py          three sensors for ten minutes, and the alarms that they give

For each sensor there are mean and variance of what was normal, in one pass (Welford 1962), and a timer that each
reading moves on. A reading far off is told, and not learned from; several in a row are what is normal from then on.
Readings of one sensor come in order, perhaps twice; those of different sensors may lag behind each other by `LAG`.
"""

from __future__ import annotations

import asyncio
import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from actorstream import Context, KeyedProcess, Pipeline, Stream, Timer, ValueState, collect

if TYPE_CHECKING:
    from collections.abc import Iterator

LAG = 5.0
SILENCE = 60.0
ENOUGH = 10
"""So many readings say what is normal; before, none is unusual."""
FAR = 4.0
"""Standard deviations."""
NOISE = 0.1
"""The least standard deviation: a sensor that always said the same is not alarmed by the last digit."""
CHANGED = 4
"""So many unusual readings in a row are a new normal."""


@dataclass(frozen=True)
class Reading:
    sensor: str
    at: float  # Unix seconds
    value: float


@dataclass(frozen=True)
class Alarm:
    sensor: str
    at: float
    kind: str  # unusual, changed, silent, back
    text: str


@dataclass(frozen=True)
class Normal:
    """Of the readings that were learned from: how many, their mean, and the sum of squared distances from it."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def learn(self, value: float) -> Normal:
        count, off = self.count + 1, value - self.mean
        mean = self.mean + off / count
        return Normal(count, mean, self.squares + off * (value - mean))

    @property
    def deviation(self) -> float:
        return max(NOISE, math.sqrt(self.squares / max(1, self.count)))

    def is_far(self, value: float) -> bool:
        return self.count >= ENOUGH and abs(value - self.mean) > FAR * self.deviation


class Watch(KeyedProcess[str, Reading, Alarm]):
    """One sensor."""

    normal: ValueState[Normal] = ValueState(Normal())
    unusual: ValueState[int] = ValueState(0)
    last: ValueState[float] = ValueState(math.inf)
    silent: ValueState[bool] = ValueState(default=False)

    def on_element(self, reading: Reading, ctx: Context[str], /) -> Iterator[Alarm]:
        """Compare a reading with those before it."""
        if self.last != math.inf:
            if reading.at <= self.last:
                return  # sent again
            if self.silent or reading.at > self.last + SILENCE:
                if not self.silent:  # no other sensor has shown yet that so much time is over
                    yield self.silence(ctx.key)
                yield Alarm(ctx.key, reading.at, "back", f"after {reading.at - self.last:.0f} s")
        self.last, self.silent = reading.at, False
        ctx.set_timer(reading.at + SILENCE)
        yield from self.judge(reading)

    def judge(self, reading: Reading) -> Iterator[Alarm]:
        normal = self.normal
        if not normal.is_far(reading.value):
            self.normal, self.unusual = normal.learn(reading.value), 0
        elif self.unusual + 1 < CHANGED:
            self.unusual += 1
            text = f"{reading.value:.1f} instead of {normal.mean:.1f} ± {normal.deviation:.1f}"
            yield Alarm(reading.sensor, reading.at, "unusual", text)
        else:
            self.normal, self.unusual = Normal().learn(reading.value), 0
            yield Alarm(reading.sensor, reading.at, "changed", f"{reading.value:.1f} for the {CHANGED}th time in a row")

    def on_timer(self, timer: Timer, ctx: Context[str], /) -> Iterator[Alarm]:
        """Tell that the sensor has been silent for too long: time has come so far by the readings of others."""
        self.silent = True
        yield self.silence(ctx.key)

    def silence(self, sensor: str) -> Alarm:
        return Alarm(sensor, self.last + SILENCE, "silent", f"for {SILENCE:.0f} s")


def alarms(readings: Stream[Reading]) -> Stream[Alarm]:
    """Give what is to be told of each sensor, in order."""
    timed = readings.assign_timestamps(lambda reading: reading.at, out_of_orderness=LAG, idle_timeout=10)
    return timed.key_by(lambda reading: reading.sensor).process(Watch, name="watch")


def ten_minutes(seed: int = 7) -> list[Reading]:
    """A press that jams once, a lathe that is switched off for two minutes, an oven that is made hotter."""
    rng, readings = random.Random(seed), list[Reading]()
    for second in range(0, 600, 5):
        at = float(second)
        readings.append(Reading("press", at, 55.0 if second == 300 else rng.gauss(40.0, 1.0)))
        if not 200 <= second < 320:
            readings.append(Reading("lathe", at + 1, rng.gauss(1500.0, 20.0)))
        readings.append(Reading("oven", at + 2, rng.gauss(180.0 if second < 400 else 220.0, 2.0)))
    return readings


if __name__ == "__main__":
    for alarm in asyncio.run(collect(alarms(Pipeline("plant").source(ten_minutes())))):
        minutes, seconds = divmod(int(alarm.at), 60)
        print(f"{minutes:02}:{seconds:02}  {alarm.sensor:6} {alarm.kind:8} {alarm.text}")
