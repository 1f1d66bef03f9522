// Elements. All that comes from the server becomes text, never markup, and links lead to this page alone.

const SVG = "http://www.w3.org/2000/svg";

export function el(tag, attributes, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...present(children));
  return element;
}

function present(children) {
  return children.flat().filter((child) => child !== null && child !== undefined && child !== false);
}

// The address of a view: `#/commit/default/images/<id>`.
export function address(...parts) {
  return `#/${parts.map(encodeURIComponent).join("/")}`;
}

export function link(text, ...parts) {
  return el("a", { href: address(...parts) }, text);
}

export function button(text, act) {
  const made = el("button", { type: "button" }, text);
  made.addEventListener("click", act);
  return made;
}

// Shows children in place of those that are there, unless they are the same; what has the focus keeps it.
export function update(target, ...children) {
  const fresh = target.cloneNode(false);
  fresh.append(...present(children));
  if (fresh.isEqualNode(target)) return;
  const held = target.contains(document.activeElement) ? mark(document.activeElement) : null;
  target.replaceChildren(...fresh.childNodes);
  if (held) [...target.querySelectorAll("a, button, summary, [tabindex]")].find((each) => mark(each) === held)?.focus({ preventScroll: true });
}

function mark(element) {
  return `${element.localName} ${element.getAttribute("href") ?? element.textContent}`;
}

// A section with a heading, and the place to fill in it.
export function section(title, tag = "div") {
  const body = el(tag);
  return { body, element: el("section", {}, el("h2", {}, title), body) };
}

// Columns whose title starts with "-" are left out where there is little room.
export function table(columns, rows, empty) {
  if (!rows.length) return el("p", { class: "empty" }, empty);
  const wide = columns.map((column) => (column.startsWith("-") ? "wide" : null));
  return el("table", {},
    el("thead", {}, el("tr", {}, columns.map((column, at) => el("th", { scope: "col", class: wide[at] }, column.replace("-", ""))))),
    el("tbody", {}, rows.map((row) => el("tr", {}, row.map((cell, at) => el("td", { class: wide[at] }, cell ?? ""))))));
}

// Names and values; those that are missing are left out.
export function facts(pairs) {
  const given = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "" && value.length !== 0);
  return el("dl", {}, given.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

export function separated(nodes) {
  return nodes.flatMap((node, at) => (at ? [", ", node] : [node]));
}
