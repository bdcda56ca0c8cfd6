from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream.checkpoints.manifest import attempt_of
from actorstream.checkpoints.retention import Holdings, Published, Retirement, choose
from actorstream.model.ids import AttemptNumber, CheckpointId, LayerName

NAMES = st.builds(lambda attempt, n: LayerName(f"{attempt}-main-{n}.lmdb"), st.integers(1, 4), st.integers(0, 3))
SETS = st.frozensets(NAMES, max_size=6)
MANIFESTS = st.lists(
    st.builds(
        Published,
        st.integers(1, 12).map(CheckpointId),
        st.integers(1, 4).map(AttemptNumber),
        st.none() | SETS | SETS,
        st.sampled_from([False, False, False, True]),
    ),
    unique_by=lambda manifest: manifest.checkpoint,
    max_size=8,
)
HOLDINGS = st.builds(
    Holdings, MANIFESTS, st.frozensets(NAMES | st.sampled_from(["x", "1-main-1.lmdb.part"])), SETS, SETS
)
ME = AttemptNumber(3)


def layer(attempt: int, n: int) -> LayerName:
    return LayerName(f"{attempt}-main-{n}.lmdb")


def published(checkpoint: int, *layers: LayerName, attempt: int = ME, void: bool = False) -> Published:
    return Published(CheckpointId(checkpoint), AttemptNumber(attempt), frozenset(layers), void)


def chosen(
    *manifests: Published,
    present: set[LayerName],
    held: frozenset[LayerName] = frozenset(),
    keep: int = 2,
    durable: int = 8,
) -> Retirement:
    holdings = Holdings(manifests, present, held)
    return choose(holdings, keep=keep, durable=CheckpointId(durable), attempt=ME)


@settings(max_examples=400, deadline=None)
@given(HOLDINGS, st.integers(1, 4), st.integers(1, 12).map(CheckpointId))
def test_nothing_that_anybody_refers_to_is_ever_chosen(holdings: Holdings, keep: int, durable: CheckpointId) -> None:
    """The deletion rules, over any store: a file once gone is gone for every checkpoint that lists it."""
    retirement = choose(holdings, keep=keep, durable=durable, attempt=ME)
    kept = [one for one in holdings.manifests if one.checkpoint not in retirement.checkpoints]
    going = set(retirement.layers)
    assert not going & holdings.held
    for manifest in kept:
        assert manifest.layers is not None or not going
        if not manifest.void:
            assert not going & (manifest.layers or frozenset())
    dropped = [one for one in holdings.manifests if one.checkpoint in retirement.checkpoints]
    listed = holdings.listed_before.union(*(one.layers or frozenset() for one in dropped))
    for name in going:
        writer = attempt_of(name)
        assert writer is not None
        assert writer <= ME, "layers of a higher attempt never"
        assert writer < ME or name in listed, "a layer of our own may be in a checkpoint that is yet to come"
    for manifest in dropped:
        assert manifest.attempt <= ME
        assert manifest.void or manifest.checkpoint < durable
    if retirement.checkpoints or going:
        readable = [one for one in kept if one.checkpoint <= durable and one.layers is not None and not one.void]
        live = [one for one in holdings.manifests if not one.void and one.layers is not None]
        assert readable, "T79: add first, delete after"
        assert len(readable) >= min(keep, sum(one.checkpoint <= durable for one in live))


@settings(max_examples=200, deadline=None)
@given(HOLDINGS, st.integers(1, 4), st.integers(1, 12).map(CheckpointId))
def test_choosing_again_after_deleting_finds_nothing_more(holdings: Holdings, keep: int, durable: CheckpointId) -> None:
    """A retirement that was cut short is finished by the next, and a finished one is at rest."""
    first = choose(holdings, keep=keep, durable=durable, attempt=ME)
    after = Holdings(
        [one for one in holdings.manifests if one.checkpoint not in first.checkpoints],
        set(holdings.present) - set(first.layers),
        holdings.held,
        first.waiting,
    )
    assert choose(after, keep=keep, durable=durable, attempt=ME) == Retirement(waiting=first.waiting)


def test_the_drawing_of_the_module() -> None:
    a, b, c, d, e = (layer(3, n) for n in range(5))
    manifests = published(5, a), published(6, a, b), published(7, b, c), published(8, c, d, e)
    assert chosen(*manifests, present={a, b, c, d, e}) == Retirement((CheckpointId(6), CheckpointId(5)), (a,))


def test_a_layer_of_the_running_attempt_that_no_manifest_ever_listed_stays() -> None:
    """T75, T76: it was written for a checkpoint that failed, and the next manifest may list it."""
    assert chosen(published(8), present={layer(3, 1)}).layers == ()


def test_an_orphan_of_a_lower_attempt_goes_and_one_of_a_higher_never() -> None:
    assert chosen(published(8), present={layer(2, 1), layer(4, 1)}).layers == (layer(2, 1),)


def test_a_held_layer_goes_once_it_is_let_go() -> None:
    """No manifest lists it any more, so somebody must remember that one did."""
    a = layer(3, 1)
    first = chosen(published(6, a), published(7), published(8), present={a}, held=frozenset({a}))
    assert (first.checkpoints, first.layers, first.waiting) == ((CheckpointId(6),), (), frozenset({a}))
    holdings = Holdings([published(7), published(8)], {a}, frozenset(), first.waiting)
    assert choose(holdings, keep=2, durable=CheckpointId(8), attempt=ME).layers == (a,)


def test_a_manifest_newer_than_what_is_durable_counts_for_nothing_and_loses_nothing() -> None:
    """T79: its publish had an unknown outcome: it may be lost, or be what recovery takes."""
    a, b = layer(3, 1), layer(3, 2)
    manifests = published(6, a), published(7, a), published(8, b)
    assert chosen(*manifests, present={a, b}, keep=2, durable=7) == Retirement()


def test_an_unreadable_manifest_among_the_kept_stops_all_deletion() -> None:
    """T79, T90: which layers it lists is not known."""
    broken = Published(CheckpointId(7), ME, None)
    manifests = [published(5), published(6), broken, published(8)]
    holdings = Holdings(manifests, {layer(2, 1)}, frozenset())
    assert choose(holdings, keep=2, durable=CheckpointId(8), attempt=ME) == Retirement()
    # It does not count as kept, and goes like any other once enough readable ones are newer.
    more = Holdings([*manifests, published(9)], {layer(2, 1)}, frozenset())
    gone = choose(more, keep=2, durable=CheckpointId(9), attempt=ME)
    assert gone == Retirement((CheckpointId(7), CheckpointId(6), CheckpointId(5)), (layer(2, 1),))


def test_a_void_manifest_protects_nothing() -> None:
    zombie = published(9, layer(2, 1), attempt=2, void=True)
    assert chosen(published(8), zombie, present={layer(2, 1)}) == Retirement((CheckpointId(9),), (layer(2, 1),))


def test_an_empty_store_loses_nothing() -> None:
    assert chosen(present={layer(1, 1)}) == Retirement()
