// What has changed in a file between a commit and its parent, line by line.

import { call, commitOf, list } from "./api.js";
import { folderLinks } from "./commit.js";
import { head, textOf } from "./content.js";
import { el, link } from "./dom.js";
import { compared, hunks } from "./lines.js";

const COMPARED = 1024 * 1024;
const SIGNS = { kept: " ", added: "+", deleted: "−" };
const TAGS = { kept: "div", added: "ins", deleted: "del" };

export async function diff(main, [project, repo, id, path], signal) {
  const commit = commitOf(project, repo, id);
  main.append(el("h1", {}, `Changes of ${path.split("/").pop()}`), el("p", { class: "path" }, folderLinks(project, repo, id, path.slice(0, path.lastIndexOf("/")))));
  const info = await call("pfs_v2.API/InspectCommit", { commit }, signal);
  const [difference] = (await list("pfs_v2.API/DiffFile", { newFile: { commit, path } }, signal, 1)).filter((each) => (each.newFile ?? each.oldFile).file.path === path);
  const [before, after] = await Promise.all([difference?.oldFile, difference?.newFile].map((each) => textAt(each, signal)));
  if (difference?.newFile) main.append(el("p", {}, link("The file as it is", "file", project, repo, id, path)));
  if (difference?.oldFile && info.parentCommit) main.append(el("p", {}, link("The file as it was", "file", project, repo, info.parentCommit.id, path)));
  main.append(shown(difference, before, after));
}

// The text of one side: "" where the file is not there, null where it has none that can be compared.
async function textAt(info, signal) {
  if (!info) return "";
  return Number(info.sizeBytes) > COMPARED ? null : textOf(await head(info.file, signal, COMPARED));
}

function shown(difference, before, after) {
  if (!difference) return el("p", { class: "empty" }, "The file is as it was in the parent.");
  if (before === null || after === null) return el("p", { class: "empty" }, "It has changed; it is no text, or too long to compare here.");
  const steps = compared(before.split("\n"), after.split("\n"));
  if (!steps) return el("p", { class: "empty" }, "Too much has changed to show it line by line.");
  return el("div", { class: "diff", tabindex: "0", role: "region", "aria-label": "Changes" },
    hunks(steps).map((hunk) => el("div", { class: "hunk" }, hunk.map(({ kind, text }) => el(TAGS[kind], { class: kind }, `${SIGNS[kind]} ${text}`)))));
}
