"""What comes out of a child: four bytes of length, one that says what it is, and that.

What goes into a child has no such byte: it is the setup first, and calls after that.
"""

#: The answer to what was sent last; the same, after which the child wants to make way. At any time,
#: of whichever thread of the child's: a log record, and how far the job has come.
ANSWER, LAST, RECORD, PROGRESS = 1, 2, 3, 4


def framed(kind: int, body: bytes) -> bytes:
    """Write a frame."""
    return b"%b%c%b" % ((len(body) + 1).to_bytes(4, "big"), kind, body)
