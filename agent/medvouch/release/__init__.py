"""Authoring: build, sign, publish and direct releases."""
