"""Results as a person meets them: artifacts in the Prefect UI and a summary on the terminal."""

from __future__ import annotations

from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from tasks.results import Results

HEAD_LINES = 24


@task(name="report")
def report(model: str, results: Results) -> str:
    """Publishes the run's artifacts and returns the summary to print."""
    table = [{"split": split, "perplexity": f"{value:.3f}"} for split, value in results.perplexity.items()]
    create_table_artifact(table=table, key="perplexity", description=f"Perplexity of the {model} model")
    head = "\n".join(results.script.splitlines()[:HEAD_LINES])
    create_markdown_artifact(markdown=f"```text\n{head}\n```", key="new-script", description="The new script's opening")
    return summary(model, results)


def summary(model: str, results: Results) -> str:
    """Perplexities, the script's opening, and where the whole is."""
    perplexities = "   ".join(f"{split} {value:.3f}" for split, value in results.perplexity.items())
    head = "\n".join(f"  {line}" for line in results.script.splitlines()[:HEAD_LINES])
    stored = "\n".join(f"  {place}" for place in results.stored)
    return (
        f"Perplexity ({model}):   {perplexities}\n\nThe new script begins:\n\n{head}\n  …\n\n"
        f"Stored in Pachyderm:\n{stored}\nand on disk in {results.directory}/\n\n"
        "To see more:  make status   |   make up (Prefect UI)   |   MODEL=small make all"
    )
