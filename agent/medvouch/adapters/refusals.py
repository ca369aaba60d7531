"""What the broker may refuse: code, what it says, what to do."""

from __future__ import annotations

from medvouch.errors import RefusalKind, refusal_table

PUBLISH_REFUSED = RefusalKind(
    "publish-refused",
    "The broker did not take a message: this client may not write to that topic, or the message is too large.",
    "compare the client's certificate with the topic and the broker's access list",
)
SESSION_TAKEN_OVER = RefusalKind(
    "session-taken-over",
    "Another client connected to the broker under this client's identity.",
    "look for a copy of this device's connection key, renew it, and inspect who else connected",
)

TABLE = refusal_table(globals())
