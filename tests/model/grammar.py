"""Made-up scripts whose parts are known: a grammar for each language, and each format that it is written in."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from xml.sax.saxutils import escape

from model.readers.parts import Cue, Direction, Heading, Part, Said


@dataclass(frozen=True)
class Language:
    """What a made-up language is made of."""

    syllables: str
    names: tuple[str, ...]
    act: Callable[[int], str]
    scene: Callable[[int], str]
    blanks: bool = True
    end: str = "."
    question: str = "?"


def _roman(number: int) -> str:
    return ("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X")[number]


LANGUAGES = {
    "English": Language(
        "bar ben bil dor dun kal ket lor mab nev pon rud sil tov wen zam", ("Anna", "Bert", "Old Man", "Mrs. Hale", "Soldier #1"),
        lambda n: f"ACT {_roman(n)}.", lambda n: f"SCENE {_roman(n)}.",
    ),
    "French": Language(
        "bé çal dor été gré îl lou mè nou pré rêv sœur tou vê", ("Élise", "Valère", "Maître Jacques", "Cléante"),
        lambda n: f"ACTE {_roman(n)}", lambda n: "SCÈNE PREMIÈRE" if n == 0 else f"SCÈNE {_roman(n)}", question=" ?",
    ),
    "German": Language(
        "bär döl für groß hüt kön lieb mäd nöt rüs sträß tür wöl", ("Ärger", "Böhm", "Der Alte", "Grete"),
        lambda n: ("ERSTER AKT", "ZWEITER AKT", "DRITTER AKT")[n % 3], lambda n: f"{n + 1}. Szene",
    ),
    "Spanish": Language(
        "año bé cón día éra ñur óla qué tía últ voy", ("Ana", "Íñigo", "Doña Inés"),
        lambda n: f"ACTO {_roman(n)}", lambda n: f"ESCENA {_roman(n)}",
    ),
    "Russian": Language(
        "бы где дом ель жар зов иль как лёд мой нет оно", ("Иван", "Марья", "Лопахин", "Любовь Андреевна"),
        lambda n: ("ДЕЙСТВИЕ ПЕРВОЕ", "ДЕЙСТВИЕ ВТОРОЕ", "ДЕЙСТВИЕ ТРЕТЬЕ")[n % 3], lambda n: f"ЯВЛЕНИЕ {_roman(n)}",
    ),
    "Polish": Language(
        "bąk ćma dół łąk mój pięć róż sąd świt źle żal", ("Łucja", "Ślaz", "Stary Żyd"),
        lambda n: f"AKT {_roman(n)}", lambda n: f"SCENA {_roman(n)}",
    ),
    "Greek": Language(
        "άλο βήμ γιο δέν έχω ζωή θέλ μία νύχ πού", ("Άννα", "Ηλίας", "Γέρος"),
        lambda n: ("ΠΡΑΞΗ ΠΡΩΤΗ", "ΠΡΑΞΗ ΔΕΥΤΕΡΗ", "ΠΡΑΞΗ ΤΡΙΤΗ")[n % 3], lambda n: f"ΣΚΗΝΗ {_roman(n)}", question=";",
    ),
    "Chinese": Language(
        "你 我 他 好 山 水 火 风 云 雨 天 地 人 大 小 上 下", ("小明", "小红", "老王"),
        lambda n: "", lambda n: "", blanks=False, end="。", question="？",
    ),
    "Hindi": Language(
        "नमस् कैसे घर पानी मेरा तुम राजा कौन यहाँ", ("राम", "सीता", "लक्ष्मण"), lambda n: "", lambda n: "", end="।",
    ),
}  # fmt: skip


class Author:
    """Writes made-up scripts in a language."""

    def __init__(self, language: Language, seed: int) -> None:
        self.language = language
        self.random = Random(seed)
        self.syllables = language.syllables.split()

    def word(self) -> str:
        """A word of one to three syllables."""
        return "".join(self.random.choices(self.syllables, k=self.random.randint(1, 3)))

    def phrase(self, least: int, most: int) -> str:
        """Words without a mark at their end."""
        words = [self.word() for _ in range(self.random.randint(least, most))]
        text = (" " if self.language.blanks else "").join(words)
        return text[0].upper() + text[1:]

    def sentence(self, least: int = 3, most: int = 9) -> str:
        """Words and a mark."""
        return self.phrase(least, most) + self.random.choice([self.language.end] * 4 + [self.language.question])

    def speech(self, sentences: int = 3) -> str:
        """Some sentences."""
        gap = " " if self.language.blanks else ""
        return gap.join(self.sentence() for _ in range(self.random.randint(1, sentences)))

    def script(self, scenes: int, headed: bool, directed: bool, verse: bool = False) -> list[Part]:
        """The parts of a script: scenes of eight to sixteen speeches."""
        parts: list[Part] = []
        for _ in range(scenes):
            if headed:
                parts.append(Heading(self.sentence(2, 4) if self.random.random() < 0.6 else ""))
            before = ""
            for _ in range(self.random.randint(8, 16)):
                if directed and self.random.random() < 0.2:
                    parts.append(Direction(self.sentence(2, 6)))
                name = self.random.choice([name for name in self.language.names if name != before])
                before = name
                parts.append(Cue(name))
                if verse:
                    rows = [
                        self.phrase(3, 6) + self.random.choice([",", ";", "", self.language.end])
                        for _ in range(self.random.randint(2, 6))
                    ]
                    parts.append(Said("\n".join(rows)))
                else:
                    parts.append(Said(self.speech()))
        return parts


def wrap(text: str, width: int = 68) -> str:
    """Rows of a width, but for verse and scripts without blanks."""
    if "\n" in text:
        return text
    rows = [""]
    for word in text.split(" "):
        if rows[-1] and len(rows[-1]) + 1 + len(word) > width:
            rows.append(word)
        else:
            rows[-1] = f"{rows[-1]} {word}".strip()
    return "\n".join(rows)


def play(parts: list[Part], language: Language, cue: str = "{NAME}.\n") -> str:
    """A play as publishers of old books set it; `cue` is how a name is written."""
    blocks = ["A Made-Up Play", "by Nobody", "PERSONS\n\n" + "\n".join(f"{name}, a person" for name in language.names)]
    number = 0
    waiting = ""
    for part in parts:
        if isinstance(part, Heading):
            if number % 5 == 0:
                blocks.append(language.act(number // 5))
            blocks.append(f"{language.scene(number % 5).strip('.')}. {part.text}".strip())
            number += 1
        elif isinstance(part, Direction):
            blocks.append(f"[{part.text}]")
        elif isinstance(part, Cue):
            waiting = cue.format(NAME=part.name.upper(), Name=part.name)
        else:
            blocks.append(wrap(waiting + part.text) if not waiting.endswith("\n") else waiting + wrap(part.text))
            waiting = ""
    return "\n\n".join(blocks) + "\n"


def transcript(parts: list[Part], cue: str = "{Name}: ", between: str = "\n") -> str:
    """Names before a colon, a speech a row."""
    rows, waiting = [], ""
    for part in parts:
        if isinstance(part, Cue):
            waiting = cue.format(NAME=part.name.upper(), Name=part.name)
        elif isinstance(part, Direction):
            rows.append(f"[{part.text}]")
        elif isinstance(part, Said):
            rows.append(waiting + part.text)
    return between.join(rows) + "\n"


def screenplay(parts: list[Part]) -> str:
    """A film typed in columns."""
    blocks = []
    for part in parts:
        if isinstance(part, Heading):
            blocks.append(slug(part))
        elif isinstance(part, Direction):
            blocks.append(wrap(part.text, 58))
        elif isinstance(part, Cue):
            blocks.append(" " * 22 + part.name.upper())
        else:
            rows = wrap(part.text, 34).split("\n")
            blocks[-1] += "".join(f"\n{' ' * 11}{row}" for row in rows)
    return "\n\n".join(blocks) + "\n"


def slug(heading: Heading) -> str:
    """A film's heading."""
    return f"INT. {heading.text.strip('.?;').upper() or 'ROOM'} - DAY"


def fountain(parts: list[Part]) -> str:
    """Fountain 1.1."""
    blocks = ["Title: A Made-Up Film\nAuthor: Nobody"]
    for part in parts:
        if isinstance(part, Heading):
            blocks.append(slug(part))
        elif isinstance(part, Direction):
            blocks.append(part.text)
        elif isinstance(part, Cue):
            blocks.append(part.name.upper() + Random(len(blocks)).choice(["", "", " (V.O.)", " (CONT'D)"]))
        else:
            blocks[-1] += f"\n{part.text}"
    return "\n\n".join(blocks) + "\n"


def final_draft(parts: list[Part]) -> str:
    """Final Draft's XML."""
    kinds = {Heading: "Scene Heading", Direction: "Action", Cue: "Character", Said: "Dialogue"}
    rows = [
        f'<Paragraph Type="{kinds[type(part)]}"><Text>{escape(slug(part) if isinstance(part, Heading) else part[0])}</Text></Paragraph>'
        for part in parts
    ]
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<FinalDraft DocumentType="Script"><Content>\n'
        + "\n".join(rows)
        + "\n</Content></FinalDraft>\n"
    )


def table(parts: list[Part], delimiter: str) -> str:
    """Rows of season, name and text."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter)
    writer.writerow(["Season", "Character", "Line"])
    season, name = 0, ""
    for part in parts:
        if isinstance(part, Heading):
            season += 1
        elif isinstance(part, Cue):
            name = part.name
        elif isinstance(part, Said):
            writer.writerow([season, name, part.text])
    return out.getvalue()


def subtitles(parts: list[Part]) -> str:
    """SubRip: what is said, by nobody."""
    blocks = []
    for number, part in enumerate((part for part in parts if isinstance(part, Said)), 1):
        at = f"00:{number // 60 % 60:02}:{number % 60:02}"
        blocks.append(f"{number}\n{at},000 --> {at},900\n{wrap(part.text, 40)}")
    return "\n\n".join(blocks) + "\n"
