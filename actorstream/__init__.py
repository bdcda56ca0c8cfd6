"""Flink's guarantees as a library that you can `await`."""
