"""The messages of mlppa: what is journalled, published and written to files.

A message is one JSON object in UTF-8. `docs/wire.md` tells a stranger all of it,
and the JSON Schemas in `docs/schema` are made from the models in `messages`.

The number in ``schema`` rises when a field goes or changes its meaning, never when
one is added. So whoever writes knows exactly the fields of its version, and
whoever reads ignores the fields that it does not know.
"""

from .build import Origin, coverage_message, detection_message, injection_message, now, printable
from .codec import decode, encode, json_schemas, message_id, read, topic, write_json_schemas
from .messages import (
    REPLAY_LIMIT,
    CoverageMessage,
    DetectionMessage,
    HealthMessage,
    InjectionMessage,
    ListedMessage,
    Message,
    ReplayHeader,
    ReplayRequest,
)

__all__ = [
    "REPLAY_LIMIT",
    "CoverageMessage",
    "DetectionMessage",
    "HealthMessage",
    "InjectionMessage",
    "ListedMessage",
    "Message",
    "Origin",
    "ReplayHeader",
    "ReplayRequest",
    "coverage_message",
    "decode",
    "detection_message",
    "encode",
    "injection_message",
    "json_schemas",
    "message_id",
    "now",
    "printable",
    "read",
    "topic",
    "write_json_schemas",
]
