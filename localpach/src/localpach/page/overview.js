// The DAG, the newest jobs, and all pipelines and repos, of one project or of all.

import { list } from "./api.js";
import { el, link, section, separated, table, update } from "./dom.js";
import { badge, bytes, kindOfJob, kindOfPipeline, moment } from "./format.js";
import { graph, isNarrow } from "./graph.js";
import { jobTable } from "./jobs.js";
import { live } from "./live.js";

const JOBS = 15;

export function overview(main, [project], signal) {
  const chosen = project ? [{ name: project }] : [];
  const projects = el("p", { class: "projects" });
  const drawing = el("div", { class: "graph", tabindex: "0", role: "region", "aria-label": "Graph of repos and pipelines" });
  const jobs = section("Newest jobs");
  let drawn = "";
  const pipelines = section("Pipelines");
  const repos = section("Repos");
  main.append(el("h1", {}, project ? `Project ${project}` : "All that is here"), projects, drawing, jobs.element, pipelines.element, repos.element);
  return live(signal, async () => {
    const [known, pipelineInfos, repoInfos, jobInfos] = await Promise.all([
      list("pfs_v2.API/ListProject", {}, signal),
      list("pps_v2.API/ListPipeline", { details: true, projects: chosen }, signal),
      list("pfs_v2.API/ListRepo", { type: "user", projects: chosen }, signal),
      list("pps_v2.API/ListJob", { number: JOBS, projects: chosen }, signal),
    ]);
    update(projects, known.length > 1 ? projectLinks(known, project) : []);
    // A big one is not drawn again for nothing.
    const shape = JSON.stringify([isNarrow(), pipelineInfos, repoInfos]);
    if (shape !== drawn) update(drawing, repoInfos.length ? graph(pipelineInfos, repoInfos) : el("p", { class: "empty" }, "No repo yet: pachctl create repo images makes one."));
    drawn = shape;
    update(jobs.body, jobTable(jobInfos, true));
    update(pipelines.body, table(["name", "state", "last job", "-version", "-description"], pipelineInfos.map(pipelineRow), "No pipelines."));
    update(repos.body, table(["name", "size", "-branches", "-created", "-description"], repoInfos.map(repoRow), "No repos."));
  });
}

function projectLinks(known, project) {
  const entry = (name, ...parts) => {
    const made = link(name, ...parts);
    if ((project ?? "all") === name) made.setAttribute("aria-current", "page");
    return made;
  };
  const names = known.map((info) => info.project.name);
  return ["Projects: ", ...separated([entry("all"), ...names.map((name) => entry(name, "project", name))])];
}

function pipelineRow(info) {
  const { project, name } = info.pipeline;
  return [
    link(name, "pipeline", project.name, name),
    badge(info.state, kindOfPipeline(info.state)),
    badge(info.lastJobState, kindOfJob(info.lastJobState)),
    info.version,
    info.details?.description,
  ];
}

function repoRow(info) {
  const { project, name } = info.repo;
  return [
    link(name, "repo", project.name, name),
    bytes(info.sizeBytesUpperBound),
    info.branches.map((branch) => branch.name).join(", "),
    moment(info.created),
    info.description,
  ];
}
