"""Pipelines: created, changed, stopped, started, deleted."""

from __future__ import annotations

from functools import partial

from localpach.errors import AlreadyExists, NotFound, Refused
from localpach.names import META, SPEC, Branch, Commit, Repo
from localpach.pfs.service import Pfs
from localpach.pps import inputs, specs
from localpach.pps.changes import Changes
from localpach.pps.crons import Crons
from localpach.pps.egress import Egress
from localpach.pps.jobs import Jobs
from localpach.pps.logs import Logs
from localpach.pps.pipelines import Pipelines
from localpach.pps.records import PipelineName, PipelineRecord, moment
from localpach.pps.secrets import Secrets
from localpach.proto import pps_pb2
from localpach.storage.store import Store
from localpach.waiting import Bulletin, Topic

UPDATED = "all jobs killed because pipeline was updated"
STOPPED = "all jobs killed because pipeline was stopped"


class Lifecycle:
    """Changes pipelines together with the repos, branches and jobs that they have."""

    def __init__(
        self,
        store: Store,
        bulletin: Bulletin,
        changes: Changes,
        pfs: Pfs,
        pipelines: Pipelines,
        jobs: Jobs,
        crons: Crons,
        secrets: Secrets,
        logs: Logs,
        egress: Egress,
    ) -> None:
        self._store = store
        self._bulletin = bulletin
        self._changes = changes
        self._pfs = pfs
        self._pipelines = pipelines
        self._jobs = jobs
        self._crons = crons
        self._secrets = secrets
        self._logs = logs
        self._egress = egress

    def check(self, request: pps_pb2.CreatePipelineRequest) -> None:
        """Raises what a spec is refused with that can't be, whatever there is."""
        specs.check(request)
        self._egress.check(request)

    def create(self, request: pps_pb2.CreatePipelineRequest, user: str = "", effective: str = "") -> None:
        """Makes a pipeline, or with `update` a new version of it; either makes a job, if there is an input. `user` and
        `effective` are kept with it: JSON of the spec without and with defaults."""
        self._secrets.check(request.transform)
        self.check(request)
        name = PipelineName.of(request.pipeline)
        with self._store.write():
            old = self._pipelines.find(name)
            if old is not None and not request.update:
                raise AlreadyExists(f'pipeline "{name}" already exists')
            if request.HasField("input"):
                inputs.check(request.input)
            if old is None and self._pfs.repos.exists(name.output):
                raise Refused(
                    f'pipeline "{name.name}" cannot be created because a repo with the same name already exists'
                )
            version = old.version + 1 if old is not None else 1
            before = self._pipelines.newest_info(old) if old is not None else None
            info = specs.pipeline_info(request, version, before, moment())
            info.details_json, info.effective_spec_json = user, effective
            self._make_repos(info, name)
            info.spec_commit.CopyFrom(self._spec_commit(name.output).to_proto("master"))
            if old is not None:
                self._jobs.stop_all(old.num, UPDATED)
                self._end_open_commit(info)
            record = self._pipelines.add_version(info)
            self._set_provenance(info, attached=not record.stopped)
            self._crons.reset(record.num, info, before)
            self._changes.tell(record.num)

    def _make_repos(self, info: pps_pb2.PipelineInfo, name: PipelineName) -> None:
        repos = self._pfs.repos
        for leaf in inputs.leaves_of(info):
            branch = inputs.branch_of(leaf)
            if leaf.HasField("cron"):
                if not repos.exists(branch.repo):
                    repos.create(branch.repo, f"Cron tick repo for pipeline {name}.")
            elif not repos.exists(branch.repo):
                raise NotFound(f"repo {branch.repo} not found")
            elif leaf.pfs.HasField("trigger"):
                self._pfs.provenance.create_branch(branch, trigger=leaf.pfs.trigger)
        if not repos.exists(name.output):
            repos.create(name.output, f"Output repo for pipeline {name}.")
            repos.create(name.output._replace(type=SPEC), f"Spec repo for pipeline {name}.")
            repos.create(name.output._replace(type=META), f"Meta repo for pipeline {name.name}")

    def _spec_commit(self, repo: Repo) -> Commit:
        commit = self._pfs.commits.start(Branch(repo._replace(type=SPEC), "master"))
        self._pfs.commits.finish(commit)
        return commit

    def _end_open_commit(self, info: pps_pb2.PipelineInfo) -> None:
        """Ends what a spout has left open, for whose end the first job of a pipeline with an input would wait."""
        head = self._pfs.commits.head(Branch(PipelineName.of(info.pipeline).output, info.details.output_branch))
        if info.details.HasField("input") and head is not None and head.finishing is None:
            self._pfs.commits.finish(head.commit, error=UPDATED)

    def _set_provenance(self, info: pps_pb2.PipelineInfo, attached: bool) -> None:
        """Lets the output follow the inputs, or, for a stopped pipeline or a spout, nothing."""
        repo = PipelineName.of(info.pipeline).output
        provenance: list[Branch] = []
        if attached and info.details.HasField("input"):
            provenance = [inputs.branch_of(leaf) for leaf in inputs.leaves_of(info)]
            provenance.append(Branch(repo._replace(type=SPEC), "master"))
        for each, kind in ((repo, "output"), (repo._replace(type=META), "meta")):
            branch = Branch(each, info.details.output_branch)
            if not provenance and not self._pfs.branches.exists(branch):
                continue
            try:
                self._pfs.provenance.create_branch(branch, provenance=dict.fromkeys(provenance))
            except Refused as error:
                raise Refused(f"could not create/update {kind} branch: {error.message}") from error

    def version_in(self, record: PipelineRecord, commit_set: str) -> int:
        """The version of a pipeline that a commit set was made with; 0 where it has none."""
        spec = record.name.output._replace(type=SPEC)
        try:
            commit = self._pfs.queries.resolve(spec, commit_set).commit
        except NotFound:
            return 0
        infos = (self._pipelines.info(record.num, version) for version in range(record.version, 0, -1))
        return next((info.version for info in infos if info.spec_commit.id == commit.id), 0)

    def stop(self, name: PipelineName) -> None:
        """Ends its jobs and lets new input make none; a missing pipeline is fine."""
        with self._store.write():
            record = self._pipelines.find(name)
            if record is None or record.stopped:
                return
            self._pipelines.set_stopped(record.num)
            self._jobs.stop_all(record.num, STOPPED)
            self._set_provenance(self._pipelines.newest_info(record), attached=False)
            self._changes.tell(record.num)

    def start(self, name: PipelineName) -> None:
        """Lets a stopped pipeline work on the newest input."""
        with self._store.write():
            record = self._pipelines.get(name)
            self._pipelines.set_started(record.num)
            self._set_provenance(self._pipelines.newest_info(record), attached=True)
            self._changes.tell(record.num)

    def delete(self, name: PipelineName, force: bool = False, keep_repo: bool = False) -> None:
        """Deletes a pipeline with its jobs and, unless kept, its output; a missing one is fine."""
        with self._store.write():
            record = self._pipelines.find(name)
            if record is None:
                return
            self._jobs.stop_all(record.num, STOPPED)
            info = self._pipelines.newest_info(record)
            self._set_provenance(info, attached=False)
            deletion = self._pfs.deletion
            for repo in (name.output._replace(type=type) for type in (META, SPEC)) if keep_repo else (name.output,):
                deletion.delete_repo(repo, force, owned=True)
            for leaf in inputs.leaves_of(info):
                if leaf.HasField("cron"):
                    deletion.delete_repo(inputs.branch_of(leaf).repo, force)
            self._pipelines.delete(record.num)
            self._store.after_commit(partial(self._logs.delete, record.num))
            self._bulletin.tell(Topic.JOBS)
            self._bulletin.tell(Topic.LOGS)
            self._changes.tell(record.num)

    def delete_many(
        self, projects: list[str], all: bool, force: bool = False, keep_repo: bool = False
    ) -> list[PipelineName]:
        """Deletes the pipelines of some projects, or all, downstream ones first; gives the names."""
        with self._store.write():
            names = [each.name for each in self._pipelines.all() if all or each.name.project in projects]
            for name in self._downstream_first(names):
                self.delete(name, force, keep_repo)
            return names

    def _downstream_first(self, names: list[PipelineName]) -> list[PipelineName]:
        """Each pipeline after all that read its output, or the ticks of its cron inputs."""
        writers: dict[Repo, PipelineName] = {}
        reads: dict[PipelineName, list[Repo]] = {}
        for name in names:
            leaves = list(inputs.leaves_of(self._pipelines.newest_info(self._pipelines.get(name))))
            ticks = [inputs.branch_of(leaf).repo for leaf in leaves if leaf.HasField("cron")]
            writers |= dict.fromkeys([name.output, *ticks], name)
            reads[name] = [inputs.branch_of(leaf).repo for leaf in leaves if leaf.HasField("pfs")]
        readers: dict[PipelineName, list[PipelineName]] = {name: [] for name in names}
        for name in names:
            for writer in {writers[repo] for repo in reads[name] if repo in writers}:
                readers[writer].append(name)
        # Stopped pipelines can read each other in a circle, which has no right order.
        placed: dict[PipelineName, None] = {}
        entered: set[PipelineName] = set()
        for name in names:
            way = [name] if name not in entered else []
            while way:
                entered.add(way[-1])
                reader = next((each for each in readers[way[-1]] if each not in entered), None)
                if reader is not None:
                    way.append(reader)
                else:
                    placed[way.pop()] = None
        return list(placed)
