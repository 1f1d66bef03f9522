"""Small archives of scripts, written for the tests."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from random import Random

PEOPLE = ("ANNA", "BORIS", "CLARA")
WORDS = [
    "the",
    "cold",
    "river",
    "keeps",
    "its",
    "old",
    "promise",
    "under",
    "a",
    "silver",
    "bridge",
    "tonight",
    "we",
    "wait",
    "for",
    "bread",
    "and",
    "no",
    "one",
    "comes",
    "from",
    "town",
    "but",
    "snow",
    "falls",
    "on",
    "every",
    "stone",
    "that",
    "my",
    "mother",
    "laid",
    "here",
    "when",
    "winter",
    "was",
    "young",
]


def play(number: int) -> str:
    """A play of six scenes, whose lines stand in no other play."""
    random = Random(number)
    parts = [f"PLAY NUMBER {number}\n\nDRAMATIS PERSONAE\n\nAnna, a baker\nBoris, her cousin\n\n"]
    for scene in range(6):
        parts.append(f"\nACT I.\n\nSCENE {'I' * (scene + 1)}. A kitchen.\n\n[Enter {PEOPLE[scene % 3].title()}.]\n")
        for line in range(8):
            first, second = (" ".join(random.choices(WORDS, k=7)) for _ in range(2))
            parts.append(f"\n{PEOPLE[line % 3]}.\n{first.capitalize()}, friend?\n{second.capitalize()}...\n")
    return "".join(parts)


def archive(path: Path, files: Mapping[str, str | bytes]) -> Path:
    """A tar.gz of these files."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def plays(path: Path, count: int = 4) -> Path:
    """An archive of plays."""
    return archive(path, {f"scripts/play_{number}.txt": play(number) for number in range(count)})


def classic(path: Path) -> Path:
    """An archive in the classic example's layout, already tokenised."""
    line = "<boname> anna <eoname> the cold river keeps its old promise <eos>\n"
    other = "<boname> boris <eoname> we wait under a silver bridge <question>\n"
    files = {f"ptb.{split}.txt": (line + other) * count for split, count in (("train", 60), ("valid", 6), ("test", 6))}
    return archive(path, {**files, "all.txt": "".join(files.values())})
