"""PFS, put together: versioned files in repos, branches and commits."""

from __future__ import annotations

from localpach.pfs.branches import Branches
from localpach.pfs.cache import Cache
from localpach.pfs.commit_sets import CommitSets
from localpach.pfs.commits import Commits
from localpach.pfs.deletion import Deletion
from localpach.pfs.file_sets import FileSets
from localpach.pfs.files import Files
from localpach.pfs.finishing import Finisher
from localpach.pfs.firing import Firing
from localpach.pfs.fsck import Fsck
from localpach.pfs.provenance import Provenance
from localpach.pfs.queries import CommitQueries
from localpach.pfs.repair import Repair
from localpach.pfs.repos import Repos
from localpach.pfs.writes import Writes
from localpach.storage.objects import Objects
from localpach.storage.store import Store
from localpach.storage.trees import Trees
from localpach.waiting import Bulletin


class Pfs:
    """The parts of PFS over one store; each is given what it uses."""

    def __init__(self, store: Store, bulletin: Bulletin) -> None:
        # What is changed in one happens whole or not at all.
        self.transaction = store.write
        self.objects = Objects(store)
        trees = Trees(store)
        self.repos = Repos(store)
        self.branches = Branches(store, self.repos)
        self.commits = Commits(store, bulletin, self.repos, self.branches)
        self.queries = CommitQueries(store, bulletin, self.repos, self.branches, self.commits)
        self.provenance = Provenance(store, bulletin, self.repos, self.branches, self.commits)
        self.commit_sets = CommitSets(store, self.branches, self.commits, self.provenance)
        self.deletion = Deletion(store, bulletin, self.repos, self.branches, self.commits)
        self.files = Files(self.objects, trees, self.commits)
        self.writes = Writes(store, self.objects, trees, self.commits)
        self.file_sets = FileSets(store, trees, self.commits, self.writes)
        self.cache = Cache(store)
        self.fsck = Fsck(store, self.objects, trees, self.commits, self.file_sets)
        self.repair = Repair(store, self.objects, trees, self.commits)
        self.finisher = Finisher(store, bulletin, trees, self.commits, Firing(store, self.branches, self.commits))
