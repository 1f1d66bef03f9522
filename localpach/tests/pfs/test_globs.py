"""The glob language: against a second reading of it, which makes a regular expression as Pachyderm's library does."""

from __future__ import annotations

import posixpath
import re
import threading
from functools import partial

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from localpach.errors import Refused
from localpach.pfs.globs import Glob
from localpach.proto import pps_pb2
from tests.client import Client
from tests.helpers import pfs, pipeline, put, refused

CLOSED = {"@": ")", "?": ")?)", "*": ")*)", "+": ")+)"}
# Where an option of a negation ends, and what ends its reach: no path holds them.
OPTION, BOUND = "\uffff", "\ufffe"


def expression(text: str) -> re.Pattern[str]:
    """The regular expression that a glob stands for."""
    made, at, kinds = "", 0, list[str]()
    while at < len(text):
        char, after = text[at], text[at + 1 : at + 2]
        braces, brackets = kinds.count("{"), len(kinds) - kinds.count("{")
        if char == "{":
            kinds.append(char)
            made += "(?:"
        elif char == "(" or (char in "?*@+!" and after == "("):
            kinds.append("@" if char == "(" else char)
            at += char != "("
            made += {"@": "(", "!": "((?:(?!(?:"}.get(kinds[-1], "((?:")
        elif (char == "," and braces) or (char == "|" and brackets):
            made += (OPTION if kinds[-1] == "!" else "") + "|"
        elif (char == "}" and braces) or (char == ")" and brackets):
            made += closing(kinds.pop())
        elif char == "?":
            made += "[^/]"
        elif char == "*":
            deep = after == "*" and text[at + 2 : at + 3] != "("
            at += deep
            made += (".*" if deep else "[^/]*") + BOUND
        elif char == "[":
            body = text[at + 1 : text.index("]", at)]
            at += len(body) + 1
            made += f"[{body.replace('!', '^')}]"
        else:
            stops = "?*[{(" if char in "@!^+" else "?*[{(@!^+" + ("}," if braces else ")|" if brackets else "")
            rest = text[at + 1 :]
            length = next((place for place, each in enumerate(rest) if each in stops), len(rest))
            at += length
            made += re.escape(char + rest[:length]) + BOUND
        at += 1
    made += "".join(closing(kind) for kind in reversed(kinds))
    first = made.find(OPTION + ")")
    is_bounded = first >= 0 and BOUND in made[first:]
    return re.compile(made.replace(OPTION, "" if is_bounded else "$").replace(BOUND, ""), re.DOTALL)


def closing(kind: str) -> str:
    return {"{": ")", "!": OPTION + "))[^/]*))"}.get(kind) or CLOSED[kind]


PIECES = [
    "a",
    "b",
    ".",
    "/",
    "*",
    "**",
    "?",
    "(",
    "|",
    ")",
    "@(",
    "!(",
    "*(",
    "+(",
    "?(",
    "{",
    ",",
    "}",
    "[ab]",
    "[!a]",
    "+",
]
globs = st.lists(st.sampled_from(PIECES), max_size=9).map(lambda pieces: "/" + "".join(pieces))
paths = st.text("aabb./", max_size=6).map(lambda text: "/" + text)


@given(globs, st.lists(paths, min_size=1, max_size=8))
def test_a_glob_matches_what_its_expression_does(pattern: str, candidates: list[str]) -> None:
    # Two slashes at the beginning are one to Pachyderm, but not to POSIX.
    assume(posixpath.normpath(pattern) == pattern and not pattern.startswith("//"))
    glob, wanted = Glob(pattern), expression(pattern)
    for path in candidates:
        found = wanted.fullmatch(path)
        assert glob.matches(path) == bool(found), (pattern, path)
        # What a group holds that is repeated without a character is nobody's business.
        if found and not re.search(r"[*+?!]\(", pattern):
            assert glob.captures(path) == [group or "" for group in found.groups()], (pattern, path)


@pytest.mark.parametrize(
    ("pattern", "path", "template", "expected"),
    [
        ("/(*)-(*).csv", "/a-b-c.csv", "$2.$1", "c.a-b"),
        ("/*(ab)(*)", "/ababc", "$1/$2", "abab/c"),
        ("/(a|ab)(c|bcd)(d*)", "/abcd", "${1},${2},${3}", "ab,c,d"),
        ("/!(x(y))(c)", "/zc", "$1 $2 $3", "z  c"),
        ("/(*)", "/d/x", "$1", ""),
    ],
)
def test_groups_hold_as_much_as_they_can_from_the_left(pattern: str, path: str, template: str, expected: str) -> None:
    assert Glob(pattern).expand(template, path) == expected


@pytest.mark.parametrize("part", ["*a", "**a", "?(a)", "*(a)", "*(*(a))", "@(a|aa)", "!(b)", "{a,aa}"])
def test_no_glob_takes_more_than_its_length_times_the_path_s(part: str) -> None:
    pattern, path = "/" + part * 40 + "c", "/" + "a" * 2000
    done = threading.Event()

    def match() -> None:
        assert not Glob(pattern).matches(path)
        done.set()

    threading.Thread(target=match, daemon=True).start()
    # Tried one after the other, the ways would take longer than the universe has been there.
    assert done.wait(60)


BROKEN = {
    "/[": "unexpected end of input",
    "/[]": "a class of characters is empty",
    "/[z-a]": "hi character 'a' should be greater than lo 'z'",
    "/[[:vowel:]]": "[:vowel:] is no class of characters",
    "/^(a)": "^( ) is no group",
    "/" + "(" * 101: "more than 100 deep",
    "/" + "a" * 5000: "longer than the 4096",
}


@pytest.mark.parametrize("pattern", BROKEN)
def test_what_is_no_glob_is_refused_with_the_field_s_name_when_the_spec_comes(client: Client, pattern: str) -> None:
    client.create_repo("in")
    crossed = pps_pb2.Input(cross=[pfs("in"), pfs("in", pattern, name="other")])
    for input, field in ((pfs("in", pattern), "input.pfs.glob"), (crossed, "input.cross[1].pfs.glob")):
        code, sentence = refused(partial(pipeline, client, "p", "true", input))
        assert code == "UNKNOWN"
        assert sentence.startswith(f"{field}: ")
        assert BROKEN[pattern] in sentence
    with pytest.raises(Refused, match=re.escape(BROKEN[pattern])):
        Glob(pattern)


def test_named_classes_are_those_of_posix() -> None:
    for name, holds, lacks in (("digit", "7", "a"), ("alpha", "a", "7"), ("punct", "!", "a"), ("space", " ", "_")):
        assert Glob(f"/[[:{name}:]]").matches("/" + holds)
        assert not Glob(f"/[[:{name}:]]").matches("/" + lacks)
        assert Glob(f"/[![:{name}:]]").matches("/" + lacks)
    assert Glob("/[[:digit:]_a-c]").matches("/b")


@given(
    st.sets(st.text("abc.", min_size=1, max_size=3).filter(lambda name: set(name) != {"."}), min_size=1, max_size=6),
    globs,
)
def test_a_tree_is_searched_as_if_each_path_were_tried(names: set[str], pattern: str) -> None:
    """The deepest directory and the depth that a glob can come to spare work, and leave nothing out."""
    glob = Glob(pattern)
    for name in names:
        for path in (f"/{name}", f"/a/{name}", f"/a/b/{name}"):
            if glob.matches(path):
                assert path.startswith(glob.prefix)
                assert glob.depth is None or path.count("/") <= glob.depth
                assert glob.literal in (None, path)


def test_globs_are_shown_in_their_absolute_form(client: Client) -> None:
    client.create_repo("in")
    for number, (given_as, shown_as) in enumerate([("*", "/*"), ("d/*/", "/d/*"), ("//a//b", "/a/b")]):
        pipeline(client, f"p{number}", "true", pfs("in", given_as))
        request = pps_pb2.InspectPipelineRequest(pipeline=pps_pb2.Pipeline(name=f"p{number}"), details=True)
        assert client.pps.InspectPipeline(request).details.input.pfs.glob == shown_as
    put(client, "in", {"/d/x": b"1"})
    assert [info.file.path for info in client.glob_file(("in", "master"), "d/*/")] == ["/d/x"]
