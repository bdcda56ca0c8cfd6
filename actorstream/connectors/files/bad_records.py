"""What a file has that is no record: an error that says where, or one more to count.

in/clicks.jsonl, line 17 (byte 1042): Expected `int`, got `str` - at `$.page`: {"user": "ann", "page": "th…
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from actorstream.errors import InputError
from actorstream.system.log import log

if TYPE_CHECKING:
    from collections.abc import Callable

OnBadRecord: TypeAlias = Literal["fail", "skip"]
_SHOWN_CHARS: Final = 80


class BadRecords:
    """The bad records of one file.

    Attributes:
        path: The file, as it is named in errors.
    """

    def __init__(self, path: str, policy: OnBadRecord, count: Callable[[], None]) -> None:
        """Fail at the first, or skip each; `count` is told of one that was skipped."""
        self.path = path
        self._policy = policy
        self._count = count
        self._warned = False

    def found(self, why: object, place: Callable[[], str], shown: bytes | str) -> None:
        """Take note of one.

        Args:
            why: What is wrong with it.
            place: Gives where it stands; asked only if somebody is told.
            shown: The record as it stands there; its first characters are shown.

        Raises:
            InputError: It is not to be skipped.
        """
        if self._policy == "fail":
            raise InputError(
                f"{self.path}, {place()}: {why}: {_shortened(shown)}; mend the file, or pass over bad records with "
                'on_bad_line="skip"'
            )
        self._count()
        if not self._warned:  # one a file: a file of another kind has nothing else, and records are not for the log
            self._warned = True
            log.warning("bad record skipped", file=self.path, place=place(), error=str(why))


def _shortened(shown: bytes | str) -> str:
    text = shown.decode("utf-8", "backslashreplace") if isinstance(shown, bytes) else shown
    text = text.rstrip("\r\n")
    return repr(text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…")
