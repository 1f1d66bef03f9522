"""Compiles the messages of Pachyderm's wire; all else stands in pyproject.toml."""

from __future__ import annotations

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SOURCE = Path(__file__).parent / "src"


class BuildPy(build_py):
    """Puts the compiled messages and their types beside the `.proto` files."""

    def run(self) -> None:
        # Only who builds needs the compiler.
        from grpc_tools import protoc  # noqa: PLC0415

        files = [str(file) for file in sorted(SOURCE.glob("localpach/proto/*.proto"))]
        wanted = ["protoc", f"-I{SOURCE}", f"-I{Path(protoc.__file__).parent / '_proto'}", f"--python_out={SOURCE}"]
        if protoc.main([*wanted, f"--pyi_out={SOURCE}", *files]):
            raise SystemExit("the .proto files can't be compiled")
        super().run()


setup(cmdclass={"build_py": BuildPy})
