"""Joins: two keyed inputs become one, in event time or by arrival."""
