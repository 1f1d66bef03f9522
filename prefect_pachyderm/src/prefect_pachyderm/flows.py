"""A flow that is ready: nothing but a block has to be made for a deployment of it."""

from __future__ import annotations

from prefect import flow, get_run_logger

from prefect_pachyderm.pipelines import PachydermPipeline
from prefect_pachyderm.results import JobResult
from prefect_pachyderm.waits import stop_jobs


@flow(name="run Pachyderm pipeline", on_cancellation=[stop_jobs])
def run_pachyderm_pipeline(pipeline: PachydermPipeline) -> JobResult:
    """Runs a pipeline on the newest input, waits for its job and lists what it has made. Cancelled, it stops the job.

    Raises:
        JobFailed: the job has ended in another state than success, or took longer than the block gives it.
        PachydermError: the specification is refused, or Pachyderm can't be reached.

    Example:
        Deploy it for a pipeline that is stored in a block:
        ```python
        from prefect_pachyderm import PachydermPipeline, run_pachyderm_pipeline

        if __name__ == "__main__":
            run_pachyderm_pipeline.serve("count", parameters={"pipeline": PachydermPipeline.load("BLOCK_NAME")})
        ```
    """
    job = pipeline.trigger(_sync=True)
    job.wait_for_completion(_sync=True)
    result = job.fetch_result(_sync=True)
    get_run_logger().info("Job %s@%s has made %d files: %s", job.pipeline, job.job_id, len(result.files), result.files)
    return result
