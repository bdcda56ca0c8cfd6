"""The command line: thin, over the api."""
