// Where the nodes of a graph without cycles go: in layers, so that all edges lead the same way and few of them cross.

const ORDERINGS = 8;
const PLACINGS = 16;
// More bends than these, and edges go straight.
const MOST_BENDS = 5000;

// Takes keys and [from, to] pairs of them; gives { places: key → { layer, at }, paths: [[key, …], …], layers }, where `at` is
// in units of a node's room across the layers, from 0 on. Between the ends of a path are bends, which have places, too.
export function layered(keys, edges) {
  const ranks = ranked(keys, edges);
  const { layers, paths } = withBends(keys, edges, ranks);
  const neighbours = adjacent(paths);
  const order = ordered(layers, neighbours);
  const at = placed(order, neighbours);
  return { places: new Map([...ranks].map(([key, layer]) => [key, { layer, at: at.get(key) }])), paths, layers: layers.length };
}

// The longest way from a source to each node; sources stand just before the first node that they lead to.
function ranked(keys, edges) {
  const ranks = new Map(keys.map((key) => [key, 0]));
  const after = new Map(keys.map((key) => [key, []]));
  const missing = new Map(keys.map((key) => [key, 0]));
  for (const [from, to] of edges) {
    after.get(from).push(to);
    missing.set(to, missing.get(to) + 1);
  }
  const sources = keys.filter((key) => !missing.get(key));
  const ready = [...sources];
  for (let key = ready.pop(); key !== undefined; key = ready.pop()) {
    for (const next of after.get(key)) {
      ranks.set(next, Math.max(ranks.get(next), ranks.get(key) + 1));
      missing.set(next, missing.get(next) - 1);
      if (!missing.get(next)) ready.push(next);
    }
  }
  for (const key of sources) {
    const nearest = after.get(key).reduce((least, next) => Math.min(least, ranks.get(next) - 1), Infinity);
    if (nearest !== Infinity) ranks.set(key, nearest);
  }
  return ranks;
}

// The nodes of each layer, among them a bend for each layer that an edge passes, and the way of each edge.
function withBends(keys, edges, ranks) {
  const layers = [];
  for (const key of keys) (layers[ranks.get(key)] ??= []).push(key);
  const bends = edges.reduce((sum, [from, to]) => sum + Math.max(0, ranks.get(to) - ranks.get(from) - 1), 0);
  const paths = edges.map(([from, to]) => {
    const path = [from];
    for (let rank = ranks.get(from) + 1; bends <= MOST_BENDS && rank < ranks.get(to); rank += 1) {
      const bend = Symbol("bend");
      ranks.set(bend, rank);
      layers[rank].push(bend);
      path.push(bend);
    }
    return [...path, to];
  });
  return { layers, paths };
}

function adjacent(paths) {
  const before = new Map();
  const after = new Map();
  const add = (map, key, value) => (map.get(key) ?? map.set(key, []).get(key)).push(value);
  for (const path of paths) {
    for (let step = 1; step < path.length; step += 1) {
      add(before, path[step], path[step - 1]);
      add(after, path[step - 1], path[step]);
    }
  }
  return { before, after };
}

// Each layer by the mean place of what its nodes are tied to, down and up by turns.
function ordered(layers, { before, after }) {
  const index = new Map();
  const number = (layer) => layer.forEach((key, at) => index.set(key, at));
  layers.forEach(number);
  for (let round = 0; round < ORDERINGS; round += 1) {
    const isDown = round % 2 === 0;
    for (const layer of isDown ? layers : [...layers].reverse()) {
      const weights = new Map(layer.map((key) => [key, mean((isDown ? before : after).get(key), index) ?? index.get(key)]));
      layer.sort((one, other) => weights.get(one) - weights.get(other));
      number(layer);
    }
  }
  return layers;
}

// Each node near the mean of its neighbours, at least a room from the one before it.
function placed(layers, { before, after }) {
  const at = new Map();
  layers.forEach((layer) => layer.forEach((key, index) => at.set(key, index - (layer.length - 1) / 2)));
  for (let round = 0; round < PLACINGS; round += 1) {
    for (const layer of round % 2 ? [...layers].reverse() : layers) {
      const wished = layer.map((key) => mean([...(before.get(key) ?? []), ...(after.get(key) ?? [])], at) ?? at.get(key));
      const found = [];
      wished.forEach((wish, index) => found.push(index ? Math.max(wish, found[index - 1] + 1) : wish));
      const drift = found.reduce((sum, value, index) => sum + value - wished[index], 0) / layer.length;
      layer.forEach((key, index) => at.set(key, found[index] - drift));
    }
  }
  const least = [...at.values()].reduce((one, other) => Math.min(one, other), Infinity);
  for (const [key, value] of at) at.set(key, value - least);
  return at;
}

function mean(keys, values) {
  return keys?.length ? keys.reduce((sum, key) => sum + values.get(key), 0) / keys.length : null;
}
