"""All decoders that are fuzzed, and for every module that takes bytes or text apart, by which of them.

a module uses one of PRIMITIVES ──> it stands in MODULES, with the decoders that lead through it, or why none does
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from tests.fuzz.of_checkpoints import CHECKPOINTS
from tests.fuzz.of_codecs import CODECS
from tests.fuzz.of_files import FILES_AND_PARTS
from tests.fuzz.of_logs import LOGS
from tests.fuzz.of_state import STATE
from tests.fuzz.of_words import WORDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.fuzz.decoder import Decoder

DECODERS: Final[list[Decoder]] = [*CODECS, *CHECKPOINTS, *FILES_AND_PARTS, *LOGS, *STATE, *WORDS]

PRIMITIVES: Final = re.compile(
    r"\b(?:msgspec\.\w+\.(?:decode|Decoder)\b|msgspec\.convert|decode_json\(|decode_run\(|decode_key(?:_at)?\(|decode_unloaded\("
    r"|SELF_DESCRIBING\.decode|decode_item\(|decode_token\(|unpack(?:_from)?\(|unseal\(|int\.from_bytes|json\.loads"
    r"|tomllib\.loads|literal_eval|b64decode|fromisoformat|\bint\((?:match|text|name|split|restore|job|subtask)"
    r"|_HEAD\.unpack|take_apart\(|time_in\(|decompress\(|\.read\([^)]*\)\.decode)"
)
"""What bytes or text are taken apart with."""

_STORE = {"manifest in a store", "manifest of a savepoint"}
_LAYERS = {"entries of layers"}
_LOG = {"ledger's documents", "ledger's rows"}
MODULES: Final[Mapping[str, set[str] | str]] = {
    "api/settings.py": {"actorstream.toml", "environment"},
    "checkpoints/archive.py": "packs savepoints, whose manifests it reads as `manifest of a savepoint` does",
    "checkpoints/archive_member.py": {"archive"},
    "checkpoints/archive_stream.py": {"archive"},
    "checkpoints/directory.py": _STORE,
    "checkpoints/in_flight.py": {"records in flight"},
    "checkpoints/lease.py": {"claim", "note of the job"},
    "checkpoints/manifest.py": {"manifest"},
    "checkpoints/savepoints.py": _STORE,
    "checkpoints/sealed.py": {"manifest", "claim", "note of the job"},
    "checkpoints/unpacking.py": {"archive", "archive's manifest"},
    "checkpoints/view.py": _STORE,
    "cli/demo/child.py": "reads what a child of its own says, and what it says last",
    "cli/demo/verdict.py": {"note of the demo"},
    "cli/json_lines.py": {"JSON lines"},
    "cli/key_text.py": {"keys as typed"},
    "cli/manifest_text.py": {"manifest"},
    "cli/run.py": {"times as typed"},
    "cli/span.py": {"times as typed"},
    "codec/copying.py": "reads what it has just encoded",
    "codec/documents.py": {"manifest", "LOG", "token", "note of the demo"},
    "codec/entry_runs.py": {"runs of entries"},
    "codec/evolution.py": {"values of several schemas", "schemas"},
    "codec/fields.py": {"JSON lines of a file", "CSV"},
    "codec/frames.py": {"frames"},
    "codec/layout.py": "lays out JSON that it has just encoded",
    "codec/ordered_keys.py": {"ordered keys", "keys among other bytes"},
    "codec/plain.py": {"plain values", "schemas"},
    "codec/self_describing.py": {"self-describing values"},
    "codec/shapes.py": {"typed values"},
    "codec/typed.py": {"typed values"},
    "codec/unloaded.py": {"values of classes that are not loaded"},
    "codec/widening.py": {"schemas"},
    "connectors/sqlite.py": {"token of rows"},
    "testing/conformance_sources.py": "decodes what it has encoded, in memory",
    "connectors/files/fencing.py": {"fences"},
    "connectors/files/file_bytes.py": {"gzip"},
    "connectors/files/part_tokens.py": {"token of parts"},
    "connectors/files/parts.py": {"name of a part"},
    "eventlog/documents.py": {"LOG", "LOG.2"},
    "eventlog/ledger.py": _LOG,
    "eventlog/meta_pages.py": {"pages"},
    "eventlog/once_a_boot.py": {"proofs of sealed segments"},
    "eventlog/pages.py": {"pages"},
    "eventlog/proofs.py": {"proofs of pages"},
    "eventlog/records.py": {"records"},
    "eventlog/row.py": "reads numbers of six digits and more from file names that match a pattern",
    "eventlog/segment.py": _LOG,
    "eventlog/sink.py": {"token"},
    "eventlog/staged.py": {"token", "staged file", "name of a staged file"},
    "eventlog/untyped.py": _LOG,
    "eventlog/view.py": _LOG,
    "evolve/rewritten.py": "writes entries that it has just made of items",
    "evolve/snapshot_diff.py": "compares rows that `entries of layers` reads",
    "evolve/sorting.py": {"runs of a sort"},
    "evolve/stored_items.py": _LAYERS | _STORE,
    "operators/early_timers.py": "decodes what it has encoded, in memory",
    "operators/generators.py": {"places of generators"},
    "operators/user_time.py": "mentions fromisoformat in a message",
    "runtime/event_time.py": {"places of generators"},
    "runtime/merging.py": {"result of the compaction child"},
    "runtime/outputs.py": {"frames"},
    "runtime/recording.py": {"frames"},
    "runtime/replay_order.py": "reads splits' names that the log has just given",
    "runtime/restoring.py": {"manifest", "records in flight"} | _STORE,
    "state/compaction.py": _LAYERS,
    "state/compaction_child.py": {"task of the compaction child"},
    "state/entries.py": _LAYERS,
    "state/keys_of.py": _LAYERS,
    "state/layer_stream.py": "decodes runs that it has encoded, in memory",
    "state/live_rows.py": _LAYERS,
    "state/map_table.py": _LAYERS,
    "state/operator_state.py": _LAYERS,
    "state/slice_entries.py": _LAYERS,
    "state/timer_entries.py": _LAYERS,
    "state/timer_epoch.py": "decodes what it has encoded, in memory",
    "state/timer_index.py": _LAYERS,
    "state/timers.py": _LAYERS,
    "state/ttl.py": _LAYERS | {"expiring values"},
    "state/unkeyed.py": _LAYERS,
    "state/verified.py": {"record of proved layers"},
    "state/writer_child.py": {"orders of the writer child"},
    "state/writer_frames.py": {"orders of the writer child", "answers of the writer child"},
    "state/writer_process.py": {"answers of the writer child"},
    "testing/committed.py": "reads logs of a test's own disk, whose damage is the bug that it looks for",
    "testing/ends.py": "reads splits' names that it has given itself",
    "testing/isolation.py": "decodes what it has encoded, in memory",
    "testing/simulation_plan.py": "reads plans that a developer pastes: PlanError, see tests/testing",
}
"""By module: the decoders that lead through it, or why it needs none."""
