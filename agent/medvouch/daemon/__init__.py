"""The asyncio agent: supervision, attesting, recording, reporting, control socket."""
