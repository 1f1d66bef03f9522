// Which view is shown: what follows # in the address names it; the login, where the token is missing.

import { keepToken, takeToken } from "./api.js";
import { commit } from "./commit.js";
import { diff } from "./diff.js";
import { el, link, update } from "./dom.js";
import { file } from "./file.js";
import { job } from "./job.js";
import { notice, told } from "./live.js";
import { overview } from "./overview.js";
import { pipeline } from "./pipeline.js";
import { repo } from "./repo.js";

// By the first word of an address, and how many more words it needs.
const VIEWS = {
  project: [overview, 1],
  repo: [repo, 2],
  pipeline: [pipeline, 2],
  commit: [commit, 3],
  job: [job, 3],
  file: [file, 4],
  diff: [diff, 4],
};
const main = document.getElementById("content");
let left = new AbortController();

async function show() {
  left.abort();
  left = new AbortController();
  const { signal } = left;
  takeToken();
  const [word, ...parts] = words();
  const [view, needed] = VIEWS[word] ?? [overview, 0];
  notice("");
  main.replaceChildren();
  update(document.getElementById("crumbs"), ...crumbs(word, parts).map((crumb) => el("li", {}, crumb)));
  document.title = [...(word && parts.length ? [parts.slice(1).join(" ") || parts[0]] : []), "localpach"].join(" – ");
  try {
    if (parts.length < needed) throw new Error("This address leads to nothing.");
    await view(main, word in VIEWS ? parts : [], signal);
  } catch (error) {
    if (signal.aborted) return;
    if (error.isLocked) login(error.message);
    else notice(told(error));
  }
}

function words() {
  try {
    return location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  } catch {
    return ["", ""];
  }
}

// The things that what is shown is in, each a link.
function crumbs(word, [project, name, id, path]) {
  if (!project || !(word in VIEWS)) return [];
  const place = word === "pipeline" || word === "job" ? "pipeline" : "repo";
  const kind = word === "job" ? "job" : "commit";
  return [
    link(project, "project", project),
    name && link(name, place, project, name),
    id && link(id.slice(0, 8), kind, project, name, id),
    path && path !== "/" && (word === "job" ? path.slice(0, 8) : path),
  ].filter(Boolean);
}

function login(reason) {
  left.abort();
  const field = el("input", { type: "password", id: "token", autocomplete: "off", required: "" });
  const form = el("form", {}, el("label", { for: "token" }, "Token"), field, el("button", {}, "Log in"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    keepToken(field.value);
    show();
  });
  main.replaceChildren(el("h1", {}, "Who are you?"),
    el("p", {}, "This page shows nothing without the token of the data directory. ", el("code", {}, "localpach page"), " prints a link that has it; the token by itself is in the file ", el("code", {}, "token"), " there."),
    form, el("p", { class: "note" }, `localpach says: ${reason}.`));
  field.focus();
}

// A new view is read from its beginning: the focus goes there.
window.addEventListener("hashchange", (event) => {
  if (location.hash === "#content") {
    main.focus();
    history.replaceState(null, "", new URL(event.oldURL).hash || "#/");
    return;
  }
  show();
  main.focus({ preventScroll: true });
  scrollTo(0, 0);
});
show();
