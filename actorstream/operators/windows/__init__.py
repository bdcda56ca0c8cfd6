"""Windows: what the records of a key come to within a stretch of time, or of their number."""
