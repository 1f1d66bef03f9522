// How sizes, times and states are shown.

import { el } from "./dom.js";

const UNITS = ["B", "kB", "MB", "GB", "TB"];
const KINDS = {
  success: "good", running: "good", standby: "idle", skipped: "idle", recovered: "good", finished: "good",
  failure: "bad", failed: "bad", killed: "bad", unrunnable: "bad", crashing: "bad",
};

export function bytes(number) {
  let value = Number(number ?? 0);
  let unit = 0;
  while (value >= 1000 && unit < UNITS.length - 1) { value /= 1000; unit += 1; }
  return `${unit ? value.toFixed(value < 10 ? 1 : 0) : value} ${UNITS[unit]}`;
}

export function moment(text) {
  if (!text) return null;
  const date = new Date(text);
  const isToday = date.toDateString() === new Date().toDateString();
  return el("time", { datetime: text, title: date.toLocaleString() }, isToday ? date.toLocaleTimeString() : date.toLocaleDateString());
}

export function seconds(number) {
  if (number < 60) return `${number < 10 ? number.toFixed(1) : Math.round(number)} s`;
  const minutes = Math.floor(number / 60);
  return minutes < 60 ? `${minutes} min ${Math.floor(number % 60)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

// A duration as JSON has it, "1.5s".
export function duration(text) {
  return text ? seconds(parseFloat(text)) : null;
}

export function took(started, finished) {
  return started ? seconds(Math.max(0, (finished ? new Date(finished) : new Date()) - new Date(started)) / 1000) : null;
}

// A state without its prefix: JOB_SUCCESS → success.
export function word(state) {
  return (state ?? "").replace(/^(JOB|PIPELINE)_(STATE_)?/, "").toLowerCase();
}

export function kindOfJob(state) {
  const name = word(state);
  return name === "running" ? "busy" : KINDS[name] ?? (name === "unknown" || !name ? "idle" : "busy");
}

export function kindOfPipeline(state) {
  return KINDS[word(state)] ?? (word(state) === "paused" ? "idle" : "busy");
}

export function badge(state, kind) {
  return el("span", { class: `badge ${kind}` }, word(state));
}

export function shortened(text, length) {
  return text.length > length ? `${text.slice(0, length - 1)}…` : text;
}
