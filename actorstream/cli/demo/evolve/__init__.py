"""`actorstream demo evolve`: a bug, its mending, and the repair of what it had written, without losing state.

bookings.py   the input, and what must come out of it, by a plain loop
versions.py   the program, with the bug and without
story.py      what happens, act by act
command.py    the command, and what it prints
"""
