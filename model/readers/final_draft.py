"""Final Draft's files: paragraphs that say what they are, in XML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from model.readers.film import make_cue
from model.readers.parts import Direction, Heading, Part, Reading, Said, count_words


class UnreadableError(Exception):
    """A file is not what it seems to be."""


def score(text: str) -> float:
    """1 for Final Draft's root element."""
    return float("<FinalDraft" in text[:2000])


def read(text: str) -> Reading:
    """The paragraphs of the script; those of title page and revisions stand elsewhere in the file.

    Raises:
        UnreadableError: the XML is damaged, or declares entities, which could be made to grow without end.
    """
    try:
        # Of a text, and not of bytes: which encoding it declares is of no account any more.
        root = fromstring(text.lstrip("\ufeff \n"), forbid_dtd=True)
    except ParseError as error:
        raise UnreadableError(f"it is damaged XML ({error})") from error
    except DefusedXmlException as error:
        raise UnreadableError(
            "its XML declares a document type or entities, which Final Draft's files don't"
        ) from error
    left_out = Counter[str]()
    parts: list[Part] = []
    for paragraph in root.iterfind("./Content//Paragraph"):
        parts += _read_paragraph(paragraph, left_out)
    title = " ".join(run.text or "" for run in root.iterfind("./TitlePage//Text"))
    left_out["title page"] += count_words(title)
    return Reading(parts, left_out)


def _read_paragraph(paragraph: Element, left_out: Counter[str]) -> Iterator[Part]:
    text = " ".join("".join(run.text or "" for run in paragraph.iterfind("./Text")).split())
    if not text:
        return
    kind = paragraph.get("Type", "")
    if kind == "Scene Heading":
        yield Heading(text)
    elif kind == "Character":
        yield from make_cue(text, left_out)
    elif kind in ("Dialogue", "Lyrics", "Singing"):
        yield Said(text)
    elif kind == "Parenthetical":
        yield Direction(text.strip("()"))
    else:
        yield Direction(text)
