"""How a corpus is written: capitals, the blanks around its marks, names, headings. Learned from scripts, given back to tokens.

Scripts are read in lower case, and a token says nothing of blanks. What is most common in the corpus is written again.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from types import MappingProxyType
from typing import Any, NamedTuple

import regex

from model.readers.parts import Cue, Direction, Heading, Part, Said
from model.tokens import ELLIPSIS, ENDS, EOL, EOS, SENTENCE_ENDS, is_blankless, is_word, split_chunk

NOTHING: Mapping[str, Any] = MappingProxyType({})
_CLOSING = frozenset(",.;:!?)]}'’”%/。，、！？；：）」』》।؟،") | {"...", "--"}
_OPENING = frozenset("([{“‘¿¡#/（「『《") | {"--"}
_EITHER = frozenset('"')  # the same mark opens and closes
_QUOTES = frozenset("“„«»‘\"'")
_CLITICS = frozenset(("'s", "'ll", "'re", "'ve", "'d", "'m", "'t"))


class Style(NamedTuple):
    """What tokens don't say. Words that are not here are written in lower case, marks as English has them."""

    words: Mapping[str, str] = NOTHING  # inside of sentences
    names: Mapping[str, str] = NOTHING  # of speakers, where they begin to speak
    headings: Mapping[str, str] = NOTHING
    marks: Mapping[str, tuple[bool, bool]] = NOTHING  # whether a blank stands before and behind
    scene: str = "SCENE"  # what a scene is called
    form: str = "play"  # the format of most of it
    verse_capitals: bool = True  # lines of verse begin with one
    aside_capitals: bool = True  # so do directions that are no sentences
    quote_capitals: bool = False  # so does what is quoted inside of a sentence

    def as_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        return {key: dict(value) if isinstance(value, Mapping) else value for key, value in self._asdict().items()}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Style:
        """A style as it was kept."""
        marks = {mark: (before, behind) for mark, (before, behind) in found["marks"].items()}
        return cls(**{**found, "marks": marks})

    def name(self, tokens: Sequence[str]) -> str:
        """A speaker's name."""
        if not self.names or sum(map(str.isupper, self.names.values())) * 2 > len(self.names):
            # All in capitals, those of the few scripts that have no capitals, too.
            forms = {token: capitals(token) for token in tokens}
        else:
            forms = {token: self.names.get(token) or self.words.get(token, token.title()) for token in tokens}
        return join_words(tokens, forms, self, capital=False)

    def heading(self, tokens: Sequence[str]) -> str:
        """What a heading says beside its number."""
        return join_words(tokens, {**self.words, **self.headings}, self)

    def prose(self, tokens: Sequence[str], capital: bool = True) -> str:
        """What is spoken or happens."""
        return join_words(tokens, self.words, self, capital)


class StyleLearner:
    """Counts how scripts are written."""

    def __init__(self) -> None:
        self._chunks = Counter[str]()
        self._inner = Counter[str]()  # chunks that begin no sentence
        self._names = Counter[str]()
        self._headings = Counter[str]()
        self._labels = Counter[tuple[bool, str]]()  # those of acts count less than those of scenes
        self._forms = Counter[str]()
        self._lines = Counter[bool]()
        self._asides = Counter[bool]()

    def add(self, parts: Sequence[Part], form: str) -> None:
        """Counts what a script has."""
        everything, inner = list[str](), list[str]()
        self._forms[form] += sum(not isinstance(part, Heading | Cue) for part in parts)
        for part in parts:
            if isinstance(part, Cue):
                self._names[part.name] += 1
                everything += part.name.split()
            elif isinstance(part, Heading):
                self._headings.update(part.text.split())
                self._labels[not part.act, part.label] += 1
            else:
                rows = part.text.split("\n")
                for row in rows:
                    chunks = row.split()
                    everything += chunks
                    inner += [after for chunk, after in pairwise(chunks) if not _ends_sentence(chunk)]
                if isinstance(part, Said):
                    self._lines.update(row[:1].isupper() for row in rows[1:])
                elif not _ends_sentence(part.text[-1:]):
                    self._asides[part.text[:1].isupper()] += 1
        self._chunks.update(everything)
        self._inner.update(inner)

    def style(self) -> Style:
        """What is most common."""
        names = _commonest(self._names)
        labels = sorted(
            ((scene, count, label) for (scene, label), count in self._labels.items() if label), reverse=True
        )
        return Style(
            words=self._words(names),
            names={token: form for token, form in names.items() if token != form},
            headings={token: form for token, form in _commonest(self._headings).items() if token != form},
            marks=self._marks(),
            scene=labels[0][2] if labels else "SCENE",
            form=self._forms.most_common(1)[0][0] if self._forms else "play",
            verse_capitals=self._lines[True] >= self._lines[False],
            aside_capitals=self._asides[True] > self._asides[False],
            quote_capitals=self._count_quotes() > 0,
        )

    def _words(self, names: Mapping[str, str]) -> dict[str, str]:
        """The commonest form of each word inside of sentences. Names that stand in capitals there only because they
        are names are written as words are."""
        forms: dict[str, Counter[str]] = defaultdict(Counter)
        for chunk, count in self._inner.items():
            before = ""
            for token in split_chunk(chunk):
                if is_word(token) and (not before or is_word(before) or before in ("-", "--", ",", "'", "’", "(")):
                    forms[token.lower()][token] += count
                before = token
        for token, name in names.items():
            if is_word(token):
                shouted = forms[token].pop(token.upper(), 0) if len(token) > 1 else 0
                if shouted or not forms[token]:
                    forms[token][(name if not name.isupper() else token).capitalize() if name.isupper() else name] += (
                        shouted + 1
                    )
        found = {
            token: max(counts, key=lambda form: (counts[form], not form.isupper(), form))
            for token, counts in forms.items()
        }
        ellipsis = Counter[str]()
        for chunk, count in self._chunks.items():
            if "…" in chunk or "..." in chunk:
                ellipsis["…" if "…" in chunk else "..."] += count
        if ellipsis and ellipsis.most_common(1)[0][0] == "…":
            found[ELLIPSIS] = "…"
        return {token: form for token, form in sorted(found.items()) if token != form}

    def _count_quotes(self) -> int:
        """How many more of the quotations inside of sentences begin with a capital than without."""
        more = 0
        for chunk, count in self._inner.items():
            if chunk[0] in _QUOTES and len(chunk) > 1 and chunk[1].isalpha():
                more += count if chunk[1].isupper() else -count
        return more

    def _marks(self) -> dict[str, tuple[bool, bool]]:
        before, behind, total = Counter[str](), Counter[str](), Counter[str]()
        for chunk, count in self._chunks.items():
            tokens = split_chunk(chunk)
            for place, token in enumerate(tokens):
                if not is_word(token) and token not in _EITHER:
                    total[token] += count
                    before[token] += count * (place == 0)
                    behind[token] += count * (place == len(tokens) - 1)
        return {mark: (before[mark] * 2 > n, behind[mark] * 2 >= n) for mark, n in sorted(total.items())}


def capitals(text: str) -> str:
    """A text in capitals, but for letters that have none of their own, as ß."""
    return "".join(char.upper() if len(char.upper()) == 1 else char for char in text)


def _commonest(texts: Counter[str]) -> dict[str, str]:
    """The commonest form of each word of some texts."""
    forms: dict[str, Counter[str]] = defaultdict(Counter)
    for text, count in texts.items():
        for token in (token for chunk in text.split() for token in split_chunk(chunk)):
            if is_word(token):
                forms[token.lower()][token] += count
    return {token: max(counts, key=lambda form: (counts[form], form)) for token, counts in sorted(forms.items())}


@lru_cache(1 << 18)
def _ends_sentence(chunk: str) -> bool:
    """Whether what follows may begin a sentence, so that its capital says nothing."""
    tokens = split_chunk(chunk)
    last = next((token for token in reversed(tokens) if token not in "\"'’”»)]“"), "")
    return last in SENTENCE_ENDS or last in (":", "--", "—", "")


def join_words(
    tokens: Sequence[str],
    spelling: Mapping[str, str] = NOTHING,
    style: Style | None = None,
    capital: bool = True,
) -> str:
    """Words put together: marks where they belong, a capital where a sentence begins."""
    style = style or Style()
    text = ""
    begin, before = capital, ""
    quoted = dict.fromkeys(_EITHER, False)
    glue = True  # no blank after what stands so far
    for token in tokens:
        if token == EOL:
            text, glue, begin = text + "\n", True, begin or style.verse_capitals
            continue
        mark = ENDS.get(token, token)
        shown = spelling.get(token, mark)
        opens, closes = _hugs(token, mark, style.marks, quoted)
        thousands = (
            text.endswith(",") and text[-2:-1].isdigit() and len(mark) == 3 and mark.isdigit() and not style.marks
        )
        solid = is_blankless(token) + is_blankless(before)
        if not (glue or closes or thousands or solid == 2 or (solid and not (is_word(token) and is_word(before)))):
            text += " "
        if begin and (letter := regex.search(r"\p{L}", shown)):
            shown = unicodedata.normalize("NFC", shown[: letter.start()] + letter[0].upper() + shown[letter.end() :])
        text += shown
        begin = token in SENTENCE_ENDS - {ELLIPSIS} or mark in (".", "?", "!") or (begin and not is_word(token))
        begin = begin or (style.quote_capitals and opens and not closes and token in _QUOTES)
        glue, before = opens, token
    return text


def _hugs(
    token: str, mark: str, spacing: Mapping[str, tuple[bool, bool]], quoted: dict[str, bool]
) -> tuple[bool, bool]:
    """Whether a token hugs what follows, and what stands before it."""
    if mark in _EITHER:
        quoted[mark] = not quoted[mark]
        return quoted[mark], not quoted[mark]
    if is_word(token):
        for each in _EITHER:
            quoted[each] ^= token.count(each) % 2 == 1  # the classic tokens may have it at a word
        return False, token in _CLITICS and not spacing
    if token in spacing:
        before, behind = spacing[token]
        return not behind, not before
    return mark in _OPENING, mark in _CLOSING


def list_marks(tokens: Sequence[str]) -> Iterator[str]:
    """The classic tokens with one mark for each run of `<eos>`: two end sentence and line, three or more are an ellipsis."""
    run = 0
    before = ""
    for token in (*tokens, ""):
        if token == EOS:
            run += 1
            continue
        if run > 2 or (run and not before.endswith(("?", "!", "...", "--", "."))):
            before = "..." if run > 2 else "."
            yield before
        run = 0
        if token:
            before = {"<boquote>": "“", "<eoquote>": "”"}.get(token, ENDS.get(token, token))
            yield before


__all__ = ["Direction", "Style", "StyleLearner", "join_words", "list_marks"]
