"""Sources and sinks for systems outside, one a file."""
