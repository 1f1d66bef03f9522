// A commit: where it comes from, what has changed since its parent, and its files, folder by folder.

import { call, commitOf, list } from "./api.js";
import { button, el, facts, link, section, separated, table, update } from "./dom.js";
import { bytes, moment } from "./format.js";
import { live } from "./live.js";
import { commitBadge } from "./repo.js";

const PAGE = 100;
const CHANGES = 200;

export function commit(main, [project, repo, id, path = "/"], signal) {
  let number = PAGE;
  const which = commitOf(project, repo, id);
  const about = el("div");
  const files = section("Files");
  const changes = section("Changes since the parent");
  const more = button("Show more files", () => { number += PAGE; more.disabled = true; });
  main.append(el("h1", {}, `${repo}@${id.slice(0, 8)}`), about, files.element, changes.element);
  files.body.before(el("p", { class: "path" }, folderLinks(project, repo, id, path)));
  files.element.append(more);
  return live(signal, async () => {
    const info = await call("pfs_v2.API/InspectCommit", { commit: which }, signal);
    update(about, commitFacts(info));
    if (!info.finished) {
      update(files.body, el("p", { class: "empty" }, "The commit is open: its files are shown once it is finished."));
      more.hidden = true;
      return false;
    }
    const file = { commit: which, path };
    const infos = await list("pfs_v2.API/ListFile", { file, number }, signal);
    update(files.body, table(["name", "size"], infos.map((each) => row(each, project, repo, id)), "No files."));
    more.hidden = infos.length < number;
    more.disabled = false;
    const differing = await list("pfs_v2.API/DiffFile", { newFile: { commit: which, path: "/" } }, signal, CHANGES + 1);
    update(changes.body, changeTable(differing, project, repo, id));
    return more.hidden;
  });
}

function commitFacts(info) {
  return facts([
    ["state", commitBadge(info)],
    ["why", info.error],
    ["description", info.description],
    ["branch", info.commit.branch?.name],
    ["size", bytes(info.details?.sizeBytes ?? info.sizeBytesUpperBound)],
    ["started", moment(info.started)],
    ["finished", moment(info.finished)],
    ["parent", info.parentCommit && commitLink(info.parentCommit)],
    ["made from", separated((info.directProvenance ?? []).filter(isUsers).map(commitLink))],
    ["led to", separated((info.directSubvenance ?? []).filter(isUsers).map(commitLink))],
    ["id", el("span", { class: "id" }, info.commit.id)],
  ]);
}

function isUsers(commit) {
  return commit.repo.type === "user";
}

function commitLink({ repo, id }) {
  return link(`${repo.name}@${id.slice(0, 8)}`, "commit", repo.project.name, repo.name, id);
}

// The folders that lead to a path, each a link.
export function folderLinks(project, repo, id, path) {
  const names = path.split("/").filter(Boolean);
  const folders = names.map((name, at) => link(name, "commit", project, repo, id, `/${names.slice(0, at + 1).join("/")}/`));
  return [link("/", "commit", project, repo, id), ...folders.flatMap((folder) => [" ", folder, " /"])];
}

function row(info, project, repo, id) {
  const { path } = info.file;
  const isFolder = info.fileType === "DIR";
  const name = path.replace(/\/$/, "").split("/").pop();
  return [link(isFolder ? `${name}/` : name, isFolder ? "commit" : "file", project, repo, id, path), bytes(info.sizeBytes)];
}

function changeTable(differing, project, repo, id) {
  const files = differing.slice(0, CHANGES).filter(({ newFile, oldFile }) => (newFile ?? oldFile).fileType === "FILE");
  const rows = files.map(({ newFile, oldFile }) => {
    const { path } = (newFile ?? oldFile).file;
    const what = newFile && oldFile ? "changed" : newFile ? "added" : "deleted";
    const size = Number(newFile?.sizeBytes ?? 0) - Number(oldFile?.sizeBytes ?? 0);
    return [el("span", { class: `change ${what}` }, what), link(path, "diff", project, repo, id, path), `${size < 0 ? "−" : "+"}${bytes(Math.abs(size))}`];
  });
  return [table(["what", "file", "size"], rows, "Nothing."), differing.length > CHANGES ? el("p", { class: "note" }, `The first ${CHANGES} of them.`) : null];
}
