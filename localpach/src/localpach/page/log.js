// The log of a job or of a datum, line by line as it comes.

import { stream } from "./api.js";
import { el } from "./dom.js";
import { pause, told } from "./live.js";

// Of a longer log the last lines are shown.
const LINES = 5000;
const RETRY = 2000;
const NEAR_END = 40;

export async function followLog(place, { job, datum, isOver }, signal) {
  const log = el("div", { class: "log", tabindex: "0", role: "region", "aria-label": "Log" });
  const state = el("p", { class: "note", role: "status" });
  const system = el("input", { type: "checkbox" });
  system.addEventListener("change", () => log.classList.toggle("all", system.checked));
  place.append(el("label", {}, system, " with what the worker says of its own"), log, state);
  const request = { ...(datum ? { datum: { job, id: datum } } : { job }), ...(isOver ? { tail: LINES } : { follow: true }) };
  while (!signal.aborted) {
    state.textContent = isOver ? "" : "Live: lines are shown as they come.";
    try {
      await show(log, request, signal);
      state.textContent = log.childElementCount ? "The end of the log." : "It has said nothing.";
      return;
    } catch (error) {
      if (signal.aborted || error.isLocked) return;
      state.textContent = `The log broke off: ${told(error)}`;
    }
    await pause(RETRY, signal);
    log.replaceChildren();
  }
}

// Adds lines by the handful, for a job may say much at once.
async function show(log, request, signal) {
  let waiting = [];
  let timer = null;
  const flush = () => {
    timer = null;
    const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_END;
    log.append(...waiting.slice(-LINES).map(line));
    waiting = [];
    while (log.childElementCount > LINES) log.firstChild.remove();
    if (isAtEnd) log.scrollTop = log.scrollHeight;
  };
  try {
    for await (const message of stream("pps_v2.API/GetLogs", request, signal)) {
      waiting.push(message);
      timer ??= setTimeout(flush, 100);
      if (waiting.length > 2 * LINES) waiting = waiting.slice(-LINES);
    }
  } finally {
    clearTimeout(timer);
    if (!signal.aborted) flush();
  }
}

function line(message) {
  const time = new Date(message.ts).toLocaleTimeString();
  return el("div", { class: message.user ? null : "system" }, el("time", { datetime: message.ts }, time), " ", message.message);
}
