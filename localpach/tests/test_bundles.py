"""What becomes of a Dockerfile without Docker: files, settings and an environment, and what is left of each."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from localpach.errors import NotFound, Refused
from localpach.proto import pps_pb2
from localpach.runtime.bundles import Bundle, Bundles
from localpach.runtime.interface import Ended, RunSpec
from localpach.runtime.isolation import Isolation
from localpach.runtime.layout import Layout
from localpach.runtime.process import ProcessRuntime
from tests.helpers import content, last_job, pfs, put, until
from tests.servers import serving

PLAIN = Isolation(namespaces=False, users=False, overlay=False, problem="as a test asks for")
# A small package of the index, as `uv pip compile --generate-hashes` locks it.
LOCKED = "iniconfig==2.1.0 --hash=sha256:9deba5723312380e77435581c6bf4935c94cbfab9b1ed33ef8d238ea168eb760\n"
# A project whose build takes as long as the file that it is told of is there.
BACKEND = """
import base64, hashlib, os, time, zipfile
def build_wheel(folder, *_):
    open({mark!r} + ".begun", "w").close()
    for _ in range(2000):
        if os.path.exists({mark!r}):
            time.sleep(0.05)
    with zipfile.ZipFile(folder + "/slow-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("slow.py", "")
        wheel.writestr("slow-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: slow\\nVersion: 1\\n")
        wheel.writestr("slow-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("slow-1.dist-info/RECORD", "")
    return "slow-1-py3-none-any.whl"
"""


def wheel(folder: Path, name: str, code: str) -> str:
    """Writes a wheel with one module; gives the line that locks it."""
    folder.mkdir(exist_ok=True)
    info = f"{name}-1.dist-info"
    contents = {
        f"{name}.py": code,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    hashes = {path: base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()) for path, text in contents.items()}
    record = "".join(f"{path},sha256={hashes[path].decode().rstrip('=')},\n" for path in contents)
    file = folder / f"{name}-1-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        for path, text in {**contents, f"{info}/RECORD": record}.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return f"{name}==1 --hash=sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}\n"


@dataclass
class Shop:
    """A folder to build from, and the bundles that were."""

    context: Path
    root: Path
    said: list[str] = field(default_factory=list)

    @property
    def bundles(self) -> Bundles:
        return Bundles(self.root)

    def build(self, *lines: str, tag: str = "a:1") -> Bundle:
        """Builds from a Dockerfile of some lines."""
        (self.context / "Dockerfile").write_text("FROM python:3.12-slim\n" + "".join(f"{line}\n" for line in lines))
        self.said.clear()
        digest = self.bundles.build(self.context, tag, say=self.said.append)
        bundle = self.bundles.find(tag)
        assert bundle is not None
        assert bundle.digest == digest
        return bundle

    def run(self, *cmd: str, tag: str = "a:1", user: str = "", sandboxed: bool = True) -> tuple[Ended, list[str]]:
        """How a command of an image ends, and what it says."""
        runtime = ProcessRuntime(self.root, may_use_host=False, isolated=None if sandboxed else PLAIN)
        layout = Layout(Path(tempfile.mkdtemp(dir=runtime.work)))
        layout.begin_try()
        said: list[str] = []
        return runtime.start(RunSpec(list(cmd), "", {}, layout, tag, user=user), said.append).wait(), said

    def environments(self) -> list[Path]:
        return list((self.root / "images" / "environments").glob("*"))


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A folder with two wheels and the files that lock them."""
    context = tmp_path / "context"
    context.mkdir()
    one = wheel(context / "wheels", "one", "print('one')")
    two = wheel(context / "wheels", "two", "print('two')")
    (context / "one.txt").write_text(one)
    (context / "both.txt").write_text(f"-r one.txt\n{two}")
    return Shop(context, tmp_path / "root")


COPY = ("COPY wheels /of-test/wheels/", "COPY *.txt /of-test/")
PIP = "pip install --no-cache-dir --no-index --find-links /of-test/wheels --require-hashes"


def test_a_job_imports_what_its_image_installs_from_the_index(shop: Shop) -> None:
    probe = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(shop.root), "iniconfig"]
    if not os.environ.get("CI") and subprocess.run(probe, check=False, capture_output=True).returncode:
        pytest.skip("needs the package index")
    (shop.context / "locked.txt").write_text(LOCKED)
    shop.build("COPY locked.txt /of-test/", "RUN pip install --require-hashes -r /of-test/locked.txt")
    code = "import iniconfig, importlib.metadata as m; print(m.version('iniconfig'))"
    assert shop.run("python3", "-c", code) == (Ended(code=0), ["2.1.0"])


@pytest.mark.parametrize("sandboxed", [True, False])
def test_the_environment_is_read_only_and_its_programs_come_first(shop: Shop, sandboxed: bool) -> None:
    bundle = shop.build(*COPY, f"RUN {PIP} -r /of-test/both.txt", "ENV PATH=/of-test/bin:$PATH", "WORKDIR /of-test")
    assert bundle.environment is not None
    script = (
        "python3 -c 'import one, two'; echo $PATH; echo ${VIRTUAL_ENV-none}; touch $0/x 2>/dev/null || echo refused"
    )
    ended, said = shop.run("sh", "-c", script, str(bundle.environment), sandboxed=sandboxed)
    usual = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    mine = f"{bundle.environment}/bin:{bundle.root if not sandboxed else ''}/of-test/bin:{usual}"
    if not ProcessRuntime(shop.root, may_use_host=False).weakness or not sandboxed:
        assert (ended, said) == (Ended(code=0), ["one", "two", mine, "none", *["refused"] * sandboxed])


def test_a_pipeline_gets_going_once_its_image_is_built(shop: Shop) -> None:
    with serving(shop.root, missing_image="refuse") as server:
        client = server.client
        client.create_repo("in")
        put(client, "in", {"/a": b"1"})
        script = '{ pwd; echo "$GREETING"; python3 -m one; } > /pfs/out/said'
        transform = pps_pb2.Transform(cmd=["sh"], stdin=[script], image="a:1")
        client.create_pipeline("p", transform=transform, input=pfs("in"))
        until(lambda: client.inspect_pipeline("p").state == pps_pb2.PIPELINE_CRASHING)
        shop.build(*COPY, f"RUN {PIP} -r /of-test/one.txt", "ENV GREETING=hi", "WORKDIR /of-test")
        assert last_job(client, "p").state == pps_pb2.JOB_SUCCESS
        assert content(client, "p", "/said").decode().splitlines() == ["/of-test", "hi", "one"]


def test_without_an_environment_programs_are_this_machines_not_the_servers(shop: Shop) -> None:
    shop.build("COPY one.txt /of-test/")
    ended, said = shop.run("sh", "-c", "echo $PATH")
    assert (ended, said) == (Ended(code=0), ["/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"])


def test_the_images_user_runs_unless_the_spec_names_another(shop: Shop) -> None:
    if ProcessRuntime(shop.root.parent, may_use_host=False).weakness:
        pytest.skip("this kernel gives no whole sandbox")
    # Into folders that not everybody may pass it has to find its environment and its Python, too.
    shop.root.mkdir(mode=0o700)
    (shop.context / "tool.py").write_text("print('tool')")
    umask = os.umask(0o077)
    try:
        lines = ("COPY tool.py /of-test/bin/", "USER nobody-of-this-name", "USER 4321:1234")
        shop.build(*COPY, f"RUN {PIP} -r /of-test/one.txt", *lines)
    finally:
        os.umask(umask)
    assert shop.said == ["line 6: USER is left out: a bundle has no user named nobody-of-this-name; give a number"]
    code = "import one, os; open('/pfs/out/x', 'w'); print(os.getuid(), os.getgid())"
    assert shop.run("python3", "-c", code) == (Ended(code=0), ["one", "4321 1234"])
    assert shop.run("python3", "/of-test/bin/tool.py") == (Ended(code=0), ["tool"])
    assert shop.run("python3", "-c", "import os; print(os.getuid())", user="77") == (Ended(code=0), ["77"])
    assert shop.run("id", "-u", sandboxed=False) == (Ended(code=0), [str(os.getuid())])
    assert shop.build("USER root").user == "0"


def test_environments_are_shared_and_removed_with_their_last_bundle(shop: Shop) -> None:
    run = f"RUN {PIP} -r /of-test/one.txt"
    first = shop.build(*COPY, run)
    second = shop.build(*COPY, run, "ENV A=b", tag="b:1")
    other = shop.build(*COPY, f"RUN {PIP} -r /of-test/both.txt", tag="c:1")
    assert first.environment == second.environment != other.environment
    assert first.digest != second.digest
    shop.bundles.remove("a:1")
    shop.bundles.remove("c:1")
    assert shop.environments() == [second.environment]
    assert shop.run("python3", "-c", "import one", tag="b:1") == (Ended(code=0), ["one"])
    # A tag that has moved on leaves its bundle to the next one that is removed.
    shop.build("ENV A=c", tag="b:1")
    shop.bundles.remove("b:1")
    assert (shop.environments(), shop.bundles.list()) == ([], {})
    assert {item.name for item in (shop.root / "images").iterdir()} == {"environments", "tags", "lock"}
    with pytest.raises(NotFound, match="no image b:1"):
        shop.bundles.remove("b:1")


def test_an_environment_is_named_by_all_that_was_asked_for(shop: Shop) -> None:
    def name(*lines: str) -> str:
        environment = shop.build(*COPY, *lines).environment
        assert environment is not None
        return environment.name

    run = f"RUN {PIP} -r /of-test/both.txt"
    first = name(run)
    assert name("ENV A=b", run.replace("pip install", "python3 -m pip install -q"), "COPY one.txt /of-test/x") == first
    assert name(run + " --upgrade") != first
    assert name(run, f"RUN {PIP} -r /of-test/one.txt") != first
    assert name("ENV PIP_NO_COLOR=1", run) != first
    assert name(run.replace("RUN", "RUN UV_NO_COLOR=1")) != first
    # A file that only another one names counts by its content.
    (shop.context / "one.txt").write_text("# another\n" + (shop.context / "one.txt").read_text())
    assert name(run) != first


def test_run_sees_the_files_of_the_lines_before_it(shop: Shop) -> None:
    run = "RUN pip install --no-index -f wheels -r both.txt"
    with pytest.raises(
        Refused, match=r"^RUN pip install .*: /of-test/wheels is not in the bundle at this line; COPY it"
    ):
        shop.build("WORKDIR /of-test", run, "COPY . .")
    assert (shop.environments(), shop.bundles.list()) == ([], {})
    (shop.context / "later").mkdir()
    (shop.context / "later" / "both.txt").write_text("no-such-package\n")
    shop.build("WORKDIR /of-test", "COPY wheels wheels", "COPY *.txt .", run, "COPY later .")
    assert shop.run("python3", "-c", "import one, two") == (Ended(code=0), ["one", "two"])


def test_a_failing_install_ends_the_build_with_what_it_said(shop: Shop) -> None:
    shop.build(*COPY, f"RUN {PIP} -r /of-test/one.txt")
    before = shop.environments()
    (shop.context / "both.txt").write_text("-r one.txt\nthree==1 --hash=sha256:" + "0" * 64)
    with pytest.raises(Refused, match=r"(?s)RUN pip install .*both\.txt failed:\n.*three"):
        shop.build(*COPY, f"RUN {PIP} -r /of-test/one.txt && {PIP} -r /of-test/both.txt", tag="b:1")
    assert (shop.environments(), list(shop.bundles.list())) == (before, ["a:1"])
    assert not list((shop.root / "images").glob("build-*"))


@pytest.mark.parametrize("alone", [False, True])
def test_a_killed_build_leaves_nothing_that_counts(shop: Shop, alone: bool) -> None:
    mark = shop.context.parent / "mark"
    mark.touch()
    project = shop.context / "slow"
    project.mkdir()
    (project / "backend.py").write_text(BACKEND.format(mark=str(mark)))
    table = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    (project / "pyproject.toml").write_text(table + '[project]\nname = "slow"\nversion = "1"\n')
    lines = ("COPY slow /of-test/slow", "RUN pip install --no-build-isolation /of-test/slow")
    (shop.context / "Dockerfile").write_text("\n".join(("FROM x", *lines)))
    command = [sys.executable, "-m", "localpach", "image", "build", "--root", str(shop.root), "--tag", "a:1"]
    building = subprocess.Popen([*command, str(shop.context)], stderr=subprocess.DEVNULL, start_new_session=True)
    until(lambda: mark.with_name("mark.begun").exists() or building.poll() is not None, 60)
    assert building.poll() is None
    if alone:
        building.kill()
    else:
        os.killpg(building.pid, signal.SIGKILL)
    building.wait()
    assert shop.bundles.find("a:1") is None
    assert len(shop.environments()) == 1
    if alone:
        # What it had started goes on in that environment, and no other build may begin before it has ended.
        with (shop.root / "images" / "lock").open() as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    mark.unlink()
    shop.build(*lines)
    assert shop.run("python3", "-c", "import slow") == (Ended(code=0), [])
    assert not list((shop.root / "images").glob("build-*"))


@pytest.mark.parametrize(
    ("line", "packages"),
    [
        ("pip install one", "one"),
        ("pip3 install 'one>=1,<2' two", "one>=1,<2 two"),
        ("python3 -m pip install -U one", "--upgrade one"),
        ("/usr/bin/python3.12 -m pip install --no-deps one", "--no-deps one"),
        ("uv pip install --system --no-cache one", "one"),
        ("--mount=type=cache,target=/root/.cache PIP_NO_COLOR=1 pip install one && pip install two", "one; two"),
        ('["pip", "install", "one"]', "one"),
        ("pip install --root-user-action=ignore --progress-bar off one==$V", "one==1"),
        ("pip install \\\n    one", "one"),
        ("pip install -rone.txt --constraint=./both.txt", "--requirement /w/one.txt --constraint /w/both.txt"),
        ("pip install ./wheels/one-1-py3-none-any.whl", "/w/wheels/one-1-py3-none-any.whl"),
        ("pip install --find-links=wheels one", "--find-links /w/wheels one"),
        ("pip install -i https://index.example/simple one", "--index-url https://index.example/simple one"),
        ("apt-get install -y one", None),
        ("pip install one && rm -r /tmp/x", None),
        ("pip install one || true", None),
        ("pip install one; pip install two", None),
        ("pip install one | cat", None),
        ("pip install $(cat one.txt)", None),
        ("pip install `cat one.txt`", None),
        ("pip install one>1", None),
        ("pip install --target /x one", None),
        ("pip install -r", None),
        ("pip download one", None),
        ("uv sync", None),
        ("python3 -c 'import one'", None),
        ("pip install 'one", None),
        ("A=b", None),
    ],
)
def test_which_run_lines_are_honoured(
    shop: Shop, line: str, packages: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[str] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        if "venv" in command:
            Path(command[-1]).mkdir(parents=True)
        else:
            words = command[command.index("install") + 1 :]
            words = words[words.index("--python") + 2 :] if "--python" in words else words
            commands.append(" ".join(word[word.index("/w/") :] if "/w/" in word else word for word in words))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    shop.build("ARG V=1", "WORKDIR /w", "COPY . .", f"RUN {line}")
    assert "; ".join(commands) == (packages or "")
    left_out = "line 5: RUN is left out: a bundle only installs with pip or uv; this machine has the rest"
    assert shop.said == ([] if packages else [left_out])


def test_the_digest_is_that_of_what_was_built(shop: Shop, tmp_path: Path) -> None:
    (shop.context / ".dockerignore").write_text("*\n!kept\n**/*.pyc\n")
    kept = shop.context / "kept"
    kept.mkdir()
    (kept / "a").write_text("a")
    (kept / "link").symlink_to("a")
    lines = ("COPY . /of-test/", "WORKDIR /of-test", "ENV A=b", "USER 1000")
    bundle = shop.build(*lines)
    assert {str(path.relative_to(bundle.root)) for path in bundle.root.rglob("*")} == {
        *("of-test", "of-test/kept", "of-test/kept/a", "of-test/kept/link")
    }
    assert (bundle.root / "of-test/kept/link").readlink() == Path("a")
    # Neither what is left out, nor times, nor what the umask made of modes counts, nor on which machine it is.
    (kept / "a.pyc").touch()
    (shop.context / "more").touch()
    os.utime(kept / "a", (1, 1))
    (kept / "a").chmod(0o600)
    assert Shop(shop.context, tmp_path / "elsewhere").build(*lines).digest == bundle.digest
    assert shop.bundles.list() == {"a:1": bundle.digest}
    digests = [shop.build(*lines[:at], "ENV Z=z" if at else "", *lines[at + 1 :]).digest for at in range(1, 4)]
    (kept / "a").chmod(0o700)
    digests.append(shop.build(*lines).digest)
    (kept / "a").write_text("b")
    digests.append(shop.build(*lines).digest)
    (kept / "link").unlink()
    digests.append(shop.build(*lines).digest)
    assert len({bundle.digest, *digests}) == 7
    with pytest.raises(Refused, match=r"one\.txt is not in .*, or \.dockerignore leaves it out"):
        shop.build("COPY one.txt /of-test/")


def test_bundles_are_listed_shared_and_removed(shop: Shop) -> None:
    digest = shop.build("COPY one.txt /of-test/").digest
    assert shop.build("COPY one.txt /of-test/", tag="registry/b:2").digest == digest
    assert shop.bundles.list() == {"a:1": digest, "registry/b:2": digest}
    shop.bundles.remove("a:1")
    assert shop.bundles.find("registry/b:2") is not None
    command = [sys.executable, "-m", "localpach", "image", "list", "--root", str(shop.root)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert said == f"registry/b:2\t{digest[:12]}\n"


def test_arguments_are_honoured_and_what_is_left_out_is_said(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        "ARG BASE=scratch\nFROM ${BASE}\nARG WHERE=here\nARG WHO\nRUN apt-get install \\\n  nothing\n"
        'ENV PLACE="${WHERE}" PERSON=$WHO\nWORKDIR /of-test/sub\nCOPY --chmod=755 Dockerfile .\nENTRYPOINT x\nLABEL a=b\n'
    )
    bundles = Bundles(tmp_path / "root")
    said: list[str] = []
    bundles.build(tmp_path, "a:1", arguments={"WHO": "me"}, say=said.append)
    bundle = bundles.find("a:1")
    assert bundle is not None
    assert (bundle.env, bundle.working_dir) == ({"PLACE": "here", "PERSON": "me"}, "/of-test/sub")
    assert (bundle.user, bundle.environment) == ("", None)
    assert (bundle.root / "of-test" / "sub" / "Dockerfile").exists()
    assert said == [
        "line 5: RUN is left out: a bundle only installs with pip or uv; this machine has the rest",
        "line 9: --chmod=755 is left out: a bundle's files are everybody's to read, as in the context",
        "line 10: ENTRYPOINT is left out: the spec gives the command",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("FROM a\nFROM b", "more than one FROM"),
        ("FROM a\nCOPPY x y", "line 2: COPPY is no instruction"),
        ("FROM a\nCOPY ../outside /of-test/", "leads out of"),
        ("FROM a\nCOPY link /of-test/", "leads out of"),
        ("FROM a\nCOPY --from=b x /of-test/", "can't copy from other images"),
        ("FROM a\nCOPY one.txt /etc/", "/etc exists on this machine"),
        ("FROM a\nCOPY one.txt /", "exists on this machine"),
        ("FROM a\nADD https://example.com/x /of-test/", "is not in"),
    ],
)
def test_what_a_bundle_cannot_be_is_refused(shop: Shop, text: str, problem: str) -> None:
    (shop.context.parent / "outside").touch()
    (shop.context / "link").symlink_to("../outside")
    (shop.context / "Dockerfile").write_text(text)
    with pytest.raises(Refused, match=problem):
        shop.bundles.build(shop.context, "a:1")
    assert shop.bundles.list() == {}


def test_add_of_an_archive_says_that_it_stays_one(shop: Shop) -> None:
    subprocess.run(["tar", "-cf", "x.tar", "one.txt"], cwd=shop.context, check=True)
    bundle = shop.build("ADD x.tar one.txt /of-test/")
    assert shop.said == ["line 2: ADD copies x.tar as it is: a bundle unpacks nothing"]
    assert {path.name for path in (bundle.root / "of-test").iterdir()} == {"x.tar", "one.txt"}
