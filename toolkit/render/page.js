"use strict";
// The page's figures, drawn from the JSON in #data by Observable Plot. One picked net shows in all of them.

const D = JSON.parse(document.getElementById("data").textContent);
const $ = id => document.getElementById(id);
const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const text = value => value == null ? "" : Math.abs(value) >= 10 ? value.toFixed(2) : value.toFixed(3);
const within = (low, high) => low == null ? "" : ` [${text(low)}, ${text(high)}]`;
const short = name => name.length > 30 ? `${name.slice(0, 14)}\u2026${name.slice(-14)}` : name;
const SERIES = ["#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#0072b2"];
const LISTED = 40, BUMPS = 40, ERROR_BARS = 150;

// A dataset's column by net: {value, low, high, rank, first, last}; absent where there is no result.
const columns = new Map(D.datasets.map(d => [d.name, new Map(d.rows.map(
  ([net, value, low, high, rank, first, last]) => [net, { net: D.nets[net], value, low, high, rank, first, last }]))]));
const unit = name => D.datasets.find(d => d.name === name).scale;
const others = D.pairs.map(pair => pair.other);
const state = { picked: new Set(), x: D.reference, y: others[0], as: "value" };

function plot(label, options) {
  return Plot.plot({ ariaLabel: label, style: { background: "transparent", color: "inherit", fontSize: "12px" }, ...options });
}

function put(id, ...nodes) { $(id).replaceChildren(...nodes); }

// 1. The verdict: every dataset's correlation with the reference, and the thresholds that the words use.
function verdict() {
  const rows = D.pairs.filter(pair => pair.rho != null);
  const kinds = ["transfers", "open", "reversed", "subset of the reference"];
  put("verdict", plot(`Spearman's rho with ${D.reference}, by dataset, with 95% intervals`, {
    width: 860, marginLeft: 8 + 7 * d3.max(rows, row => row.other.length), height: 70 + 22 * rows.length,
    x: { domain: [-1, 1], label: `Spearman's rho with ${D.reference} \u2192`, grid: true, axis: "top" },
    y: { domain: rows.map(row => row.other), label: null },
    color: { domain: kinds, range: [css("--accent"), css("--grey"), css("--strong"), css("--grey")] },
    symbol: { domain: kinds, range: ["circle", "diamond", "triangle", "square"], legend: true },
    marks: [
      Plot.ruleX([0], { strokeOpacity: .6 }),
      Plot.ruleX([D.transfers], { strokeDasharray: "4 3", strokeOpacity: .6 }),
      Plot.ruleY(rows.filter(row => row.low != null), { x1: "low", x2: "high", y: "other", stroke: "kind", strokeWidth: 2 }),
      Plot.dot(rows, { x: "rho", y: "other", fill: "kind", stroke: "kind", symbol: "kind", r: 5 }),
      Plot.tip(rows, Plot.pointerY({ x: "rho", y: "other", title:
        row => `${row.other}: ${text(row.rho)}${within(row.low, row.high)}, n = ${row.n}\n${row.kind}` })),
    ],
  }));
}

// 2. One dataset against another.
function scatter() {
  const a = columns.get(state.x), b = columns.get(state.y), ranks = state.as === "rank";
  const rows = [...a].filter(([net]) => b.has(net)).map(([net, x]) => ({ net: x.net, x, y: b.get(net) }));
  const part = ranks ? ["rank", "first", "last"] : ["value", "low", "high"];
  const [at, low, high] = part, label = name => ranks ? `rank on ${name}` : `${D.quantity} on ${name}, ${unit(name)}`;
  const picked = rows.filter(row => state.picked.has(row.net));
  const barred = rows.length <= ERROR_BARS ? rows : picked;
  const has = axis => row => row[axis][low] != null;
  const says = row => `${row.net}\n${state.x}: ${text(row.x.value)}${within(row.x.low, row.x.high)}, rank ${row.x.rank}\n`
    + `${state.y}: ${text(row.y.value)}${within(row.y.low, row.y.high)}, rank ${row.y.rank}`;
  const chart = plot(`${label(state.y)} against ${label(state.x)}, one point a net`, {
    width: 640, height: 560, marginLeft: 60, grid: true,
    x: { label: `${label(state.x)} \u2192`, reverse: ranks }, y: { label: `\u2191 ${label(state.y)}`, reverse: ranks },
    marks: [
      Plot.ruleX(barred.filter(has("y")), { x: d => d.x[at], y1: d => d.y[low], y2: d => d.y[high], strokeOpacity: .25 }),
      Plot.ruleY(barred.filter(has("x")), { y: d => d.y[at], x1: d => d.x[low], x2: d => d.x[high], strokeOpacity: .25 }),
      Plot.dot(rows, { x: d => d.x[at], y: d => d.y[at], fill: css("--accent"), fillOpacity: .5, r: 3.5 }),
      Plot.dot(picked, { x: d => d.x[at], y: d => d.y[at], fill: css("--strong"), symbol: "star", r: 7 }),
      Plot.text(picked, { x: d => d.x[at], y: d => d.y[at], text: "net", dy: -12 }),
      Plot.tip(rows, Plot.pointer({ x: d => d.x[at], y: d => d.y[at], title: says })),
    ],
  });
  chart.addEventListener("click", () => chart.value && pick(chart.value.net));
  chart.dataset.points = rows.length;
  put("scatter", chart);
}

// 3. How ranks flow from dataset to dataset, the reference first, then those that agree with it most.
function flow() {
  const names = [D.reference, ...others].slice(0, BUMPS);
  const rows = names.flatMap(dataset => [...columns.get(dataset).values()].map(cell => ({ dataset, ...cell })));
  const picked = rows.filter(row => state.picked.has(row.net));
  const line = { x: "dataset", y: "rank", z: "net", curve: "bump-x" };
  const chart = plot("Rank of every net on each dataset, a line a net", {
    width: Math.max(640, 90 * names.length), height: 460, marginBottom: 90, marginLeft: 50,
    x: { type: "point", domain: names, label: null, tickRotate: -35 }, y: { reverse: true, label: "\u2191 rank (1 is best)" },
    marks: [
      Plot.line(rows, { ...line, stroke: css("--accent"), strokeOpacity: Math.max(.06, Math.min(.6, 12 / D.nets.length)) }),
      Plot.ruleX(picked.filter(row => row.first != null), { x: "dataset", y1: "first", y2: "last", strokeWidth: 5, strokeOpacity: .3 }),
      Plot.line(picked, { ...line, stroke: css("--strong"), strokeWidth: 3 }),
      Plot.text(picked.filter(row => row.dataset === names.at(-1)), { x: "dataset", y: "rank", text: "net", dx: 6, textAnchor: "start" }),
      Plot.tip(rows, Plot.pointer({ x: "dataset", y: "rank", maxRadius: 30, title:
        row => `${row.net} on ${row.dataset}: rank ${row.rank}${row.first == null ? "" : ` [${row.first}, ${row.last}]`}` })),
    ],
  });
  chart.addEventListener("click", () => chart.value && pick(chart.value.net));
  put("flow", chart);
  const hidden = others.length + 1 - names.length;
  $("flow-note").textContent = hidden > 0 ? `${hidden} datasets that agree least with ${D.reference} are not drawn.` : "";
}

// 4. Who is best over all datasets: a critical-difference diagram. Names hang from the scale, the bars lie between.
function standing() {
  const { rows, bars, critical_difference: apart } = D.standing, half = Math.ceil(rows.length / 2);
  const low = Math.floor(rows[0][1]), high = Math.max(low + 1, Math.ceil(rows.at(-1)[1]));
  const deep = 1 + 0.5 * d3.max(bars, bar => bar[2] + 1) || 1;
  const nets = rows.map(([net, rank, first, last], i) => {
    const left = i < half;
    return { net, rank, first, last, left, edge: left ? low : high, y: deep + (left ? i : rows.length - 1 - i) };
  });
  const path = net => [[net.rank, 0], [net.rank, net.y], [net.edge, net.y]].map(([x, y]) => ({ net: net.net, x, y }));
  const picked = nets.filter(net => state.picked.has(net.net)), line = { x: "x", y: "y", z: "net" };
  const name = (side, more) => Plot.text(nets.filter(net => net.left === side), { x: "edge", y: "y", text: net => short(net.net), ...more });
  const ruler = Math.min(apart, high - low);
  const chart = plot(`Mean ranks over ${D.standing.datasets} datasets; critical difference ${text(apart)}`, {
    width: 900, height: 90 + 18 * (deep + half), marginLeft: 230, marginRight: 230, marginTop: 56, marginBottom: 16,
    x: { domain: [low, high], axis: "top", label: null, nice: false }, y: { domain: [deep + half - 1, 0], axis: null },
    marks: [
      Plot.ruleY([0], { x1: low, x2: high }),
      Plot.line(nets.flatMap(path), { ...line, stroke: css("--grey"), strokeOpacity: .7 }),
      Plot.line(picked.flatMap(path), { ...line, stroke: css("--strong"), strokeWidth: 3 }),
      Plot.ruleY(bars, { x1: ([first]) => nets[first].rank, x2: ([, last]) => nets[last].rank, y: bar => 0.6 + 0.5 * bar[2],
        stroke: css("--accent"), strokeWidth: 5,
        ariaLabel: ([first, last]) => `${nets[first].net} to ${nets[last].net}: not critically apart` }),
      Plot.ruleY([0], { x1: low, x2: low + ruler, dy: -34, stroke: css("--accent"), strokeWidth: 3 }),
      Plot.text([`critical difference ${text(apart)}${apart > high - low ? " (more than all of the scale)" : ""}`],
        { x: low, y: 0, dy: -44, textAnchor: "start" }),
      name(true, { textAnchor: "end", dx: -6 }), name(false, { textAnchor: "start", dx: 6 }),
      Plot.tip(nets, Plot.pointer({ x: "rank", y: "y", maxRadius: 60, title:
        net => `${net.net}: mean rank ${text(net.rank)}, place ${net.first} to ${net.last}` })),
    ],
  });
  chart.addEventListener("click", () => chart.value && pick(chart.value.net));
  put("standing", chart);
}

// 5. What subsets of the reference gain.
function gains() {
  const targets = [...d3.group(D.gains, row => row.target).keys()], subsets = [...new Set(D.gains.map(row => row.subset))];
  put("gains", plot(`Gain in Spearman's rho with each target, by subset of ${D.reference}`, {
    width: 860, marginLeft: 8 + 7 * d3.max(targets, name => name.length), marginRight: 20,
    height: 60 + targets.length * (14 + 16 * subsets.length),
    fy: { domain: targets, label: null, axis: "left" }, y: { domain: subsets, axis: null },
    x: { label: `gain over ${D.reference} in Spearman's rho \u2192`, grid: true },
    color: { domain: subsets, range: SERIES }, symbol: { domain: subsets, legend: true },
    marks: [
      Plot.ruleX([0]),
      Plot.ruleY(D.gains.filter(row => row.low != null), { fy: "target", y: "subset", x1: "low", x2: "high", stroke: "subset", strokeWidth: 2 }),
      Plot.dot(D.gains, { fy: "target", y: "subset", x: "gain", fill: "subset", stroke: "subset", symbol: "subset", r: 4, tip: "y", title:
        row => `${row.target}, ${row.subset}: ${text(row.gain)}${within(row.low, row.high)}` }),
    ],
  }));
}

// 6. What makes a net good, as a coloured grid with numbers.
function attributes() {
  const names = [...new Set(D.attributes.map(row => row.dataset))], wide = [...new Set(D.attributes.map(row => row.column))];
  const cells = D.attributes.filter(row => row.rho != null);
  put("attributes", plot(`Spearman's rho of ${D.quantity} with what is known of the nets`, {
    width: 160 + 8 * d3.max(names, n => n.length) + 62 * wide.length, height: 110 + 22 * names.length, marginLeft: 8 + 7 * d3.max(names, n => n.length), marginBottom: 80,
    x: { domain: wide, label: null, tickRotate: -35 }, y: { domain: names, label: null }, padding: .05,
    color: { scheme: "RdBu", domain: [-1, 1], legend: true, label: "Spearman's rho" },
    marks: [
      Plot.cell(cells, { x: "column", y: "dataset", fill: "rho" }),
      Plot.text(cells, { x: "column", y: "dataset", text: row => row.rho.toFixed(2), fill: row => Math.abs(row.rho) > .6 ? "white" : "#1f2933" }),
    ],
  }));
}

// 7. How values are spread, a small multiple a dataset, drawn when it comes into sight.
function distributions() {
  const draw = place => {
    const name = place.dataset.name, rows = D.distribution.filter(row => row.dataset === name);
    place.replaceChildren(plot(`Distribution of ${D.quantity} on ${name}`, {
      width: 250, height: 170, marginLeft: 36, title: name, x: { label: unit(name), ticks: 4 }, y: { domain: [0, 1], ticks: 3, label: null },
      marks: [
        Plot.areaY(rows, { x: "at", y1: "low", y2: "high", curve: "step-after", fill: css("--accent"), fillOpacity: .25 }),
        Plot.lineY(rows, { x: "at", y: "share", curve: "step-after", stroke: css("--accent") }),
      ],
    }));
  };
  const seen = new IntersectionObserver(entries => entries.filter(entry => entry.isIntersecting)
    .forEach(entry => { seen.unobserve(entry.target); draw(entry.target); }));
  put("distribution", ...[...d3.group(D.distribution, row => row.dataset).keys()].map(name => {
    const place = Object.assign(document.createElement("div"), { style: "min-height: 190px" });
    place.dataset.name = name;
    seen.observe(place);
    return place;
  }));
  addEventListener("beforeprint", () => $("distribution").querySelectorAll("div:empty").forEach(draw));
}

// Nets: found by name, picked by click or key, shown everywhere.
function pick(net) {
  state.picked.has(net) ? state.picked.delete(net) : state.picked.add(net);
  drawNets();
}

function button(name, pressed) {
  const made = document.createElement("button"), item = document.createElement("li");
  Object.assign(made, { type: "button", textContent: name, onclick: () => { pick(name); $("find").focus(); } });
  made.setAttribute("aria-pressed", pressed);
  item.append(made);
  return item;
}

function search() {
  const words = $("find").value.toLowerCase().split(/\s+/).filter(Boolean);
  const hits = words.length ? D.nets.filter(net => words.every(word => net.toLowerCase().includes(word))) : [];
  put("hits", ...hits.filter(net => !state.picked.has(net)).slice(0, LISTED).map(net => button(net, false)));
  $("found").textContent = words.length ? `${hits.length} of ${D.nets.length} nets${hits.length > LISTED ? `, ${LISTED} shown` : ""}` : "";
}

function drawNets() {
  put("picked", ...[...state.picked].map(net => button(net, true)));
  search();
  document.querySelectorAll("tbody tr").forEach(row => row.classList.toggle("picked", [...row.cells].some(c => state.picked.has(c.textContent))));
  if (others.length) { scatter(); flow(); }
  if (D.standing) standing();
}

// Tables: sorted by their headings, filtered by words.
const key = cell => { const n = parseFloat(cell.textContent.replace(/[<,]/g, "")); return isNaN(n) ? null : n; };
function sort(th) {
  const body = th.closest("table").tBodies[0], i = th.cellIndex, down = th.ariaSort === "ascending";
  th.parentNode.querySelectorAll("th").forEach(other => other.ariaSort = null);
  th.ariaSort = down ? "descending" : "ascending";
  const numeric = th.classList.contains("right");
  const order = (a, b) => numeric ? key(a.cells[i]) - key(b.cells[i])
    : a.cells[i].textContent.localeCompare(b.cells[i].textContent, "en", { numeric: true });
  const rows = [...body.rows], empty = rows.filter(r => !r.cells[i].textContent);
  const full = rows.filter(r => r.cells[i].textContent).sort((a, b) => down ? order(b, a) : order(a, b));
  body.append(...full, ...empty);
}
function filter(field) {
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  [...field.closest("details").querySelectorAll("tbody tr")].forEach(row =>
    row.hidden = !words.every(word => row.textContent.toLowerCase().includes(word)));
}
document.querySelectorAll("th button").forEach(made => made.onclick = () => sort(made.parentNode));
document.querySelectorAll("input.filter").forEach(field => field.oninput = () => filter(field));
const open = () => { const to = location.hash && $(location.hash.slice(1)); if (to?.tagName === "DETAILS") to.open = true; };
addEventListener("hashchange", open);
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach(item => item.open = true));

function drawAll() {
  if (others.length) verdict();
  if (D.gains.length) gains();
  if (D.attributes.length) attributes();
  distributions();
  drawNets();
}
if (others.length) for (const id of ["x", "y", "as"]) {
  $(id).value = state[id];
  $(id).onchange = () => { state[id] = $(id).value; scatter(); };
}
$("find").oninput = search;
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
drawAll();
open();
