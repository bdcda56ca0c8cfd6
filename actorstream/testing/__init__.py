"""Simulation, faulty disks and what users test their pipelines with."""
