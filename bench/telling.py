"""How a generator answers: a line of JSON on its stdout."""

import sys

import msgspec


def tell(answer: object) -> None:
    """Write all of it: where Python's streams are unbuffered, one write may take only a part and says so quietly."""
    rest = memoryview(msgspec.json.encode(answer) + b"\n")
    while rest:
        rest = rest[sys.stdout.buffer.write(rest) :]
    sys.stdout.buffer.flush()
