// A repo: its branches and its commits.

import { call, list, repoOf } from "./api.js";
import { button, el, facts, link, section, separated, table, update } from "./dom.js";
import { badge, bytes, moment } from "./format.js";
import { live } from "./live.js";

const PAGE = 50;

export function repo(main, [project, name], signal) {
  let number = PAGE;
  const about = el("div");
  const commits = section("Commits");
  const more = button("Show more commits", () => { number += PAGE; more.disabled = true; });
  main.append(el("h1", {}, name), about, commits.element);
  commits.element.append(more);
  return live(signal, async () => {
    const which = repoOf(project, name);
    const [info, branches, infos] = await Promise.all([
      call("pfs_v2.API/InspectRepo", { repo: which }, signal),
      list("pfs_v2.API/ListBranch", { repo: which }, signal),
      list("pfs_v2.API/ListCommit", { repo: which, number, all: true }, signal),
    ]);
    update(about, facts([
      ["description", info.description],
      ["size", bytes(info.details?.sizeBytes)],
      ["created", moment(info.created)],
      ["branches", separated(branches.map(branchLink))],
    ]));
    update(commits.body, table(["commit", "state", "size", "started", "-from", "-description"], infos.map(row), "No commits."));
    more.hidden = infos.length < number;
    more.disabled = false;
  });
}

function branchLink({ branch, head }) {
  const { project, name } = branch.repo;
  return head ? link(branch.name, "commit", project.name, name, head.id) : branch.name;
}

function row(info) {
  const { repo, id } = info.commit;
  return [
    el("span", { class: "id" }, link(id.slice(0, 8), "commit", repo.project.name, repo.name, id)),
    commitBadge(info),
    bytes(info.details?.sizeBytes ?? info.sizeBytesUpperBound),
    moment(info.started),
    info.origin.kind.toLowerCase(),
    info.description,
  ];
}

export function commitBadge(info) {
  if (info.error) return badge("failed", "bad");
  return info.finished ? badge("finished", "good") : badge(info.finishing ? "finishing" : "open", "busy");
}
