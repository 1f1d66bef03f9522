// A file: a look at it, and the way to keep it.

import { call, commitOf } from "./api.js";
import { folderLinks } from "./commit.js";
import { head, pictureType, pieces, textOf } from "./content.js";
import { button, el, facts, link } from "./dom.js";
import { bytes, moment } from "./format.js";
import { notice, told } from "./live.js";

const SHOWN = 256 * 1024;
const PICTURE = 20 * 1000 * 1000;
const WIDEST = 1600;
const KEPT = 500 * 1000 * 1000;

export async function file(main, [project, repo, id, path], signal) {
  const which = { commit: commitOf(project, repo, id), path };
  const name = path.split("/").pop();
  const info = await call("pfs_v2.API/InspectFile", { file: which }, signal);
  const size = Number(info.sizeBytes);
  main.append(
    el("h1", {}, name),
    el("p", { class: "path" }, folderLinks(project, repo, id, path.slice(0, path.lastIndexOf("/")))),
    facts([["size", bytes(size)], ["committed", moment(info.committed)], ["commit", link(`${repo}@${id.slice(0, 8)}`, "commit", project, repo, id)]]),
    size > KEPT
      ? el("p", {}, "Too big for a browser to keep: ", el("code", {}, `pachctl get file --project ${project} '${repo}@${id}:${path}'`))
      : el("p", {}, download(which, name, signal), " ", link("What has changed", "diff", project, repo, id, path)));
  const bytesOf = await head(which, signal, SHOWN);
  const text = textOf(bytesOf);
  if (text !== null) {
    main.append(el("pre", { class: "content", tabindex: "0", "aria-label": "Content" }, text));
    if (size > bytesOf.length) main.append(el("p", { class: "note" }, `The first ${bytes(bytesOf.length)} of ${bytes(size)}.`));
  } else {
    main.append((await picture(which, pictureType(bytesOf), size, signal)) ?? el("p", { class: "empty" }, "Neither text nor a picture that can be shown."));
  }
}

// A button: the file comes as bytes of no kind, which the browser keeps and shows to nobody.
function download(which, name, signal) {
  const made = button("Download", async () => {
    made.disabled = true;
    try {
      const address = URL.createObjectURL(new Blob(await pieces(which, signal), { type: "application/octet-stream" }));
      el("a", { href: address, download: name }).click();
      setTimeout(() => URL.revokeObjectURL(address), 60_000);
    } catch (error) {
      if (!signal.aborted) notice(told(error));
    }
    made.disabled = false;
  });
  return made;
}

// Drawn rather than linked to: a picture is pixels here, whatever else its bytes may mean.
async function picture(which, type, size, signal) {
  if (!type || size > PICTURE) return null;
  try {
    const bitmap = await createImageBitmap(new Blob(await pieces(which, signal), { type }));
    const scale = Math.min(1, WIDEST / bitmap.width);
    const canvas = el("canvas", { role: "img", "aria-label": `Picture, ${bitmap.width} by ${bitmap.height}`, width: Math.ceil(bitmap.width * scale), height: Math.ceil(bitmap.height * scale) });
    canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    return canvas;
  } catch (error) {
    if (error instanceof DOMException && !signal.aborted) return null;
    throw error;
  }
}
