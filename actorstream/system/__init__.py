"""The real world: clock, disk, threads, randomness. The simulation's is in actorstream/testing/."""
