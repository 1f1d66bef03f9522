// A pipeline: its state, what it reads and runs, its jobs and its spec.

import { call, list, pipelineOf } from "./api.js";
import { button, el, facts, link, section, separated, update } from "./dom.js";
import { badge, kindOfPipeline, moment } from "./format.js";
import { inputRepos } from "./graph.js";
import { jobTable } from "./jobs.js";
import { live } from "./live.js";

const PAGE = 50;

export function pipeline(main, [project, name], signal) {
  let number = PAGE;
  const about = el("div");
  const jobs = section("Jobs");
  const spec = section("Spec");
  const more = button("Show more jobs", () => { number += PAGE; more.disabled = true; });
  main.append(el("h1", {}, name), about, jobs.element, spec.element);
  jobs.element.append(more);
  return live(signal, async () => {
    const which = pipelineOf(project, name);
    const [info, infos] = await Promise.all([
      call("pps_v2.API/InspectPipeline", { pipeline: which, details: true }, signal),
      list("pps_v2.API/ListJob", { pipeline: which, number }, signal),
    ]);
    update(about, pipelineFacts(info, project, name));
    update(jobs.body, jobTable(infos, false));
    more.hidden = infos.length < number;
    more.disabled = false;
    update(spec.body, el("pre", { tabindex: "0" }, readable(info.effectiveSpecJson || info.detailsJson || "")));
  });
}

function pipelineFacts(info, project, name) {
  const { transform = {}, input, description } = info.details;
  const script = [...(transform.cmd ?? []), ...(transform.stdin?.length ? ["<<"] : [])].join(" ");
  return facts([
    ["state", badge(info.state, kindOfPipeline(info.state))],
    ["why", info.reason],
    ["description", description],
    ["version", info.version],
    ["created", moment(info.details.createdAt)],
    ["reads", separated(inputRepos(input).map((repo) => link(repo.repo, "repo", repo.project, repo.repo)))],
    ["writes", link(name, "repo", project, name)],
    ["image", transform.image],
    ["command", el("pre", { tabindex: "0" }, [script, ...(transform.stdin ?? [])].join("\n"))],
  ]);
}

function readable(spec) {
  try {
    return JSON.stringify(JSON.parse(spec), null, 2);
  } catch {
    return spec;
  }
}
