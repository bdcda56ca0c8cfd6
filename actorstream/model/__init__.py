"""Values that everything speaks in: ids, batches, signals, key groups, and what users connect."""
