"""The gate: bugs put into the real code, one at a time, each of which the suite must find.

    of_<area>.py   @AREA.in_jobs("what is wrong", ...)   a function that gives the patches
                         │
    entering.py          └──> MUTANTS ──> test_mutants.py: hunted, with the bug at work, until an oracle breaks
    hunting.py     where: jobs, jobs of event time, random topologies, machines of state, replays

`make mutants` runs them all, and prints for each by what it was found, after how many tries and seconds. One that
survives is a gap in the suite: mend the suite, never the mutant.

An area is a file here. Protocol, commit, layers, compaction, windows, timers, watermarks, joins, rescale, replay,
loops, unaligned and log must be there (`REQUIRED` in test_mutants.py), each with `LEAST` bugs. A file that is there is
found by its name: nothing else lists it.
"""
