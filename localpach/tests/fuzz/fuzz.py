"""Fuzzes one parser: atheris makes inputs that reach ever more of its code.

usage: python fuzz.py MODULE PARSER PACKAGES [CORPUS] [OPTIONS OF LIBFUZZER]; `MODULE.PARSERS` has the parser, and PACKAGES, with
commas between them, are what is to be reached.
"""

from __future__ import annotations

import importlib
import sys

import atheris

if __name__ == "__main__":
    module, parser, packages, *options = sys.argv[1:]
    # As `python -m` has it.
    sys.path[0] = ""
    with atheris.instrument_imports(include=packages.split(",")):
        parse = importlib.import_module(module).PARSERS[parser].parse
    atheris.Setup([sys.argv[0], *options], parse)
    atheris.Fuzz()
