"""The user's graph as values, checked, chained and planned; nothing here runs."""
