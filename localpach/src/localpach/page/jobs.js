// Jobs in lists, and how far they are.

import { el, link, table } from "./dom.js";
import { badge, kindOfJob, moment, took } from "./format.js";

const OVER = ["JOB_SUCCESS", "JOB_FAILURE", "JOB_KILLED", "JOB_UNRUNNABLE"];

export function isOver(info) {
  return OVER.includes(info.state);
}

export function jobTable(infos, withPipeline) {
  const columns = [...(withPipeline ? ["pipeline"] : []), "job", "state", "datums", "-started", "-took"];
  return table(columns, infos.map((info) => row(info, withPipeline)), "No jobs.");
}

function row(info, withPipeline) {
  const { pipeline, id } = info.job;
  const [project, name] = [pipeline.project.name, pipeline.name];
  return [
    ...(withPipeline ? [link(name, "pipeline", project, name)] : []),
    el("span", { class: "id" }, link(id.slice(0, 8), "job", project, name, id)),
    badge(info.state, kindOfJob(info.state)),
    progress(info),
    moment(info.started ?? info.created),
    isOver(info) ? took(info.started, info.finished) : null,
  ];
}

// A bar and the numbers in words.
export function progress(info) {
  const [total, failed] = [Number(info.dataTotal), Number(info.dataFailed)];
  const done = Number(info.dataProcessed) + Number(info.dataSkipped) + Number(info.dataRecovered) + failed;
  const bar = el("progress", { max: Math.max(total, 1), value: total ? done : isOver(info) ? 1 : 0, "aria-label": "datums done", class: failed ? "bad" : null });
  return [bar, el("span", { class: "count" }, ` ${done} of ${total}${failed ? `, ${failed} failed` : ""}`)];
}
