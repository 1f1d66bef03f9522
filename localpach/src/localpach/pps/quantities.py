"""Quantities of memory and disk, as Kubernetes writes them: `512Mi`, `1.5G`, `1e9`, `128974848000m`."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from fractions import Fraction

from localpach.errors import Refused

_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:([KMGTPE]i)|([numkMGTPE])|[eE]([+-]?\d{1,3}))?", re.ASCII)
_BINARY = {f"{letter}i": Fraction(1 << (10 * power)) for power, letter in enumerate("KMGTPE", 1)}
_DECIMAL = {
    letter: Fraction(10) ** power for letter, power in zip("numkMGTPE", (-9, -6, -3, 3, 6, 9, 12, 15, 18), strict=True)
}
# To Kubernetes, too, there is no more.
MOST = (1 << 63) - 1


def whole(quantity: str) -> int:
    """The bytes of a quantity, rounded up.

    Raises:
        Refused: it is none, or less than nothing.
    """
    match = _QUANTITY.fullmatch(quantity)
    if not match or match[1].startswith("-"):
        raise Refused(
            f"{quantity!r} is no quantity: write a number with a unit such as Ki, Mi, Gi, k, M or G, or without one"
        )
    number = Fraction(Decimal(match[1]))
    if match[2]:
        number *= _BINARY[match[2]]
    elif match[3]:
        number *= _DECIMAL[match[3]]
    elif match[4]:
        number *= Fraction(10) ** int(match[4])
    return min(math.ceil(number), MOST)
