// The DAG: a box for each repo, and for each pipeline with the repo that it writes to.

import { address, svg } from "./dom.js";
import { bytes, kindOfJob, kindOfPipeline, shortened, word } from "./format.js";
import { layered } from "./layout.js";

const WIDTH = 176;
const HEIGHT = { pipeline: 74, repo: 48 };
const GAP = { along: 64, across: 22 };
const MARGIN = 12;
const NARROW = "(max-width: 700px)";

// Whether the graph leads down rather than to the right.
export function isNarrow() {
  return matchMedia(NARROW).matches;
}

// The repos that an input reads, the cron's own among them.
export function inputRepos(input) {
  if (!input) return [];
  const nested = [...(input.cross ?? []), ...(input.union ?? []), ...(input.join ?? []), ...(input.group ?? [])];
  const own = [input.pfs, input.cron].filter(Boolean).map(({ project, repo }) => ({ project, repo }));
  return [...own, ...nested.flatMap(inputRepos)];
}

export function graph(pipelines, repos) {
  const nodes = new Map(repos.map((info) => [keyOf(info.repo.project.name, info.repo.name), { repo: info }]));
  const edges = new Map();
  for (const info of pipelines) {
    const to = keyOf(info.pipeline.project.name, info.pipeline.name);
    nodes.set(to, { ...nodes.get(to), pipeline: info });
    for (const { project, repo } of inputRepos(info.details?.input)) {
      const from = keyOf(project, repo);
      if (!nodes.has(from)) nodes.set(from, {});
      edges.set(`${from} ${to}`, [from, to]);
    }
  }
  return drawn(nodes, layered([...nodes.keys()].sort(), [...edges.values()]));
}

function keyOf(project, name) {
  return `${project}/${name}`;
}

function drawn(nodes, { places, paths, layers }) {
  const isDown = isNarrow();
  const deep = isDown ? HEIGHT.pipeline : WIDTH;
  const broad = isDown ? WIDTH : HEIGHT.pipeline;
  const turned = (along, across) => (isDown ? { x: across, y: along } : { x: along, y: across });
  // The middle of a place, or what is `shift` before or after it.
  const point = (key, shift = 0) => {
    const { layer, at } = places.get(key);
    return turned(MARGIN + deep / 2 + layer * (deep + GAP.along) + shift, MARGIN + broad / 2 + at * (broad + GAP.across));
  };
  const half = (key) => (isDown && nodes.has(key) && !nodes.get(key).pipeline ? HEIGHT.repo : deep) / 2;
  const edge = (path) => {
    const ends = path.slice(1).map((key, at) => [point(path[at], half(path[at])), point(key, -half(key))]);
    return svg("path", { d: ends.map(([from, to], at) => `${at ? "L" : "M"}${from.x} ${from.y} ${curve(from, to, isDown)}`).join(" ") });
  };
  const boxes = [...nodes.keys()].sort((one, other) => places.get(one).layer - places.get(other).layer || places.get(one).at - places.get(other).at);
  const most = [...places.values()].reduce((one, { at }) => Math.max(one, at), 0);
  const { x: width, y: height } = turned(2 * MARGIN + layers * (deep + GAP.along) - GAP.along, 2 * MARGIN + broad + most * (broad + GAP.across));
  return svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": "Repos and pipelines" },
    svg("g", { class: "edges", "aria-hidden": "true" }, paths.map(edge)),
    boxes.map((key) => box(key, nodes.get(key), point(key))));
}

// Leaves and arrives straight.
function curve(from, to, isDown) {
  const [one, two] = isDown
    ? [[from.x, (from.y + to.y) / 2], [to.x, (from.y + to.y) / 2]]
    : [[(from.x + to.x) / 2, from.y], [(from.x + to.x) / 2, to.y]];
  return `C${one.join(" ")} ${two.join(" ")} ${to.x} ${to.y}`;
}

function box(key, { pipeline, repo }, { x, y }) {
  const [project, name] = key.split("/");
  const height = pipeline ? HEIGHT.pipeline : HEIGHT.repo;
  const left = x - WIDTH / 2;
  const top = y - height / 2;
  const size = repo ? bytes(repo.sizeBytesUpperBound) : "of another project";
  const row = (kind, text, label, shape, lines) => svg("a", { href: address(kind, project, name), "aria-label": label }, svg("title", {}, `${kind} ${text}`), shape, lines);
  const line = (text, down, kind) => svg("text", { x: left + 14, y: top + down, class: kind }, text);
  if (!pipeline) {
    const shape = svg("rect", { x: left, y: top, width: WIDTH, height, rx: height / 2, class: "repo" });
    const lines = [svg("text", { x, y: top + 21, class: "name middle" }, shortened(name, 20)), svg("text", { x, y: top + 37, class: "middle" }, size)];
    return row("repo", key, `repo ${name}, ${size}`, shape, lines);
  }
  const state = `${word(pipeline.state)} · last job ${word(pipeline.lastJobState)}`;
  const kind = kindOfPipeline(pipeline.state) === "bad" ? "bad" : kindOfJob(pipeline.lastJobState);
  const output = svg("rect", { x: left, y: top + 48, width: WIDTH, height: height - 48, class: "output" });
  return svg("g", { class: `pipeline ${kind}` },
    row("pipeline", key, `pipeline ${name}, ${state}`, svg("rect", { x: left, y: top, width: WIDTH, height, rx: 6, class: "card" }),
      [svg("rect", { x: left, y: top, width: 5, height, class: "mark" }), line(shortened(name, 20), 20, "name"), line(shortened(state, 29), 38)]),
    row("repo", key, `output repo of ${name}, ${size}`, output, [line(`output ${size}`, 65, "size")]));
}
