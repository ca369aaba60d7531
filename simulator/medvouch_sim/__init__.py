"""Fleets of simulated gateways: the agent's own code, a real software TPM each, and attackers."""

__version__ = "0.1.0"
