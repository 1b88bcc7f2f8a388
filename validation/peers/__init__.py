"""What other implementations compute, and why."""
