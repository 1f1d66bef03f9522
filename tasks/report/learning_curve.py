"""The learning curve: from a run's metrics to a Mermaid chart for the Prefect UI and to points for an SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# What the axis may step by, as powers of ten times one of these.
STEPS = (1.0, 2.0, 5.0)
# Both can be told on light and on dark.
TRAIN_COLOUR, VALID_COLOUR = "#c4602f", "#4480bd"


@dataclass(frozen=True)
class Curve:
    """Perplexity by epoch; in a run of one epoch, its running mean by the share of the epoch."""

    unit: str
    x: tuple[float, ...]
    train: tuple[float, ...]
    valid: tuple[float, ...]
    minutes: tuple[float, ...] = ()  # of training, at each place; nothing where they are not known

    @property
    def ticks(self) -> list[float]:
        """Round values that enclose all perplexities."""
        values = [*self.train, *self.valid]
        low, high = min(values), max(values)
        rough = max(high - low, high / 100) / 5
        power = 10.0 ** math.floor(math.log10(rough))
        step = next((power * step for step in STEPS if power * step >= rough), power * 10)
        first = math.floor(low / step)
        return [number * step for number in range(first, max(math.ceil(high / step), first + 1) + 1)]


def read_curve(metrics: Mapping[str, Any]) -> Curve | None:
    """The curve of a run; None where there is too little for a line."""
    epochs = metrics.get("epochs") or []
    if len(epochs) > 1:
        return Curve(
            unit="epoch",
            x=tuple(float(epoch["epoch"]) for epoch in epochs),
            train=tuple(epoch["train"] for epoch in epochs),
            valid=tuple(epoch["valid"] for epoch in epochs),
            minutes=_minutes(epochs),
        )
    curve = metrics.get("curve") or []
    if len(curve) < 2:
        return None
    return Curve(
        unit="share of the epoch",
        x=tuple(round(share, 3) for share, _ in curve),
        train=tuple(perplexity for _, perplexity in curve),
        valid=(),
    )


def _minutes(epochs: Sequence[Mapping[str, float]]) -> tuple[float, ...]:
    """Minutes of training after each epoch; nothing where they don't tell the epochs apart."""
    minutes = tuple(epoch.get("minutes", 0.0) for epoch in epochs)
    return minutes if sorted(set(minutes)) == list(minutes) else ()


def xychart(curve: Curve) -> str:
    """The curve as a Mermaid `xychart`."""
    lines = [
        "---",
        "config:",
        "  xyChart:",
        "    width: 800",
        "    height: 420",
        "  themeVariables:",
        "    xyChart:",
        f'      plotColorPalette: "{TRAIN_COLOUR}, {VALID_COLOUR}"',
        "---",
        "xychart",
        f'    title "Perplexity by {curve.unit}"',
        f'    x-axis "{curve.unit}" {curve.x[0]:g} --> {curve.x[-1]:g}',
        f'    y-axis "perplexity" {curve.ticks[0]:g} --> {curve.ticks[-1]:g}',
        _line("train", curve.train),
    ]
    if curve.valid:
        lines.append(_line("valid", curve.valid))
    return "\n".join(lines)


def _line(name: str, values: tuple[float, ...]) -> str:
    return f'    line "{name}" [{", ".join(f"{value:.3f}" for value in values)}]'
