"""What was found in a corpus, for the log, `metrics.json` and the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from model.readers import MUCH, Found

MANY_UNKNOWN = 0.05  # share of a split's tokens
_MOST_FILES = 200  # that metrics tell one by one


class File(NamedTuple):
    """A file and what was found in it."""

    name: str
    encoding: str
    found: Found


class Summary(NamedTuple):
    """All files; the tokens of all of them; the share of `<unk>` in each split."""

    files: tuple[File, ...] = ()
    tokens: int = 0
    unknown: Mapping[str, float] = MappingProxyType({})

    def log_lines(self) -> Iterator[str]:
        """A line a file, a table by format, and warnings."""
        for file in self.files:
            yield _tell(file)
            if file.found.missing > MUCH:
                yield f"Warning: {file.found.missing:.0%} of {file.name} is left out: say FORMAT= if it is not what it was taken for."
        yield from self._table()
        shares = ", ".join(f"{name} {share:.1%}" for name, share in self.unknown.items())
        yield f"Words that training has not, or once (<unk>): {shares}"
        if any(share > MANY_UNKNOWN for share in self.unknown.values()):
            yield "Warning: so many unknown words make perplexities look good and scripts poor: more text of the kind helps."

    def _table(self) -> Iterator[str]:
        if self.files:
            yield f"{'format':<12}{'files':>7}{'scenes':>8}{'cues':>9}{'speakers':>10}{'directions':>12}{'words':>11}{'spoken':>8}"
        for row in self.by_format():
            yield (
                f"{row['format']:<12}{row['files']:>7}{row['scenes']:>8,}{row['cues']:>9,}{row['speakers']:>10,}"
                f"{row['directions']:>12,}{row['words']:>11,}{row['spoken']:>8.0%}"
            )

    def by_format(self) -> list[dict[str, Any]]:
        """What was found in all files of each format."""
        rows = []
        for form, _ in Counter(file.found.form for file in self.files).most_common():
            found = [file.found for file in self.files if file.found.form == form]
            words = sum(each.words for each in found)
            rows.append(
                {
                    "format": form,
                    "files": len(found),
                    **{
                        key: sum(getattr(each, key) for each in found)
                        for key in ("scenes", "cues", "speakers", "directions")
                    },
                    "words": words,
                    "spoken": round(sum(each.spoken * each.words for each in found) / max(1, words), 4),
                }
            )
        return rows

    def as_json(self) -> dict[str, Any]:
        """For `metrics.json`."""
        files = [{"name": f.name, "encoding": f.encoding, **f.found.as_json()} for f in self.files[:_MOST_FILES]]
        unknown = {name: round(share, 5) for name, share in self.unknown.items()}
        return {"formats": self.by_format(), "files": files, "unknown": unknown}


def _tell(file: File) -> str:
    found = file.found
    others = [f"{name} {score:.2f}" for name, score in found.scores.items() if score and name != found.form][:2]
    how = (
        "as told"
        if found.given
        else f"score {found.scores[found.form]:.2f}" + (f", {', '.join(others)}" if others else "")
    )
    encoding = "" if file.encoding == "utf-8" else f", in {file.encoding}"
    left = ", ".join(f"{count:,} of {what}" for what, count in found.left_out.items())
    return (
        f"Read {file.name}{encoding} as {found.form} ({how}): {found.scenes:,} scenes, {found.cues:,} cues of "
        f"{found.speakers:,} speakers, {found.directions:,} directions, {found.words:,} words, {found.spoken:.0%} spoken"
        + (f"; words left out: {left}" if left else "")
    )
