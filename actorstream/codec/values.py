"""The codec's front door: which codec for which value, and what may be shared.

annotated (EventLog(Order, ...), ValueState[int])   codec_for(annotation)   typed, compact, checked
not annotated (fold(0, ...), records in flight)     codec_of(initial)       typed where the initial value is a scalar
                                                    SELF_DESCRIBING         everything else: keeps types exactly
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actorstream.codec.contract import RECORD_BYTES_MAX as RECORD_BYTES_MAX
from actorstream.codec.contract import Codec as Codec  # noqa: TC001  (a public name)
from actorstream.codec.contract import check_size as check_size
from actorstream.codec.copying import copy_value as copy_value
from actorstream.codec.copying import is_immutable as is_immutable
from actorstream.codec.self_describing import SELF_DESCRIBING as SELF_DESCRIBING
from actorstream.codec.typed import codec_for as codec_for

if TYPE_CHECKING:
    from collections.abc import Mapping

_BY_CLASS: Final[Mapping[type, Codec[Any]]] = {kind: codec_for(kind) for kind in (bool, int, float, str, bytes)}


def codec_of(value: object) -> Codec[Any]:
    """Give the codec of a state without an annotation from its initial value.

    A scalar's codec refuses values of another class (an int passes where the
    initial value is a float); anything else is self-describing.
    """
    return _BY_CLASS.get(type(value), SELF_DESCRIBING)
