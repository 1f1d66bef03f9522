// What is in files: pieces of them, and whether that is text or a picture.

import { stream } from "./api.js";

// How each kind of picture begins that the browser can draw and that runs no script.
const PICTURES = { "image/png": "\x89PNG\r\n", "image/jpeg": "\xff\xd8\xff", "image/gif": "GIF8", "image/webp": "RIFF" };

function decoded(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

// The bytes of a file, from its beginning, at least `limit` of them if it has as many.
export async function pieces(file, signal, limit = Infinity) {
  const found = [];
  let length = 0;
  for await (const message of stream("pfs_v2.API/GetFile", { file }, signal)) {
    const piece = decoded(message);
    found.push(piece);
    length += piece.length;
    if (length >= limit) break;
  }
  return found;
}

export async function head(file, signal, limit) {
  const bytes = new Uint8Array(await new Blob(await pieces(file, signal, limit)).arrayBuffer());
  return bytes.subarray(0, limit);
}

// The text that bytes are, or null; the last character may be cut off.
export function textOf(bytes) {
  if (bytes.includes(0)) return null;
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes, { stream: true });
  } catch {
    return null;
  }
}

export function pictureType(bytes) {
  const start = String.fromCharCode(...bytes.subarray(0, 8));
  return Object.keys(PICTURES).find((type) => start.startsWith(PICTURES[type])) ?? null;
}
