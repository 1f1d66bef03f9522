"""What a killed server's jobs were writing by S3."""

from __future__ import annotations

from localpach.api.s3.job import JobGateway, remove_leftovers
from localpach.api.s3.parts import OUT, UPLOAD, all_begun, begin
from localpach.pfs.service import Pfs


def test_what_jobs_were_writing_is_forgotten_and_uploads_stay(pfs: Pfs) -> None:
    JobGateway(pfs, {}, has_out=True).begin_try()
    out = all_begun(pfs, OUT)[0].commit
    begin(pfs, UPLOAD, f"{out} a")
    kept = begin(pfs, UPLOAD, "default/in@master/ a")
    remove_leftovers(pfs)
    assert [record.commit for record in all_begun(pfs, UPLOAD)] == [kept]
    assert all_begun(pfs, OUT) == []
