"""The embedded, durable, partitioned, replayable event log."""
