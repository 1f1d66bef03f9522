"""The learning curve as a picture: SVG, written here because the image holds TensorFlow and NumPy alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 60, 20, 40, 45
TRAIN, VALID, GRID, TEXT = "#4878a8", "#c8553d", "#dddddd", "#333333"
TICKS = [base * 10**power for power in range(8) for base in (1, 2, 3, 5, 7)]
Points = Sequence[Sequence[float]]


def draw_learning_curve(title: str, train: Points, valid: Points, epochs: int) -> str:
    """An SVG of (epochs, perplexity) points: epochs from 0 to `epochs`, perplexity on a logarithmic scale."""
    values = [value for _, value in (*train, *valid)]
    low, high = math.log(min(values) * 0.95), math.log(max(values) * 1.05)

    def x(epoch: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * epoch / epochs

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - math.log(value)) / (high - low)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12" fill="{TEXT}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="22" font-size="15">{title}</text>',
    ]
    for tick in TICKS:
        if low <= math.log(tick) <= high:
            parts.append(f'<path d="M{LEFT} {y(tick):.1f}H{WIDTH - RIGHT}" stroke="{GRID}"/>')
            parts.append(f'<text x="{LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick}</text>')
    for epoch in range(0, epochs + 1, max(1, epochs // 10)):
        parts.append(f'<text x="{x(epoch):.1f}" y="{HEIGHT - 25}" text-anchor="middle">{epoch}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">epochs</text>')
    for place, (name, colour, points) in enumerate((("train", TRAIN, train), ("valid", VALID, valid))):
        at = [(f"{x(epoch):.1f}", f"{y(value):.1f}") for epoch, value in points]
        line = " ".join(",".join(point) for point in at)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        if colour == VALID:
            parts += [f'<circle cx="{a}" cy="{b}" r="3" fill="{colour}"/>' for a, b in at]
        label = f'x="{WIDTH - RIGHT - 60}" y="{TOP + 16 + 16 * place}" fill="{colour}"'
        parts.append(f"<text {label}>{name} {points[-1][1]:.1f}</text>" if points else "")
    return "\n".join([*filter(None, parts), "</svg>"]) + "\n"
