"""The demonstration: three gateways from power-on to a signed verdict, and every attack that must be caught."""
