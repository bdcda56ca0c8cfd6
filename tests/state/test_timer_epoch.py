"""One epoch's timers: the heap gives each at its time, whatever became of it before."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream.state.timer_epoch import TimerEpoch

KEYS = [b"a", b"b", b"c"]
SUFFIXES = [b"\x00x", b"\x00y", b"\x01x"]


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_first_is_the_least_that_is_set(seed: int) -> None:
    """Moved earlier and later, cancelled, forgotten, taken out."""
    random = Random(seed)
    epoch = TimerEpoch()
    model: dict[tuple[bytes, bytes], int | None] = {}
    for _ in range(60):
        place = key, suffix = random.choice(KEYS), random.choice(SUFFIXES)
        action = random.random()
        if action < 0.6:
            model[place] = random.choice([None, random.randint(0, 9), random.randint(0, 9)])
            epoch.put(key, suffix, model[place], ())
        elif action < 0.7 and place in model:
            del model[place]
            epoch.forget(key, suffix)
        elif action < 0.8:
            for key, suffix, (at, _, _) in epoch.take(random.randint(1, 2)):
                assert model.pop((key, suffix)) == at
        for domain in (0, 1):
            times = [(at, *each) for each, at in model.items() if at is not None and each[1][0] == domain]
            assert epoch.first(domain) == min(times, default=None)
        assert epoch.entries == sum(map(len, epoch.values())) == len(model)
    assert epoch.empty(10_000) >= len(model)
    assert not epoch


def test_heap_keeps_one_place_for_a_timer_that_moves_away() -> None:
    epoch = TimerEpoch()
    for time in range(1_000):
        epoch.put(b"a", b"\x00x", time, ())
        if time % 100 == 0:
            assert epoch.first(0) == (time, b"a", b"\x00x")
    assert len(epoch.heaps[0]) == 1


def test_epoch_is_true_until_all_is_freed_and_freed_by_slices() -> None:
    """A heap of places that nobody needs is no less work to free than what they stood for."""
    epoch = TimerEpoch()
    for number in range(100):
        epoch.put(b"k%d" % (number % 7), b"\x00%d" % number, number, ())
    assert len(epoch.take(1_000)) == 14, "those of one key"
    while epoch:
        before = epoch.entries + len(epoch.heaps[0])
        assert epoch.empty(10) == before - epoch.entries - len(epoch.heaps[0]) <= 10
    assert epoch.bytes < 500
