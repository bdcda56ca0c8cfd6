"""Measurements, each against something plain on the same machine: `python -m benchmarks cost`."""
