"""What must hold of the recovery decision, zombies included."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream.model.ids import AttemptNumber, CheckpointId
from actorstream.protocol.attempts import Claim, next_claim
from actorstream.protocol.recovery import Decision, ManifestFact, Refuse, RestoreFrom, StartEmpty, decide

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

CLAIMS = [Claim(AttemptNumber(1), CheckpointId(1)), Claim(AttemptNumber(2), CheckpointId(5))]
BROKEN = "checkpoints/6/manifest.json: digest is 00, expected ff"


def good(checkpoint: int, attempt: int = 1) -> ManifestFact:
    return ManifestFact(CheckpointId(checkpoint), AttemptNumber(attempt), None)


def broken(checkpoint: int, attempt: int | None = None) -> ManifestFact:
    return ManifestFact(CheckpointId(checkpoint), None if attempt is None else AttemptNumber(attempt), BROKEN)


def restore_from(checkpoint: int) -> RestoreFrom:
    return RestoreFrom(CheckpointId(checkpoint))


def refusal(decision: Decision) -> str:
    assert isinstance(decision, Refuse)
    return decision.reason


def test_empty_store_starts_empty() -> None:
    """Also when an attempt claimed its number and died."""
    assert decide([], []) == StartEmpty()
    assert decide([], CLAIMS) == StartEmpty()


def test_newest_manifest_is_restored() -> None:
    """In whatever order the folder lists them."""
    assert decide([good(3), good(5, 2), good(4)], CLAIMS) == restore_from(5)


def test_void_manifest_is_passed_over() -> None:
    """A zombie of attempt 1 published 7, with the highest number of all."""
    assert decide([good(4), good(5, 2), good(7)], CLAIMS) == restore_from(5)
    assert decide([good(5), good(6)], CLAIMS) == StartEmpty()
    assert decide([good(4), broken(7, 1)], CLAIMS) == restore_from(4)


def test_unreadable_newest_manifest_is_refused_never_replaced_by_an_older_one_t90() -> None:
    """T90: sinks may have committed what the older one does not know of."""
    reason = refusal(decide([good(4), good(5, 2), broken(6)], CLAIMS))

    assert BROKEN in reason
    assert "the newest good one is 5" in reason


def test_unreadable_only_manifest_is_refused_t90() -> None:
    """T90: and it is said that there is nothing else."""
    assert "there is no older good one" in refusal(decide([broken(6)], CLAIMS))


def test_unreadable_older_manifest_does_no_harm_t90() -> None:
    """T90 is about the newest one."""
    assert decide([good(4), broken(5, 2), good(6, 2)], CLAIMS) == restore_from(6)


def test_older_one_asked_for_needs_a_second_yes_where_later_output_is_committed_t90() -> None:
    """T90: what the person must know is in the message."""
    manifests = [good(3), good(4)]
    asked = CheckpointId(3)

    reason = refusal(decide(manifests, CLAIMS, restore=asked))
    assert "output up to checkpoint 4 may be committed already, so a start from checkpoint 3 would write" in reason
    assert "restore checkpoint 4, or pass --accept-duplicates" in reason
    assert decide(manifests, CLAIMS, restore=asked, accept_duplicates=True) == restore_from(3)


def test_unreadable_newest_is_not_offered_as_the_remedy_t90() -> None:
    """T90: "restore 6" would be bad advice."""
    assert "bring checkpoint 6 back" in refusal(decide([good(5, 2), broken(6)], CLAIMS, restore=CheckpointId(5)))


def test_the_remedy_names_the_newest_good_one_before_it_t90() -> None:
    """T90: not one behind what was asked for, nor one that is damaged too."""
    again = {"restore": CheckpointId(4), "accept_duplicates": True}

    def reason(*manifests: ManifestFact) -> str:
        return refusal(decide(manifests, CLAIMS, **again))  # type: ignore[arg-type]

    assert reason(good(2), broken(3, 1), broken(4, 1), good(5, 1)).endswith("the newest good one is 2")
    assert reason(broken(3, 1), broken(4, 1), good(5, 1)).endswith("there is no older good one")


def test_what_is_asked_for_must_be_there_and_valid() -> None:
    """The message lists the choice."""
    manifests = [good(4), good(5, 2), good(7)]

    assert refusal(decide(manifests, CLAIMS, restore=CheckpointId(9))) == (
        "checkpoint 9 is not there; choose one of [4, 5]"
    )
    assert "checkpoint 7 is void" in refusal(decide(manifests, CLAIMS, restore=CheckpointId(7)))
    assert BROKEN in refusal(decide([good(4), broken(6)], CLAIMS, restore=CheckpointId(6)))


@settings(max_examples=150, deadline=None)
@given(
    steps=st.lists(
        st.sampled_from(["start", "start", *["run"] * 12, "skip", "skip", "kill"]), min_size=20, max_size=60
    ),
    pick=st.randoms(use_true_random=False),
)
def test_no_zombie_ever_wins(steps: Sequence[str], pick: random.Random) -> None:
    """Old attempts go on running beside new ones, and are stopped between any two of their steps.

    A history is the row of checkpoints that a state was built from. Whatever is committed, by whomever, must
    stay on one line: of two committed checkpoints one was built on the other.
    """
    store = _Store()
    for step in steps:
        if step == "start":
            store.start()
        elif store.attempts:
            attempt = pick.choice(store.attempts)
            if step == "run":
                attempt.run()
            elif step == "skip":
                attempt.next_id += 1
            else:
                store.attempts.remove(attempt)


class _Store:
    """Numbers, claims, drafts, manifests by id with attempt and history, and what sinks were told to commit."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.claims: list[Claim] = []
        self.drafts: set[int] = set()
        self.manifests: dict[int, tuple[AttemptNumber, tuple[int, ...]]] = {}
        self.attempts: list[_Attempt] = []
        self.committed: tuple[int, ...] = ()

    def start(self) -> None:
        number = AttemptNumber(len(self.numbers) + 1)
        self.numbers.append(number)
        self.attempts.append(_Attempt(self, number))

    def decide(self) -> tuple[int, ...]:
        facts = [ManifestFact(CheckpointId(n), attempt, None) for n, (attempt, _) in self.manifests.items()]
        decision = decide(facts, self.claims)
        assert not isinstance(decision, Refuse)
        return self.manifests[decision.checkpoint][1] if isinstance(decision, RestoreFrom) else ()

    def commit(self, history: tuple[int, ...]) -> None:
        shared = min(len(history), len(self.committed))
        assert history[:shared] == self.committed[:shared], "two diverging histories were committed"
        self.committed = max(self.committed, history, key=len)


@dataclass
class _Attempt:
    """Takes over and then publishes, in the order of the attempts module: one step a call."""

    store: _Store
    number: AttemptNumber
    next_id: int = 0
    history: tuple[int, ...] = ()
    step: str = "sweep"

    def run(self) -> None:
        store = self.store
        match self.step:
            case "sweep":
                store.drafts -= set(range(self.number))
                self.step = "claim"
            case "claim":
                claim = next_claim(store.claims, [CheckpointId(n) for n in store.manifests])
                store.claims.append(Claim(self.number, claim.first_checkpoint))
                self.next_id = claim.first_checkpoint
                self.step = "restore"
            case "restore":
                self.history = store.decide()
                store.commit(self.history)
                self.step = "draft"
            case "draft":
                store.drafts.add(self.number)
                self.step = "look"
            case "look":
                self.step = "link" if self.is_newest() else "fenced"
            case "link":
                self.step = "commit" if self.link() else "fenced"
            case "commit":
                store.commit(self.history)
                self.step = "draft"
            case _:
                assert self.step == "fenced"

    def is_newest(self) -> bool:
        return self.store.numbers[-1] == self.number

    def link(self) -> bool:
        """Only a draft that is still there, to a name that is free."""
        if self.number not in self.store.drafts or self.next_id in self.store.manifests:
            return False
        self.store.drafts.discard(self.number)
        self.history = (*self.history, self.next_id)
        self.store.manifests[self.next_id] = (self.number, self.history)
        self.next_id += 1
        return True
