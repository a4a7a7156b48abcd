"""Bytes as damage or malice would make them."""

import struct

import numpy as np


def mutated(content, chance):
    """Return bytes that differ from the given ones as damage or malice would make them."""
    place = chance.randrange(len(content))
    numbers = (b"\0", b"\xff", b"\xff\xff\xff\xff", b"\0\0\0\0", struct.pack("<f", np.nan), b'"', b"[[[[", b"\\ud800")
    return chance.choice(
        [
            content[:place],
            content[:place] + chance.choice(numbers) + content[place + 1 :],
            content[:place] + bytes([content[place] ^ 1 << chance.randrange(8)]) + content[place + 1 :],
            content[:place] + content[place // 2 :],
            chance.randbytes(len(content)),
        ]
    )
