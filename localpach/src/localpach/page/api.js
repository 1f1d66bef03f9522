// The RPCs, by HTTP with JSON, as every other client has them.

const KEY = "localpach-token";
const UNAUTHENTICATED = 16;

export class Failure extends Error {
  constructor({ code, message }) {
    super(message);
    this.isLocked = code === UNAUTHENTICATED;
  }
}

// Keeps the token of a link `/#token=…` for this tab, and takes it out of the address bar.
export function takeToken() {
  const found = /^#token=(.*)$/.exec(location.hash);
  if (!found) return;
  keepToken(found[1]);
  history.replaceState(null, "", location.pathname);
}

export function keepToken(token) {
  sessionStorage.setItem(KEY, token.trim());
}

async function post(rpc, request, signal) {
  const headers = { "authn-token": sessionStorage.getItem(KEY) ?? "" };
  const answer = await fetch(`/api/${rpc}`, { method: "POST", headers, body: JSON.stringify(request), signal, cache: "no-store" });
  if (!answer.ok) throw new Failure(await answer.json());
  return answer;
}

export async function call(rpc, request, signal) {
  return (await post(rpc, request, signal)).json();
}

// The messages of a stream as they come; whoever stops taking them ends the call.
export async function* stream(rpc, request, signal) {
  const reader = (await post(rpc, request, signal)).body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        const message = JSON.parse(line);
        if (message.error) throw new Failure(message.error);
        yield message.result;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

// At most `limit` messages of a stream.
export async function list(rpc, request, signal, limit = Infinity) {
  const found = [];
  for await (const message of stream(rpc, request, signal)) {
    found.push(message);
    if (found.length >= limit) break;
  }
  return found;
}

export function repoOf(project, name) {
  return { project: { name: project }, name, type: "user" };
}

export function commitOf(project, repo, id) {
  return { repo: repoOf(project, repo), id };
}

export function pipelineOf(project, name) {
  return { project: { name: project }, name };
}
