"""Actors, channels and the supervisor of one process."""
