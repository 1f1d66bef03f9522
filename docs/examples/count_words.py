"""A pipeline of one's own, run by a flow: counts the words of each new script."""

from __future__ import annotations

from prefect import flow

from prefect_pachyderm import PachydermPipeline
from tasks.image.image import build_image, choose_builder
from tasks.project import GENERATE


@flow(name="count-words", log_prints=True)
def count_words() -> int:
    """Counts the words of the newest script that `GoT_generate` has written."""
    pipeline = PachydermPipeline(
        spec={
            "pipeline": {"name": "count_words"},
            "description": "Counts the words of a script.",
            "input": {"pfs": {"repo": GENERATE.name, "name": "script", "glob": "/"}},
            "transform": {
                "image": build_image(choose_builder()),
                "cmd": ["sh", "-c", "wc -w < /pfs/script/new_script.txt > /pfs/out/words"],
            },
        }
    )
    job = pipeline.trigger()
    job.wait_for_completion()
    words = int(job.fetch_result().read("/words"))
    print(f"The new script has {words} words.")
    return words


if __name__ == "__main__":
    count_words()
