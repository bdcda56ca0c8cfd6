"""The user's words, and the composition root."""
