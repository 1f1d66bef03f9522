"""The tutorials of Pachyderm's own documentation, through python-pachyderm: what each of them promised its readers.

Scripts stand in for its images, and small texts for its pictures and tables.
"""

from __future__ import annotations

from python_pachyderm import Client
from python_pachyderm.service import pfs_proto, pps_proto

from tests.jobs import last_job, pfs, pipeline, put, until

# A plain-text graymap (PGM) in, its horizontal edges out.
EDGES = """
import os
for name in os.listdir('/pfs/images'):
    kind, size, depth, *rows = open('/pfs/images/' + name).read().splitlines()
    pixels = [[int(pixel) for pixel in row.split()] for row in rows]
    edges = [[abs(b - a) for a, b in zip(row, row[1:] + row[-1:])] for row in pixels]
    with open('/pfs/out/' + name.replace('.pgm', '_edges.pgm'), 'w') as out:
        print(kind, size, depth, *(' '.join(map(str, row)) for row in edges), sep='\\n', file=out)
"""
MONTAGE = """
import glob
files = sorted(glob.glob('/pfs/images/*')) + sorted(glob.glob('/pfs/edges/*'))
open('/pfs/out/montage.txt', 'w').write(''.join(open(file).read() for file in files))
"""


def pgm(*rows: str) -> bytes:
    return "\n".join(["P2", f"{len(rows[0].split())} {len(rows)}", "9", *rows, ""]).encode()


def repo(client: Client, name: str, *paths: str) -> None:
    """A repo with files that hold their own names."""
    client.create_repo(name)
    put(client, name, {path: path.rpartition("/")[2].encode() for path in paths})


def done(client: Client, name: str) -> pps_proto.JobInfo:
    """The newest job of a pipeline, once it has gone well."""
    job = last_job(client, name)
    assert (job.state, job.reason) == (pps_proto.JOB_SUCCESS, "")
    return job


def files(client: Client, name: str, commit: str = "master") -> dict[str, str]:
    """What the files of a commit hold."""
    found = {}
    for info in client.walk_file((name, commit), "/"):
        if info.file_type == pfs_proto.FILE:
            # python-pachyderm reads no empty files.
            data = client.get_file((name, commit), info.file.path).read() if info.size_bytes else b""
            found[info.file.path] = data.decode()
    return found


def count_jobs(client: Client, name: str) -> int:
    return len(list(client.list_job(name)))


def test_edges_of_images_and_a_montage(client: Client) -> None:
    client.create_repo("images")
    put(client, "images", {"/liberty.pgm": pgm("0 0 9 9", "0 0 9 9")})
    edges = pps_proto.Transform(cmd=["python3"], stdin=[EDGES], image="pachyderm/opencv")
    client.create_pipeline("edges", transform=edges, input=pfs("images"))
    montage = pps_proto.Transform(cmd=["python3"], stdin=[MONTAGE], image="v4tech/imagemagick")
    both = pps_proto.Input(cross=[pfs("images", "/"), pfs("edges", "/")])
    client.create_pipeline("montage", transform=montage, input=both)
    done(client, "montage")
    assert files(client, "edges") == {"/liberty_edges.pgm": pgm("0 9 0 0", "0 9 0 0").decode()}

    put(client, "images", {"/kitten.pgm": pgm("9 0", "0 0")})
    done(client, "montage")
    job = done(client, "edges")
    assert (job.data_processed, job.data_skipped) == (1, 1)
    pictures = pgm("9 0", "0 0"), pgm("0 0 9 9", "0 0 9 9"), pgm("9 0", "0 0"), pgm("0 9 0 0", "0 9 0 0")
    assert files(client, "montage") == {"/montage.txt": b"".join(pictures).decode()}


def test_words_are_counted_by_map_and_reduce(client: Client) -> None:
    client.create_repo("texts")
    put(client, "texts", {"/one": b"the cat the", "/two": b"cat dog"})
    # One datum a text writes a file a word into a directory of its own; one datum a word sums them up.
    count = """
      text=$(ls /pfs/texts)
      for word in $(cat /pfs/texts/*); do
        mkdir -p /pfs/out/$word && echo 1 >> /pfs/out/$word/$text
      done
    """
    pipeline(client, "map", count, pfs("texts"))
    total = 'for d in /pfs/map/*; do cat "$d"/* | wc -l > /pfs/out/$(basename "$d"); done'
    pipeline(client, "reduce", total, pfs("map", "/*/"))
    assert done(client, "reduce").data_processed == 3
    assert {path: int(text) for path, text in files(client, "reduce").items()} == {"/cat": 2, "/dog": 1, "/the": 2}
    put(client, "texts", {"/three": b"dog"})
    job = done(client, "reduce")
    assert (job.data_processed, job.data_skipped) == (1, 2)
    assert int(files(client, "reduce")["/dog"]) == 2


def test_a_cross_tries_each_parameter_on_each_part_of_the_data(client: Client) -> None:
    repo(client, "parameters", "/c1", "/c2", "/c3")
    repo(client, "data", "/train/a", "/train/b", "/test/a")
    model = """
      data=$(ls -d /pfs/data/*/)
      parameter=$(cat /pfs/parameters/*)
      echo $parameter on $(ls $data) > /pfs/out/$(basename $data)-$parameter
    """
    cross = pps_proto.Input(cross=[pfs("data", "/*/"), pfs("parameters")])
    pipeline(client, "model", model, cross)
    assert done(client, "model").data_processed == 6
    found = {f"/train-c{n}": f"c{n} on a b\n" for n in (1, 2, 3)} | {f"/test-c{n}": f"c{n} on a\n" for n in (1, 2, 3)}
    assert files(client, "model") == found
    put(client, "parameters", {"/c4": b"c4"})
    job = done(client, "model")
    assert (job.data_processed, job.data_skipped) == (2, 6)


def test_joins_pair_purchases_with_their_stores(client: Client) -> None:
    repo(client, "stores", "/STOREID1.txt", "/STOREID2.txt", "/STOREID3.txt")
    repo(client, "purchases", "/ORDERW080520_STOREID1.txt", "/ORDERW080521_STOREID1.txt", "/ORDERW078929_STOREID5.txt")
    pair = """
      ls /pfs/stores > /pfs/out/seen-$PACH_DATUM_ID
      for p in $(ls /pfs/purchases); do touch /pfs/out/$p-$(ls /pfs/stores); done
    """

    def join(name: str, outer: bool) -> set[str]:
        left = pfs("stores", "/STOREID(*).txt", join_on="$1", outer_join=outer)
        right = pfs("purchases", "/*_STOREID(*).txt", join_on="$1")
        pipeline(client, name, pair, pps_proto.Input(join=[left, right]))
        done(client, name)
        return {text.strip() for path, text in files(client, name).items() if path.startswith("/seen")}

    assert join("inner", False) == {"STOREID1.txt"}
    pairs = [path for path in files(client, "inner") if not path.startswith("/seen")]
    assert pairs == ["/ORDERW080520_STOREID1.txt-STOREID1.txt", "/ORDERW080521_STOREID1.txt-STOREID1.txt"]
    # Stores of which nobody has bought anything are seen, too.
    assert join("outer", True) == {"STOREID1.txt", "STOREID2.txt", "STOREID3.txt"}


def test_groups_bring_together_what_has_one_key(client: Client) -> None:
    repo(client, "labs", "/T1_PATID1_CLIN1.txt", "/T2_PATID1_CLIN2.txt", "/T1_PATID2_CLIN1.txt")
    repo(client, "patients", "/PATID1.txt", "/PATID2.txt", "/PATID3.txt")
    gather = "ls /pfs/labs /pfs/patients 2>&- | grep txt > /pfs/out/$PACH_DATUM_patients_GROUP_BY; true"
    tests = pfs("labs", "/*_PATID(*)_*", group_by="$1")
    pipeline(client, "records", gather, pps_proto.Input(group=[tests, pfs("patients", "/PATID(*).txt", group_by="$1")]))
    assert done(client, "records").data_processed == 3
    assert {path: text.split() for path, text in files(client, "records").items()} == {
        "/1": ["T1_PATID1_CLIN1.txt", "T2_PATID1_CLIN2.txt", "PATID1.txt"],
        "/2": ["T1_PATID2_CLIN1.txt", "PATID2.txt"],
        "/3": ["PATID3.txt"],
    }
    # Within one repo: all tests of a kind, whoever had them.
    kinds = pps_proto.Input(group=[pfs("labs", "/(T?)_*", group_by="$1")])
    pipeline(client, "kinds", "ls /pfs/labs > /pfs/out/$PACH_DATUM_labs_GROUP_BY", kinds)
    done(client, "kinds")
    assert {path: len(text.split()) for path, text in files(client, "kinds").items()} == {"/T1": 2, "/T2": 1}


def test_a_union_takes_the_files_of_each_repo_by_themselves(client: Client) -> None:
    for name in ("A", "B", "C"):
        repo(client, name, f"/{name}1", f"/{name}2")
    union = pps_proto.Input(union=[pfs(name) for name in ("A", "B", "C")])
    pipeline(client, "all", "ls /pfs | grep -v out; cp /pfs/[ABC]/* /pfs/out/", union)
    job = done(client, "all")
    assert (job.data_processed, sorted(files(client, "all"))) == (6, ["/A1", "/A2", "/B1", "/B2", "/C1", "/C2"])
    # Under one name the code need not know where they come from.
    union = pps_proto.Input(union=[pfs(each, name="any") for each in ("A", "B")])
    pipeline(client, "any", "cp /pfs/any/* /pfs/out/", union)
    done(client, "any")
    assert sorted(files(client, "any")) == ["/A1", "/A2", "/B1", "/B2"]


def test_a_shuffle_sorts_files_into_folders_without_reading_them(client: Client) -> None:
    repo(client, "fruits", "/mango.jpeg", "/apple.jpeg")
    repo(client, "pricing", "/mango.json", "/apple.json")
    shuffle = """
      test -z "$(cat /pfs/fruits/* /pfs/pricing/*)" || exit 1
      for fruit in $(ls /pfs/fruits); do
        name=$(basename $fruit .jpeg)
        mkdir /pfs/out/$name
        ln -s /pfs/fruits/$fruit /pfs/out/$name/img.jpeg
        ln -s /pfs/pricing/$name.json /pfs/out/$name/cost.json
      done
    """
    inputs = [pfs("fruits", "/", empty_files=True), pfs("pricing", "/", empty_files=True)]
    pipeline(client, "shuffle", shuffle, pps_proto.Input(cross=inputs))
    assert done(client, "shuffle").stats.download_bytes == 0
    assert files(client, "shuffle") == {
        "/apple/cost.json": "apple.json",
        "/apple/img.jpeg": "apple.jpeg",
        "/mango/cost.json": "mango.json",
        "/mango/img.jpeg": "mango.jpeg",
    }


def test_processing_is_deferred_until_a_branch_is_moved(client: Client) -> None:
    client.create_repo("data")
    client.create_branch("data", "master")
    work = pps_proto.CreatePipelineRequest(
        pipeline=pps_proto.Pipeline(name="work"), input=pfs("data"), output_branch="dev"
    )
    work.transform.MergeFrom(pps_proto.Transform(cmd=["sh"], stdin=["cp /pfs/data/* /pfs/out/"], image="alpine"))
    client.create_pipeline_from_request(work)
    pipeline(client, "publish", "cp /pfs/work/* /pfs/out/", pfs("work", branch="live"))
    before = [count_jobs(client, name) for name in ("work", "publish")]
    for name in ("one", "two"):
        put(client, "data", {f"/{name}": b""}, branch="staging")
    assert [count_jobs(client, name) for name in ("work", "publish")] == before
    client.create_branch("data", "master", ("data", "staging"))
    assert done(client, "work").data_processed == 2
    # The same for what a pipeline has made.
    assert sorted(files(client, "work", "dev")) == ["/one", "/two"]
    assert count_jobs(client, "publish") == before[1]
    client.create_branch("work", "live", ("work", "dev"))
    done(client, "publish")
    assert sorted(files(client, "publish")) == ["/one", "/two"]
    # Back to what it was before.
    client.create_branch("data", "master", ("data", "staging^"))
    done(client, "work")
    assert sorted(files(client, "work", "dev")) == ["/one"]


def test_a_branch_that_follows_on_several_is_moved_in_one_transaction(client: Client) -> None:
    for name in ("a", "b"):
        repo(client, name, f"/{name}1")
    pipeline(client, "both", "cp /pfs/[ab]/* /pfs/out/", pps_proto.Input(cross=[pfs("a", "/"), pfs("b", "/")]))
    done(client, "both")
    before = count_jobs(client, "both")
    with client.transaction():
        commits = [client.start_commit(name, "master") for name in ("a", "b")]
    for commit in commits:
        client.put_file_bytes(commit, "/" + commit.branch.repo.name + "2", b"")
    with client.transaction():
        for commit in commits:
            client.finish_commit(commit)
    done(client, "both")
    assert (count_jobs(client, "both"), sorted(files(client, "both"))) == (before + 1, ["/a1", "/a2", "/b1", "/b2"])


def test_a_cron_runs_by_the_clock_and_when_told_to(client: Client) -> None:
    tick = pps_proto.Input(cron=pps_proto.CronInput(name="tick", spec="@every 1s", overwrite=True))
    pipeline(client, "clock", "ls /pfs/tick > /pfs/out/time", tick)
    until(lambda: count_jobs(client, "clock") >= 2)
    # Ticks are overwritten: there is never more than one to see.
    job = done(client, "clock")
    assert len(files(client, "clock", job.job.id)["/time"].split()) == 1
    hourly = pps_proto.Input(cron=pps_proto.CronInput(name="tick", spec="@hourly"))
    repo(client, "in", "/a")
    pipeline(client, "hourly", "ls /pfs/tick /pfs/in >> /pfs/out/seen", pps_proto.Input(cross=[hourly, pfs("in")]))
    before = count_jobs(client, "hourly")
    client.run_cron("hourly")
    until(lambda: count_jobs(client, "hourly") > before)
    done(client, "hourly")
    assert "a" in files(client, "hourly")["/seen"].split()


def test_triggers_wait_until_there_is_enough(client: Client) -> None:
    client.create_repo("in")
    client.create_branch("in", "batch", trigger=pfs_proto.Trigger(branch="master", commits=2))
    pipeline(client, "batches", "cp /pfs/in/* /pfs/out/", pfs("in", branch="batch"))
    # One that a pipeline's input names makes a branch of its own.
    size = pfs("in", trigger=pfs_proto.Trigger(size="1K"))
    pipeline(client, "large", "cp /pfs/in/* /pfs/out/", size)
    before = count_jobs(client, "batches"), count_jobs(client, "large")
    put(client, "in", {"/a": b"a"})
    assert (count_jobs(client, "batches"), count_jobs(client, "large")) == before
    put(client, "in", {"/b": b"b"})
    done(client, "batches")
    assert (sorted(files(client, "batches")), count_jobs(client, "large")) == (["/a", "/b"], before[1])
    put(client, "in", {"/c": b"c" * 1024})
    done(client, "large")
    assert (sorted(files(client, "large")), count_jobs(client, "batches")) == (["/a", "/b", "/c"], before[0] + 1)


def test_code_for_errors_lets_a_job_go_on_without_some_of_its_data(client: Client) -> None:
    repo(client, "repo", "/file1", "/file2")
    command = pps_proto.Transform(
        cmd=["sh"],
        stdin=["if [ -e /pfs/repo/file1 ]; then cp /pfs/repo/file1 /pfs/out/; else exit 1; fi"],
        err_cmd=["sh"],
        err_stdin=["if [ -e /pfs/repo/file2 ]; then echo failed; else exit 1; fi"],
        image="alpine",
    )
    client.create_pipeline("p", transform=command, input=pfs("repo"), datum_tries=1)
    job = done(client, "p")
    assert (job.data_processed, job.data_recovered, list(files(client, "p"))) == (1, 1, ["/file1"])
