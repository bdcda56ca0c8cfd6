"""Sizes at the edge of what is promised: large values, many keys, one hot key, small mailboxes, wide jobs."""
