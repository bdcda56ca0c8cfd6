"""The heart, sans-I/O: each class takes one event at a time and returns effects."""
