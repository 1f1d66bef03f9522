// A job: how far it is, its datums, its log as it comes, and the jobs beside it; with a datum's id, the log of that alone.

import { call, list, pipelineOf } from "./api.js";
import { button, el, facts, link, section, table, update } from "./dom.js";
import { badge, bytes, duration, kindOfJob, moment, took } from "./format.js";
import { isOver, jobTable, progress } from "./jobs.js";
import { live } from "./live.js";
import { followLog } from "./log.js";

const PAGE = 50;
const KINDS = { success: "good", failed: "bad", starting: "busy" };

export function job(main, [project, name, id, datum], signal) {
  const which = { pipeline: pipelineOf(project, name), id };
  let number = PAGE;
  let hasLog = false;
  const about = el("div");
  const datums = section("Datums");
  const lines = section(datum ? "Log of one datum" : "Log");
  const others = section("Jobs of the same commit set");
  const more = button("Show more datums", () => { number += PAGE; more.disabled = true; });
  main.append(el("h1", {}, `Job ${id.slice(0, 8)} of ${name}`), about, lines.element, datums.element, others.element);
  datums.element.append(more);
  if (datum) lines.body.before(el("p", {}, "Datum ", el("span", { class: "id" }, datum), ". ", link("The log of the whole job", "job", project, name, id)));
  return live(signal, async () => {
    const info = await call("pps_v2.API/InspectJob", { job: which, details: true }, signal);
    update(about, jobFacts(info));
    if (!hasLog) followLog(lines.body, { job: which, datum, isOver: isOver(info) }, signal);
    hasLog = true;
    const infos = await list("pps_v2.API/ListDatum", { job: which, number }, signal);
    update(datums.body, table(["datum", "state", "-took", "-read", "files"], infos.map(row), "No datums yet."));
    update(others.body, jobTable(await list("pps_v2.API/InspectJobSet", { jobSet: { id } }, signal), true));
    more.hidden = infos.length < number;
    more.disabled = false;
    return isOver(info) && more.hidden;
  });
}

function jobFacts(info) {
  const { repo, id } = info.outputCommit;
  return facts([
    ["state", badge(info.state, kindOfJob(info.state))],
    ["why", info.reason],
    ["datums", progress(info)],
    ["skipped", Number(info.dataSkipped) ? info.dataSkipped : null],
    ["created", moment(info.created)],
    ["started", moment(info.started)],
    ["finished", moment(info.finished)],
    ["took", took(info.started, info.finished)],
    ["version", info.pipelineVersion],
    ["egress", info.details.egress?.URL || info.details.egress?.objectStorage?.url],
    ["writes", link(`${repo.name}@${id.slice(0, 8)}`, "commit", repo.project.name, repo.name, id)],
  ]);
}

function row(info) {
  const { job, id } = info.datum;
  const { pipeline } = job;
  return [
    el("span", { class: "id" }, link(id.slice(0, 8), "job", pipeline.project.name, pipeline.name, job.id, id)),
    badge(info.state, KINDS[info.state.toLowerCase()] ?? "idle"),
    duration(info.stats?.processTime),
    info.stats ? bytes(info.stats.downloadBytes) : null,
    el("ul", { class: "files" }, info.data.map((file) => el("li", {}, fileLink(file.file)))),
  ];
}

function fileLink({ commit, path }) {
  const { project, name } = commit.repo;
  const kind = path.endsWith("/") ? "commit" : "file";
  return link(`${name}:${path}`, kind, project.name, name, commit.id, path);
}
