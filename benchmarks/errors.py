"""Why a measurement gives no figure. Imports nothing: what is measured imports it."""


class WrongOutputError(Exception):
    """What was measured gave wrong output: whatever was measured means nothing."""


class ChildFailedError(Exception):
    """A measuring process ended with an error, as it does when output is wrong: its last words are in the message."""
