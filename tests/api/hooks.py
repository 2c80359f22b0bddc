"""What JSON Schema cannot say, and so must not be held against the server.

The limits are in bytes and the schema counts characters; 2.0 is an integer for the
schema, and none for the protocol. Bodies that only differ in that are left out here, and
tested by tests/it/api/.
"""

import json

import schemathesis

BYTES = {"content": 16384, "clientMsgId": 64, "timestamp": 32}


def is_beyond_words(value):
    if isinstance(value, float):
        return value.is_integer()
    if isinstance(value, dict):
        return any(map(is_beyond_words, value.values()))
    if isinstance(value, list):
        return any(map(is_beyond_words, value))
    return False


def is_too_long_in_bytes(name, value):
    text = value if isinstance(value, str) else json.dumps(value)
    return len(text) <= BYTES[name] < len(text.encode()) or (
        isinstance(value, (int, float)) and len(text) > BYTES[name]
    )


@schemathesis.hook
def filter_body(context, body):
    if is_beyond_words(body):
        return False
    members = body.items() if isinstance(body, dict) else ()
    return not any(name in BYTES and is_too_long_in_bytes(name, value) for name, value in members)
