"""Every exception that actorstream raises on purpose.

One module, so that a reader sees the whole family at once. The tree follows
who must act, not which module raised: a `PlanError` is mended in the pipeline's
code, a `RestoreError` by choosing another snapshot, a `StoreError` on the disk,
an `InvariantError` by us. A message says what was found, what was expected and
what to do.
"""

from __future__ import annotations


class ActorstreamError(Exception):
    """Root of the family: catches everything that actorstream raises on purpose."""


class PlanError(ActorstreamError):
    """The pipeline as written cannot run. Raised before any actor starts."""


class RestoreError(ActorstreamError):
    """A checkpoint or savepoint cannot be restored into this plan."""


class StoreError(ActorstreamError):
    """A file of a store or log is missing, damaged, newer, in use, or the disk is full.

    The message names the file, what was found in it and the remedy.
    """


class DataLossError(StoreError):
    """Records of a log that were acknowledged are damaged, missing or removed: trying again cannot help.

    Readers stop with this error in front of what is lost: they never skip it. The job is not restarted. Put the
    file back from a copy.
    """


class InputError(ActorstreamError):
    """What a source reads is not what it should be: a bad line, a file that is cut short.

    The message says where, what was found and the remedy. The job is not restarted: it would find the same again.
    """


class PromotedError(StoreError):
    """Other records have taken a log's place since it was opened here. Nothing was written: open it anew."""


class StoreInUseError(StoreError):
    """Another live process holds the store; nothing was changed."""


class FencedError(StoreError):
    """A newer attempt of the job has taken over: this one must stop. Nothing was written."""


class PushClosedError(ActorstreamError):
    """A `Push` takes no record now: it was closed, or its job has ended; a failed job's error is the `__cause__`."""


class CodecError(ActorstreamError):
    """A value, key or position cannot be turned into bytes, or bytes not into a value.

    Nothing is written. The message names the type and the place in the value.
    """


class RecordTooLargeError(CodecError):
    """One encoded record is over the limit; the message has its size and the setting."""


class UserCodeError(ActorstreamError):
    """A function of the pipeline's author raised; its own error is the `__cause__`.

    Attributes:
        operator: Name of the operator whose function raised.
        subtask: Index of the subtask in which it ran.
        position: Where the record was read: (split, position), or None where that is unknown.
        record: The record at hand, or None where that is unknown. Not in the message: it may be secret.
    """

    def __init__(self, message: str, *, operator: str, subtask: int, position: object, record: object = None) -> None:
        """Keep what names the place beside the message."""
        super().__init__(message)
        self.operator = operator
        self.subtask = subtask
        self.position = position
        self.record = record


class StateAccessError(ActorstreamError):
    """Keyed state was used where there is no key: in open, close or a background task."""


class MissingTimestampError(ActorstreamError):
    """A record's event time was asked for, and its source gives none."""


class TimestampError(ActorstreamError):
    """A time that a function of the pipeline gave is none: None, naive, NaN, of a wrong type or unit, or far off."""


class JobFailed(ActorstreamError):  # noqa: N818  (the public name, see docs)
    """Restarts are used up. The `__cause__` says why; notes hold what failed beside it."""


class InvariantError(ActorstreamError):
    """A rule of the runtime itself was broken: a bug in actorstream.

    The attempt ends, and the restart strategy decides; the last completed checkpoint stays untouched.
    """
