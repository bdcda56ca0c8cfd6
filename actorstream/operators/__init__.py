"""What runs inside an actor: one generated function for each chain."""
