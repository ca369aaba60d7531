"""What broker and helper may refuse: code, what it says, what to do."""

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
HELPER_CALLER_REFUSED = RefusalKind(
    "helper-caller-refused",
    "Somebody other than the agent's user asked the installer helper, which has root's rights.",
    "run agent and helper as the packaged units do (--user names the agent's user), or find out who else asked",
)

TABLE = refusal_table(globals())
