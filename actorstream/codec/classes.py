"""Names of classes inside bytes: `module:qualname`, found again only among what is loaded.

Reading bytes never imports anything and never calls a constructor that the bytes
chose: a name is looked up in `sys.modules`, walked attribute by attribute, and
the caller then checks that what it found is a class of the kind it wants.
"""

from __future__ import annotations

import sys
from enum import Enum, Flag
from typing import TypeVar

from actorstream.errors import CodecError

E = TypeVar("E", bound=Enum)

_names: dict[type, str] = {}


def name_of_class(cls: type) -> str:
    """Give the name under which `find_class` finds `cls` in this and in a later process.

    Raises:
        CodecError: the class is not reachable by a name (made inside a function, or hidden by another).
    """
    name = _names.get(cls)
    if name is None:
        name = f"{cls.__module__}:{cls.__qualname__}"
        if _look_up(name) is not cls:
            raise CodecError(
                f"class {cls.__qualname__} of module {cls.__module__} cannot be found again by that name: "
                f"define it at the top of a module, under its own name"
            )
        _names[cls] = name
    return name


def find_class(name: str) -> type:
    """Give the loaded class of that name.

    Raises:
        CodecError: no such class is loaded.
    """
    found = _look_up(name)
    if not isinstance(found, type):
        module, _, qualname = name.partition(":")
        raise CodecError(
            f"the bytes hold a {qualname[:100]!r} of module {module[:100]!r}, and no such class is loaded: "
            f"import that module before reading; a class that was moved must stay reachable under its old name"
        )
    return found


def find_enum(name: str) -> type[Enum]:
    """Give the loaded Enum of that name; CodecError if it is no Enum."""
    found = find_class(name)
    if not issubclass(found, Enum):
        raise CodecError(f"the bytes say that {name!r} is an Enum, and now it is none: give it back its kind")
    return found


def name_of_member(member: Enum) -> str | int:
    """Give what `find_member` finds a member by: its name, or the value of a combination of flags.

    Raises:
        CodecError: it is neither.
    """
    if type(member).__members__.get(member.name) is member:
        return member.name
    if isinstance(member, Flag) and type(member.value) is int:
        return member.value
    raise CodecError(f"{member!r} is no member of {type(member).__qualname__} by name: it cannot be found again")


def find_member(cls: type[E], name: str | int) -> E:
    """Give a member of an Enum by what `name_of_member` gave; CodecError if it is gone."""
    if isinstance(name, str):
        found = cls.__members__.get(name)
        if found is not None:
            return found
    elif issubclass(cls, Flag):
        return cls(name)
    raise CodecError(f"{cls.__qualname__} has no member {str(name)[:100]!r}: members that were stored must stay")


def _look_up(name: str) -> object:
    module, _, qualname = name.partition(":")
    found: object = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
        if not isinstance(found, type):
            return None
    return found
