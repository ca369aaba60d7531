"""What attesting, verifying, running the agent and a fleet cost: `python -m medvouch_sim.bench`."""
