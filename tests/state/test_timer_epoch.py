"""One epoch's timers: the heap gives each at its time, whatever became of it before."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream.codec.ordered_keys import decode_key, encode_key
from actorstream.state.timer_entries import DOMAINS
from actorstream.state.timer_epoch import Place, TimerEpoch

KEYS = [encode_key(key) for key in ("a", "b", "c")]
SUFFIXES = [DOMAINS[domain] + encode_key(name) for domain, name in ((0, "x"), (0, "y"), (1, "x"))]


def shown(first: tuple[Place | None, int]) -> tuple[int, bytes, bytes] | None:
    """Leave out key and name, which must be what the encoded ones say."""
    place, steps = first
    assert steps >= 0
    if place is None:
        return None
    assert place[3:] == (decode_key(place[1]), decode_key(place[2][1:]))
    return place[:3]


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
            named = (decode_key(key), decode_key(suffix[1:])) if random.random() < 0.5 else ()
            epoch.put(key, suffix, model[place], (), *named)
        elif action < 0.7 and place in model:
            del model[place]
            epoch.forget(key, suffix)
        elif action < 0.8:
            for key, (at, _, _, suffix) in epoch.take(random.randint(1, 2)):
                assert model.pop((key, suffix)) == at
        for domain in (0, 1):
            times = [(at, *each) for each, at in model.items() if at is not None and each[1][0] == domain]
            assert shown(epoch.first(domain, 1_000)) == min(times, default=None)
        assert {(key, change[3]): change[0] for key, change in epoch.changes()} == model
        assert {(key, suffix) for key in KEYS for suffix in epoch.suffixes_of(key)} == set(model)
        assert epoch.entries == len(model)
    assert epoch.empty(10_000) >= len(model)
    assert not epoch


def test_heap_keeps_one_place_for_a_timer_that_moves_away() -> None:
    epoch = TimerEpoch()
    for time in range(1_000):
        epoch.put(KEYS[0], SUFFIXES[0], time, ())
        if time % 100 == 0:
            assert epoch.first(0, 1_000) == ((time, KEYS[0], SUFFIXES[0], "a", "x"), 1_000 - (time > 0))
    assert len(epoch.heaps[0]) == 1


def test_epoch_is_true_until_all_is_freed_and_freed_by_slices() -> None:
    """A heap of places that nobody needs is no less work to free than what they stood for."""
    epoch = TimerEpoch()
    for number in range(100):
        epoch.put(encode_key(number % 7), DOMAINS[0] + encode_key(number), number, ())
    assert len(epoch.take(1_000)) == 14, "those of one key"
    while epoch:
        before = epoch.entries + len(epoch.heaps[0])
        assert epoch.empty(10) == before - epoch.entries - len(epoch.heaps[0]) <= 10
    assert epoch.bytes < 500
