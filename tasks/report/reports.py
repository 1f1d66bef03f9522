"""Results as a person meets them: artifacts in the Prefect UI, the report page, and a summary on the terminal."""

from __future__ import annotations

import json
import os
import re
from textwrap import wrap
from typing import Any

from prefect import get_run_logger, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from prefect_pachyderm.calls import RETRIES
from prefect_pachyderm.credentials import connect
from tasks.names import artifact_key
from tasks.report.index_page import note, write_index
from tasks.report.learning_curve import Curve, read_curve, xychart
from tasks.report.lineage import Job, Lineage, mermaid, page_of, trace
from tasks.report.provenance import write_provenance
from tasks.report.report_page import byte_count, duration, write_report
from tasks.report.results import Results

HEAD_LINES = 24
ARTIFACT_LINES = 60
# What the UI shows of a code block without scrolling.
COLUMNS = 66


@task(name="report", task_run_name="report", **RETRIES)
def report(model: str, results: Results) -> str:
    """Publishes the run's artifacts, writes the report page and the provenance, and returns the summary to print."""
    client = connect()
    lineage = trace(client, results.jobs)
    write_provenance(client, results.directory, lineage)
    metrics = json.loads((results.directory / "metrics.json").read_text())
    curve = read_curve(metrics)
    facts = json.loads((results.directory / "script_facts.json").read_text())
    page = write_report(results.directory, metrics, results.script, facts, curve, lineage)
    note(results.directory, corpus=lineage.tarball.source if lineage.tarball else "")
    write_index(results.directory.parent)
    get_run_logger().info("Wrote %s", page)
    _publish(model, metrics, results, curve, lineage)
    return summary(model, results)


def _publish(model: str, metrics: dict[str, Any], results: Results, curve: Curve | None, lineage: Lineage) -> None:
    create_table_artifact(
        key=artifact_key("perplexity"),
        table=_perplexities(metrics, results),
        description=f"Perplexity of the {model} model",
    )
    if curve:
        create_markdown_artifact(
            key=artifact_key("learning-curve"),
            markdown=f"{fenced('mermaid', xychart(curve))}\n\n{_epochs(metrics)}",
            description=f"Perplexity of the {model} model by {curve.unit}",
        )
    opening = "\n".join(
        row for line in results.script.splitlines()[:ARTIFACT_LINES] for row in wrap(line, COLUMNS) or [""]
    )
    create_markdown_artifact(
        key=artifact_key("new-script"), markdown=fenced("text", opening), description="The new script's opening"
    )
    create_table_artifact(
        key=artifact_key("datums"),
        table=[row for job in lineage.jobs for row in _datum_rows(job)],
        description="Datums of the jobs: state, time and bytes",
    )
    create_markdown_artifact(
        key=artifact_key("lineage"),
        markdown=f"{fenced('mermaid', mermaid(lineage))}\n\n{_places(results, lineage)}",
        description="What the results were made from",
    )
    address = os.environ.get("SCRIPTWRIGHT_REPORTS_URL")
    if address:
        link = f"{address.rstrip('/')}/{results.directory.name}/report.html"
        create_link_artifact(
            key=artifact_key("report"), link=link, link_text="The report page", description="The whole run on a page"
        )


def _perplexities(metrics: dict[str, Any], results: Results) -> list[dict[str, str]]:
    """Rows of the model's perplexity and, on held-out text, what an n-gram model has to hold against it or to add."""
    plain = metrics.get("ngram", {})
    columns = {
        "n-gram model": plain,
        "n-gram with cache": plain.get("cache", {}),
        "all mixed": metrics.get("mixture", {}),
        "dynamic": metrics.get("dynamic") or {},
        "dynamic, all mixed": (metrics.get("dynamic") or {}).get("mixture", {}),
    }
    return [
        {
            "split": split,
            "perplexity": f"{value:.3f}",
            **{name: f"{found[split]:.3f}" if split in found else "" for name, found in columns.items()},
        }
        for split, value in results.perplexity.items()
    ]


def _epochs(metrics: dict[str, Any]) -> str:
    """The epochs as a table in Markdown."""
    rows = [
        f"| {e['epoch']} | {e['train']:.3f} | {e['valid']:.3f} | {e['words_per_second']:,} |" for e in metrics["epochs"]
    ]
    return "\n".join(["| epoch | train | valid | words a second |", "| ---: | ---: | ---: | ---: |", *rows])


def _datum_rows(job: Job) -> list[dict[str, str]]:
    rows = [
        {
            "pipeline": job.pipeline,
            "datum": datum.id[:8],
            "state": datum.state,
            "download": duration(datum.download),
            "process": duration(datum.process),
            "upload": duration(datum.upload),
            "in": byte_count(datum.bytes_in),
            "out": byte_count(datum.bytes_out),
        }
        for datum in job.datums
    ]
    if job.datum_count > len(job.datums):
        rows.append({"pipeline": job.pipeline, "datum": f"{job.datum_count - len(job.datums)} more"})
    return rows


def _places(results: Results, lineage: Lineage) -> str:
    """Where the results and the jobs that made them are, as a list in Markdown."""
    stored = [f"- `{place}`" for place in [*results.stored, f"{results.directory}/report.html"]]
    pages = [
        f"- [the job of {job.pipeline} on localpach's page]({page_of(job)})" for job in lineage.jobs if page_of(job)
    ]
    return "\n".join(stored + pages)


def fenced(language: str, text: str) -> str:
    """A Markdown code block that no text can end before its end."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text}\n{fence}"


def summary(model: str, results: Results) -> str:
    """Perplexities, the script's opening, and where the whole is."""
    perplexities = "   ".join(f"{split} {value:.3f}" for split, value in results.perplexity.items())
    head = "\n".join(f"  {line}" for line in results.script.splitlines()[:HEAD_LINES])
    stored = "\n".join(f"  {place}" for place in results.stored)
    return (
        f"Perplexity ({model}):   {perplexities}\n\nThe new script begins:\n\n{head}\n  …\n\n"
        f"Stored in Pachyderm:\n{stored}\nand on disk in {results.directory}/ (begin with report.html)\n\n"
        "To see more:  make status   |   make up (Prefect UI)   |   MODEL=small make all"
    )
