"""The mutants that `tools.mutants` tries: programs, each another one, and the same for the same seed."""

from __future__ import annotations

from pathlib import Path

from tools.mutants import sample
from tools.mutations import Mutator

SOURCE = '''"""Text."""
@dataclass(frozen=True)
class Clip:
    """Text."""
def clip(x: int, low: int = 0) -> int:
    """Text."""
    if not x > low and x != 7:
        raise ValueError(f"{x} is no good")
    note(x, low, loud=True)
    return x - 1
'''


def test_what_can_be_changed_is_changed_and_no_text_is(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(SOURCE)
    found = {mutant.after for place in Mutator(tmp_path, "a.py").places() for mutant in place}
    assert found == {
        "def clip(x: int, low: int = 1) -> int:",
        "def clip(x: int, low: int = -1) -> int:",
        "if True:",
        "if False:",
        "if not x > low or x != 7:",
        "if  x > low and x != 7:",
        "if not x >= low and x != 7:",
        "if not x <= low and x != 7:",
        "if not x > low and x == 7:",
        "if not x > low and x != 8:",
        "if not x > low and x != 6:",
        "pass",
        "note(x, loud=True)",
        "note(x, low, )",
        "note(x, low, loud=False)",
        "return None",
        "return x + 1",
        "return x - 2",
        "return x - 0",
    }


def test_a_sample_is_a_function_of_its_seed_and_every_mutant_is_a_program() -> None:
    drawn = sample(["tools/*.py", "model/*.py"], 1, 200)
    assert drawn == sample(["tools/*.py", "model/*.py"], 1, 200) != sample(["tools/*.py", "model/*.py"], 2, 200)
    assert len({(mutant.path, mutant.source) for mutant in drawn}) == 200
    for mutant in drawn:
        compile(mutant.source, mutant.path, "exec")
