"""What was written is not there as it was written: no restart brings it back, a person must.

    a record, a page, a whole segment   damaged or missing: put the file back from a copy
    records behind a position           removed by retention before an unregistered reader came to them

Readers stop with this error in front of what is lost: they never skip it.
"""

from __future__ import annotations

from actorstream.errors import StoreError


class DataLossError(StoreError):
    """Records that were acknowledged are damaged, missing or removed: trying again cannot help.

    The message names the file, what was found in it and the remedy.
    """
