"""Keyed state: a memtable over immutable layers."""
