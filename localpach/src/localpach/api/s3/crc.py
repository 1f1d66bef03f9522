"""CRCs that no library at hand has, in time: a long message is folded to ever shorter ones with the same remainder.

All numbers are polynomials over bits, reflected as these CRCs have them: the first byte's lowest bit is the highest power.
"""

from __future__ import annotations

from functools import lru_cache

# Bits that are divided one by one, for folding them would be no shorter.
FEW = 256


class Crc:
    """A CRC of some bits, which begins and ends inverted; `polynomial` is without its highest power."""

    def __init__(self, polynomial: int, width: int) -> None:
        self._polynomial = polynomial
        self._width = width
        self._state = (1 << width) - 1

    def update(self, data: bytes, /) -> None:
        message, left = int.from_bytes(data, "little") ^ self._state, 8 * len(data)
        while left > FEW:
            # The first half times a power of x that is as long as what follows, which is one of no more than `width` bits.
            first = (left - self._width + 1) // 2
            left -= first
            start, message = message & ((1 << first) - 1), message >> first
            message ^= _product(start, _power(left, self._polynomial, self._width)) << (left - first - self._width + 1)
        for _ in range(left):
            message = message >> 1 ^ (self._polynomial if message & 1 else 0)
        self._state = message

    def digest(self) -> bytes:
        return (self._state ^ ((1 << self._width) - 1)).to_bytes(self._width // 8, "big")


def crc32c() -> Crc:
    """Castagnoli's."""
    return Crc(0x82F63B78, 32)


def crc64nvme() -> Crc:
    """What newer clients of AWS send unless they are told otherwise."""
    return Crc(0x9A6C9329AC4BC9B5, 64)


def _product(long: int, short: int) -> int:
    product = 0
    for place in range(short.bit_length()):
        if short >> place & 1:
            product ^= long << place
    return product


@lru_cache(maxsize=256)
def _power(exponent: int, polynomial: int, width: int) -> int:
    """The remainder of a power of x."""
    if exponent == 0:
        return 1 << (width - 1)
    half = _power(exponent // 2, polynomial, width)
    square = _product(half, half)
    # It has one bit less than twice the width; an odd power one more.
    for _ in range(width - 1 + exponent % 2):
        square = square >> 1 ^ (polynomial if square & 1 else 0)
    return square
