"""Every decoder given what no writer of ours would write: it says so, in the project's words, and in little room."""
