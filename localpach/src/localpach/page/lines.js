// Two lists of lines compared: the fewest lines deleted and added that lead from one to the other.

const MOST_CELLS = 4_000_000;
const AROUND = 3;

// The steps [{ kind: kept | deleted | added, text }], or null where it would take too long.
export function compared(before, after) {
  let start = 0;
  while (start < Math.min(before.length, after.length) && before[start] === after[start]) start += 1;
  let end = 0;
  while (end < Math.min(before.length, after.length) - start && before.at(-1 - end) === after.at(-1 - end)) end += 1;
  const [old, fresh] = [before.slice(start, before.length - end), after.slice(start, after.length - end)];
  if ((old.length + 1) * (fresh.length + 1) > MOST_CELLS) return null;
  const kept = (text) => ({ kind: "kept", text });
  return [...before.slice(0, start).map(kept), ...changed(old, fresh), ...before.slice(before.length - end).map(kept)];
}

// By the longest common subsequence of what is left.
function changed(old, fresh) {
  const width = fresh.length + 1;
  const longest = new Uint32Array((old.length + 1) * width);
  for (let i = old.length - 1; i >= 0; i -= 1) {
    for (let j = fresh.length - 1; j >= 0; j -= 1) {
      longest[i * width + j] = old[i] === fresh[j] ? longest[(i + 1) * width + j + 1] + 1 : Math.max(longest[(i + 1) * width + j], longest[i * width + j + 1]);
    }
  }
  const steps = [];
  let [i, j] = [0, 0];
  while (i < old.length || j < fresh.length) {
    if (i < old.length && j < fresh.length && old[i] === fresh[j]) {
      steps.push({ kind: "kept", text: old[i] });
      i += 1;
      j += 1;
    } else if (i < old.length && (j === fresh.length || longest[(i + 1) * width + j] >= longest[i * width + j + 1])) {
      steps.push({ kind: "deleted", text: old[i] });
      i += 1;
    } else {
      steps.push({ kind: "added", text: fresh[j] });
      j += 1;
    }
  }
  return steps;
}

// The changes with a few lines around them; what lies between is left out.
export function hunks(steps) {
  const near = new Set();
  steps.forEach(({ kind }, at) => {
    if (kind !== "kept") for (let step = at - AROUND; step <= at + AROUND; step += 1) near.add(step);
  });
  const found = [];
  steps.forEach((step, at) => {
    if (!near.has(at)) return;
    if (!near.has(at - 1) || !found.length) found.push([]);
    found.at(-1).push(step);
  });
  return found;
}
