// The Freeze Explorer: a diagram of GPT-2 in which each part is frozen or unfrozen by a click.
//
// A front-end module in anywidget's form, without dependencies. In a notebook the kernel holds the
// plan; `startPages` makes the same Explorer live in a page without a kernel. All numbers come from
// the table that workshop/explorer.py computes. This file adds them up and draws the sums.

const FROZEN = "frozen", TRAINABLE = "trainable", PARTLY = "partly trainable";
const ADAPTED = "frozen with an adapter";
const PIECES = ["norm1", "att", "norm2", "ff"]; // of a block, in the order of the forward pass
const FOLD_FROM = 13; // models with this many blocks or more show equal neighbours in one row

// --- parts, pieces and plans ----------------------------------------------------------------------
// A plan is {n_layers, trainable, adapted, rank, alpha}; the lists hold names of parts or pieces.

const isBlock = name => /^trf_blocks\.\d+$/.test(name);
const kindOf = piece => piece.split(".").at(-1);
const partOf = piece => piece.split(".").slice(0, 2).join(".");
export const piecesOf = part => isBlock(part) ? PIECES.map(kind => `${part}.${kind}`) : [part];

export function partNames(table) {
  const blocks = Array.from({ length: table.layers }, (_, i) => `trf_blocks.${i}`);
  return ["tok_emb", "pos_emb", ...blocks, "final_norm", "out_head"];
}

const allPieces = table => partNames(table).flatMap(piecesOf);
const canHave = (table, piece, state) => state in table.rows[kindOf(piece)];

/** Returns the state of each piece, by its name. */
export function statesOf(table, plan) {
  const states = Object.fromEntries(allPieces(table).map(piece => [piece, FROZEN]));
  for (const [names, state] of [[plan.trainable, TRAINABLE], [plan.adapted, ADAPTED]]) {
    for (const piece of names.flatMap(piecesOf)) {
      if (canHave(table, piece, state)) states[piece] = state;
    }
  }
  return states;
}

function planFrom(states, plan) {
  const inState = state => Object.keys(states).filter(piece => states[piece] === state);
  return { ...plan, trainable: inState(TRAINABLE), adapted: inState(ADAPTED) };
}

/** Returns the state of a part, a piece, or several parts together. */
export function stateOf(states, ...names) {
  const each = names.map(name => {
    const found = piecesOf(name).map(piece => states[piece]);
    if (found.every(state => state === found[0])) return found[0];
    return found.join() === [FROZEN, ADAPTED, FROZEN, ADAPTED].join() ? ADAPTED : PARTLY;
  });
  return each.every(state => state === each[0]) ? each[0] : PARTLY;
}

/** Returns the plan with parts set to a state, TRAINABLE, ADAPTED or FROZEN. */
export function setTo(table, plan, parts, state) {
  const states = statesOf(table, plan);
  for (const piece of parts.flatMap(piecesOf)) {
    states[piece] = canHave(table, piece, state) ? state : FROZEN;
  }
  return planFrom(states, plan);
}

/** Returns the plan with parts flipped: frozen if all have the state, or else all with it. */
export function toggle(table, plan, parts, state = TRAINABLE) {
  const states = statesOf(table, plan);
  const isSet = parts.every(part => stateOf(states, part) === state);
  return setTo(table, plan, parts, isSet ? FROZEN : state);
}

const looks = new WeakMap(); // a table → the states of its presets as text, made once

/** Returns the name of the preset that equals the plan, "" where none does. */
export function presetOf(table, plan) {
  const lookOf = other => JSON.stringify(statesOf(table, other));
  if (!looks.has(table)) {
    const presets = Object.entries(table.presets);
    looks.set(table, presets.map(([name, preset]) => [name, lookOf(preset)]));
  }
  const look = lookOf(plan);
  return looks.get(table).find(([, other]) => other === look)?.[0] ?? "";
}

/** Returns a plan for a model of another depth: the same preset, or the parts that still exist. */
export function resize(from, to, plan) {
  const preset = presetOf(from, plan);
  if (preset) return { ...to.presets[preset], rank: plan.rank, alpha: plan.alpha };
  const exists = new Set([...partNames(to), ...allPieces(to)]);
  const kept = names => names.filter(name => exists.has(name));
  const names = { trainable: kept(plan.trainable), adapted: kept(plan.adapted) };
  return { ...plan, n_layers: to.layers, ...names };
}

// --- what a plan means ----------------------------------------------------------------------------

function rowOf(table, piece, state, hasGradient, rank, classes) {
  const kind = kindOf(piece), further = kind === "out_head" ? classes - 2 : rank - 1;
  const row = table.rows[kind][state][+hasGradient];
  const larger = table.larger[kind]?.[state]?.[+hasGradient]; // for one class or rank more
  return larger ? row.map((number, i) => number + further * (larger[i] - number)) : row;
}

/** Returns parameters and trainable parameters of parts or pieces. */
export function count(table, plan, states, names, classes) {
  const sums = [0, 0];
  for (const piece of names.flatMap(piecesOf)) {
    const row = rowOf(table, piece, states[piece], false, plan.rank, classes);
    sums[0] += row[0];
    sums[1] += row[1];
  }
  return { parameters: sums[0], trainable: sums[1] };
}

/** Returns the costs of one training step, in bytes and multiply-adds, and the numbers of
 * parameters. `batch` is {size, tokens, classes}. */
export function costs(table, plan, batch) {
  const states = statesOf(table, plan), sums = Array(10).fill(0);
  let hasGradient = false;
  for (const piece of allPieces(table)) {
    const row = rowOf(table, piece, states[piece], hasGradient, plan.rank, batch.classes);
    row.forEach((number, i) => { sums[i] += number; });
    hasGradient ||= states[piece] !== FROZEN;
  }
  const b = batch.size, n = batch.tokens;
  const [total, trainable, forward, forwardPairs, backward, backwardPairs, ...kept] = sums;
  return {
    total, trainable,
    weights: 4 * total, gradients: 4 * trainable, optimizer: 8 * trainable,
    activations: b * n * kept[0] + b * n * n * kept[1] + n * n * kept[2] + n * kept[3],
    forward: b * n * forward + b * n * n * forwardPairs,
    backward: b * n * backward + b * n * n * backwardPairs,
  };
}

/** Returns the parts where the backward pass stops, and those that it passes through. */
export function reach(table, plan) {
  const states = statesOf(table, plan), parts = partNames(table);
  const trained = parts.filter(part => stateOf(states, part) !== FROZEN);
  if (!trained.length) return { stops: [], passes: [] };
  const embeddings = trained.filter(part => part.endsWith("_emb"));
  const stops = embeddings.length ? embeddings : [trained[0]];
  return { stops, passes: parts.slice(Math.max(parts.indexOf(stops[0]) + 1, 2)) };
}

export function shapeOf(table, part, batch) {
  const sizes = { b: batch.size, n: batch.tokens, classes: batch.classes };
  const shape = table.shapes[isBlock(part) ? "block" : kindOf(part)];
  return shape.map(size => sizes[size] ?? size);
}

/** Returns the plan as plain PyTorch. `model` is a classifier, its head replaced. */
export function asPyTorch(table, plan) {
  const states = statesOf(table, plan);
  if (plan.adapted.length) {
    const list = names => `[${names.map(name => `"${name}"`).join(", ")}]`;
    return [
      "from helpers.freezing import FreezePlan", "",
      "plan = FreezePlan(", `    ${table.layers},`, `    trainable=${list(plan.trainable)},`,
      `    adapted=${list(plan.adapted)},`, `    rank=${plan.rank},`, `    alpha=${plan.alpha},`,
      ")", "plan.apply(model)", ""].join("\n");
  }
  const lines = ["for param in model.parameters():", "    param.requires_grad = False"];
  const parts = partNames(table);
  const isWhole = part => stateOf(states, part) === TRAINABLE;
  if (parts.every(isWhole)) return "for param in model.parameters():\n    param.requires_grad = True\n";
  const add = module => lines.push(
    `for param in ${module}.parameters():`, "    param.requires_grad = True");
  const attribute = name => `model.${name.replace(/^trf_blocks\.(\d+)/, "trf_blocks[$1]")}`;
  const blocks = parts.filter(isBlock), whole = blocks.filter(isWhole);
  const isTail = whole.length > 1 && blocks.slice(-whole.length).every(isWhole);
  if (isTail) add(`model.trf_blocks[-${whole.length}:]`);
  for (const part of parts) {
    if (isBlock(part) && isTail && isWhole(part)) continue;
    if (isWhole(part)) add(attribute(part));
    else for (const piece of piecesOf(part)) if (states[piece] === TRAINABLE) add(attribute(piece));
  }
  return lines.join("\n") + "\n";
}

// --- words ----------------------------------------------------------------------------------------

const TITLES = {
  tok_emb: "token embedding", pos_emb: "positional embedding", final_norm: "final layer norm",
  out_head: "classification head", att: "attention", ff: "feed-forward",
  norm1: "layer norm 1", norm2: "layer norm 2",
};
const COSTS = [
  { name: "weights", unit: "bytes", title: "weights", hint: "4 bytes for each parameter" },
  { name: "gradients", unit: "bytes", title: "gradients",
    hint: "4 bytes for each trainable parameter" },
  { name: "optimizer", unit: "bytes", title: "optimizer state",
    hint: "AdamW keeps two moment estimates, 8 bytes for each trainable parameter" },
  { name: "activations", unit: "bytes", title: "activations",
    hint: "what the forward pass keeps for the backward pass" },
  { name: "forward", unit: "multiply–adds", title: "forward pass",
    hint: "multiply–add operations of all matrix products" },
  { name: "backward", unit: "multiply–adds", title: "backward pass",
    hint: "multiply–add operations of all matrix products" },
];

function titleOf(parts) {
  if (parts.length > 1) return [`${parts.length} `, "blocks"];
  return ["", TITLES[kindOf(parts[0])] ?? `block ${kindOf(parts[0])}`];
}
/** Returns the short name of a size: "124M". */
const labelOf = size => size.match(/\((.*)\)/)?.[1] ?? size;
const grouped = number => number.toLocaleString("en-US");
const inBrackets = shape => `(${shape.map(grouped).join(", ")})`;

/** Returns a number with three significant digits: "7.09 M", "497.8 MB". */
export function short(number, unit = "") {
  const scales = unit === "bytes" ? ["bytes", "kB", "MB", "GB", "TB"] : ["", "k", "M", "G", "T"];
  let scale = 0;
  while (Math.abs(number) >= 999.95 && scale < 4) { number /= 1000; scale++; }
  return `${scale ? number.toFixed(1) : number} ${scales[scale]}`.trim();
}

/** Returns a percentage; one that is not zero never reads as zero. */
export function percent(part, whole) {
  const value = 100 * part / whole;
  if (part && value < 0.01) return `${value.toPrecision(1)} %`;
  if (part < whole && value > 99.99) return "more than 99.99 %";
  return `${value.toFixed(2)} %`;
}

/** Returns a ratio in words: "× 1", "× 0.13", "× 240". */
function times(ratio) {
  if (ratio === 1 || ratio >= 10) return `× ${grouped(Math.round(ratio))}`;
  return `× ${ratio.toPrecision(ratio < 0.1 ? 1 : 2)}`;
}

export function describeReach({ stops, passes }) {
  if (!stops.length) return "Nothing is trainable, so there is no backward pass.";
  const blocks = passes.filter(isBlock).length;
  const through = blocks ? `${blocks} block${blocks === 1 ? "" : "s"}` : "no block";
  return `The gradient passes through ${through} and stops at ${stops.join(" and ")}.`;
}

/** Returns what the gradient does at a row: "stops here", "passes through" or "". */
function roleOf(parts, gradient) {
  if (parts.some(part => gradient.stops.includes(part))) return "stops here";
  return gradient.passes.includes(partOf(parts[0])) ? "passes through" : "";
}

function describeResult(result, preset) {
  if (preset === "nothing") return "With an untrained head the predictions are random.";
  if (result) return `This choice classified ${result} correctly.`;
  return "How good is this choice? Not measured: train it in the Freeze Lab.";
}

function describeChange(before, after) {
  const sign = number => number < 0 ? "−" : "+";
  const added = after.trainable - before.trainable;
  const memory = costs => costs.weights + costs.gradients + costs.optimizer + costs.activations;
  const bytes = memory(after) - memory(before);
  const backward = before.backward && after.backward
    ? `backward ${times(after.backward / before.backward)}`
    : `backward ${short(before.backward)} → ${short(after.backward)}`;
  return `Last change: ${sign(added)}${short(Math.abs(added))} trainable, ` +
    `${sign(bytes)}${short(Math.abs(bytes), "bytes")} memory, ${backward}`;
}

// --- the page -------------------------------------------------------------------------------------

const ICONS = { // drawn, so that they look the same everywhere
  [FROZEN]: "M8 1v14M2 4.5l12 7M14 4.5l-12 7",
  [TRAINABLE]: "M2 14l1-4 8-8 3 3-8 8z",
  [PARTLY]: "M5 1v9M1.5 3.3l7 4.4M8.5 3.3l-7 4.4M7 15l.6-2.4 4.7-4.7 1.8 1.8-4.7 4.7z",
  [ADAPTED]: "M5 2v10M1 4.5l8 5M9 4.5l-8 5M12.5 9v6M9.5 12h6",
};
const CLASS = {
  [FROZEN]: "fe-frozen", [TRAINABLE]: "fe-trainable", [PARTLY]: "fe-partly", [ADAPTED]: "fe-adapted",
};
const SLUGS = { // names of presets in a page's address
  "nothing": "nothing", "head only": "head-only", "LoRA, last block": "lora-last-block",
  "LoRA, all blocks": "lora-all-blocks", "the book's choice": "last-block",
  "last two blocks": "last-two-blocks", "everything": "everything",
};

const STYLE = `
.freeze-explorer { container-type: inline-size; max-width: 1180px; color: inherit; text-align: left;
  font: 13px/1.35 system-ui, sans-serif; --blue: #2e86c1; --orange: #d2691e; --green: #6b8e23;
  --teal: #1a9577; --way: #c2528b; }
.freeze-explorer * { box-sizing: border-box; }
.freeze-explorer button, .freeze-explorer input { font: inherit; color: inherit; background: transparent;
  border: 1px solid color-mix(in srgb, currentColor 45%, transparent); border-radius: 6px; margin: 0; }
.freeze-explorer button { cursor: pointer; padding: 3px 8px; min-height: 26px; }
.freeze-explorer button:disabled { opacity: .45; cursor: default; }
.freeze-explorer button:hover:enabled { border-color: currentColor; }
.freeze-explorer :focus-visible { outline: 2px solid currentColor; outline-offset: 1px; }
.freeze-explorer p { margin: 0; }
.fe-bar { display: flex; flex-wrap: wrap; gap: 4px 14px; padding-bottom: 8px; }
.fe-group { display: flex; flex-wrap: wrap; gap: 4px; align-items: center; }
.fe-group > span { opacity: .8; margin-right: 2px; }
.fe-bar .fe-last { margin-left: auto; }
.freeze-explorer .fe-group [aria-pressed=true] { font-weight: 600; border-color: currentColor;
  background: color-mix(in srgb, currentColor 14%, transparent); }
.fe-body { display: grid; grid-template-columns: minmax(0, 1fr) 370px; gap: 18px; height: 556px; }
.fe-left { display: flex; flex-direction: column; min-height: 0; }
.fe-diagram { flex: 0 1 auto; min-height: 0; overflow-y: auto; display: flex; flex-direction: column;
  padding: 2px 4px; touch-action: pan-y; user-select: none; }
.fe-row { display: grid; grid-template-columns: 46px 24px minmax(0, 1fr);
  flex: 0 1 42px; min-height: 28px; }
.fe-row.fe-inside { padding-left: 20px; }
.fe-way { position: relative; }
.fe-way.fe-through::before, .fe-way.fe-stop::before { content: ""; position: absolute; left: 12px;
  top: 0; height: 100%; border-left: 3px solid var(--way); }
.fe-way.fe-stop::before { height: 50%; width: 30px; border-bottom: 3px solid var(--way);
  border-bottom-left-radius: 8px; }
.fe-way.fe-stop::after { content: ""; position: absolute; left: 36px; top: calc(50% - 7px);
  border: 6px solid transparent; border-left: 8px solid var(--way); }
.fe-way.fe-stop.fe-through::before { height: 100%; border-bottom: 0; border-bottom-left-radius: 0; }
.fe-way.fe-stop.fe-through { background: linear-gradient(var(--way), var(--way)) 12px 50% / 28px 3px no-repeat; }
.freeze-explorer .fe-open { border: 0; padding: 0; min-height: 0; }
.freeze-explorer .fe-part { grid-column: 3; position: relative; display: grid; align-items: center; gap: 0 8px; padding: 0 8px;
  grid-template-columns: 16px minmax(146px, 1.5fr) minmax(60px, 1fr) 98px 88px minmax(84px, 1fr);
  margin: 1px 0; min-height: 0; border-width: 2px; text-align: left; white-space: nowrap; }
.fe-part > * { overflow: hidden; text-overflow: ellipsis; }
.fe-part svg { width: 16px; height: 16px; fill: none; stroke-width: 1.8; stroke: currentColor;
  stroke-linejoin: round; }
.fe-part b { font-weight: 600; }
.fe-part .fe-hidden { position: absolute; width: 1px; height: 1px; clip-path: inset(50%); }
.freeze-explorer .fe-part code, .freeze-explorer .fe-code {
  font: 12px ui-monospace, monospace; color: inherit; background: none; padding: 0; }
.fe-number { text-align: right; font-variant-numeric: tabular-nums; }
.freeze-explorer .fe-frozen { background: color-mix(in srgb, var(--blue) 16%, transparent);
  border: 2px dashed var(--blue); }
.freeze-explorer .fe-trainable { background: color-mix(in srgb, var(--orange) 24%, transparent);
  border: 2px solid var(--orange); }
.freeze-explorer .fe-partly { border: 2px solid var(--green);
  background: repeating-linear-gradient(120deg, color-mix(in srgb, var(--orange) 22%, transparent) 0 14px,
  transparent 14px 28px); }
.freeze-explorer .fe-adapted { background: color-mix(in srgb, var(--teal) 20%, transparent);
  border: 2px dotted var(--teal); }
.fe-head, .fe-foot { display: grid; grid-template-columns: 46px 24px minmax(0, 1fr); font-size: 12px;
  padding: 0 4px; opacity: .85; }
.fe-head > :last-child { display: grid; gap: 0 8px; padding: 0 10px;
  grid-template-columns: 16px minmax(146px, 1.5fr) minmax(60px, 1fr) 98px 88px minmax(84px, 1fr); }
.fe-foot > :last-child { padding-top: 3px; }
.fe-head > :first-child { font-weight: 600; padding-left: 3px; }
.fe-panel { overflow-y: auto; min-height: 0; display: flex; flex-direction: column; gap: 7px; padding: 2px; }
.freeze-explorer h4 { margin: 4px 0 0; font-size: 13px; font-weight: 600; }
.fe-total b { font-size: 17px; display: block; }
.fe-fraction { height: 10px; border: 1px solid var(--blue); border-radius: 4px;
  background: color-mix(in srgb, var(--blue) 16%, transparent); overflow: hidden; }
.fe-fraction > div { height: 100%; background: var(--orange); }
.fe-costs { display: grid; grid-template-columns: auto minmax(40px, 1fr) auto auto; gap: 4px 8px;
  align-items: center; font-variant-numeric: tabular-nums; }
.fe-costs > .fe-number { min-width: 62px; }
.fe-track { position: relative; height: 12px; border-radius: 3px;
  background: color-mix(in srgb, currentColor 12%, transparent); }
.fe-track > div { height: 100%; border-radius: 3px; background: color-mix(in srgb, currentColor 55%, transparent); }
.fe-note { font-size: 11px; opacity: .8; }
.fe-costs > .fe-note:nth-child(4) { text-align: right; }
.fe-track > i { position: absolute; top: -3px; height: 18px; border-left: 2px solid currentColor; }
.fe-change, .fe-reach { min-height: 2.7em; }
.freeze-explorer pre.fe-code { margin: 0; max-height: 170px; overflow: auto; padding: 6px 8px;
  border-radius: 6px; background: color-mix(in srgb, currentColor 8%, transparent); border: 0; }
.fe-more { display: flex; flex-wrap: wrap; gap: 6px 12px; padding-top: 4px; }
.fe-more input { width: 66px; padding: 2px 4px; }
.fe-more input.fe-text { width: 200px; }
.freeze-explorer summary { cursor: pointer; }
@media (prefers-reduced-motion: no-preference) {
  .fe-track > div, .fe-fraction > div { transition: width .15s; } }
@container (max-width: 1090px) { .fe-long { display: none; } }
@container (860px < width <= 1000px) {
  .fe-body { grid-template-columns: minmax(0, 1fr) 310px; }
  .fe-part .fe-name, .fe-head .fe-name { display: none; }
  .freeze-explorer .fe-part, .fe-head > :last-child {
    grid-template-columns: 16px minmax(120px, 1fr) 80px 76px 104px; }
}
@container (max-width: 860px) {
  .fe-long { display: inline; }
  .fe-body { grid-template-columns: minmax(0, 1fr); height: auto; }
  .fe-left { height: 540px; }
  .fe-panel { overflow: visible; }
}
@container (max-width: 620px) {
  .freeze-explorer .fe-part { grid-template: "icon title parameters" auto "icon name shape" auto
    / 16px minmax(0, 1fr) auto; }
  .fe-part svg { grid-area: icon; }
  .fe-part b { grid-area: title; }
  .fe-part .fe-name { grid-area: name; }
  .fe-part .fe-number { grid-area: parameters; }
  .fe-part > code:not(.fe-name) { grid-area: shape; }
  .fe-part .fe-trained, .fe-head > :last-child { display: none; }
  .fe-row, .fe-head, .fe-foot { grid-template-columns: 24px 26px minmax(0, 1fr); }
  .fe-left { height: auto; }
  .fe-row { flex-basis: 42px; flex-shrink: 0; }
  .fe-head > :first-child { white-space: nowrap; }
  .fe-way.fe-through::before, .fe-way.fe-stop::before { left: 6px; }
  .fe-way.fe-stop::before { width: 12px; }
  .fe-way.fe-stop::after { left: 15px; }
  .fe-way.fe-stop.fe-through { background-position: 6px 50%; background-size: 10px 3px; }
}
`;

// --- elements -------------------------------------------------------------------------------------

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function button(attributes, label, onClick) {
  const made = element("button", { type: "button", ...attributes }, label);
  made.addEventListener("click", onClick);
  return made;
}

function group(label, ...children) {
  const attributes = { class: "fe-group", role: "group", "aria-label": label };
  return element("div", attributes, element("span", {}, label), ...children);
}

/** Returns words for a screen reader only. */
const hidden = text => element("span", { class: "fe-hidden" }, text);

function icon(state) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  svg.innerHTML = `<path d="${ICONS[state]}"/>`;
  return svg;
}

/** Calls `commit` when the learner leaves a field, or presses Enter in it. */
function onCommit(box, commit) {
  box.addEventListener("change", commit);
  box.addEventListener("keydown", event => { if (event.key === "Enter") commit(); });
}

// --- the Explorer ---------------------------------------------------------------------------------

const OBSERVED = ["plan", "size", "tokens", "num_tokens", "batch_size", "num_classes", "problem"];

/** Draws itself into `el`. `model` has get, set, save_changes, on and off, as anywidget's does. */
class Explorer {
  rows = new Map(); // a row's name → its elements, made once, so that they keep the focus
  open = new Set(); // the names of the rows that are open
  earlier = []; // what was shown before, the latest last
  choices = []; // [button, whether it is the one that is chosen]
  reference = {}; // the costs that the bars are compared with, for each size and batch
  clickState = TRAINABLE; // what a click gives to a part
  current = "out_head"; // the row that Tab reaches
  change = ""; // what the last click changed
  code = ""; // the lines that were copied
  preset = "";
  drag = null;

  constructor(model, el) {
    this.model = model;
    this.first = { size: this.size, plan: this.plan };
    this.root = element("div", { class: "freeze-explorer", "data-lm-suppress-shortcuts": "true" },
      element("style", {}, STYLE), this.makeBar(),
      element("div", { class: "fe-body" }, this.makeDiagram(), this.makePanel()));
    el.replaceChildren(this.root);
    this.draw();
  }

  get size() { return this.model.get("size"); }
  get plan() { return this.model.get("plan"); }
  get table() { return this.model.get("tables")[this.size]; }
  get batch() {
    const [size, tokens, classes] = ["batch_size", "num_tokens", "num_classes"]
      .map(name => this.model.get(name));
    return { size, tokens, classes };
  }

  // --- what a learner does ---

  /** Shows another plan, and size; Undo brings back what was shown before. */
  choose(plan, size = this.size) {
    const before = { size: this.size, plan: this.plan };
    if (JSON.stringify([size, plan]) === JSON.stringify([before.size, before.plan])) return;
    this.earlier.push(before);
    const costsBefore = this.shown;
    this.set(size, plan);
    this.change = "";
    if (size === before.size) {
      this.change = describeChange(costsBefore, costs(this.table, plan, this.batch));
    }
    this.draw();
  }

  set(size, plan) {
    this.model.set("size", size);
    this.model.set("plan", plan);
    this.model.set("num_tokens", Math.min(this.model.get("num_tokens"), this.table.context));
    this.model.save_changes?.();
    if (this.model.get("in_address")) {
      history.replaceState(null, "", addressOf(size, this.table, plan));
    }
  }

  undo() {
    const { size, plan } = this.earlier.pop();
    this.set(size, plan);
    this.change = "";
    this.draw();
  }

  chooseSize(size) {
    const to = this.model.get("tables")[size];
    this.choose(resize(this.table, to, this.plan), size);
  }

  choosePreset(name) {
    const { rank, alpha } = this.plan;
    this.choose({ ...this.table.presets[name], rank, alpha });
  }

  chooseRank(rank) {
    this.choose({ ...this.plan, rank, alpha: this.plan.alpha / this.plan.rank * rank });
  }

  /** Unfreezes a part, or the block of a piece, and all above it; freezes all below. */
  unfreezeFrom(name) {
    const parts = partNames(this.table), at = parts.indexOf(partOf(name));
    const frozen = setTo(this.table, this.plan, parts, FROZEN);
    this.choose(setTo(this.table, frozen, parts.slice(at), TRAINABLE));
  }

  openOrClose(name) {
    if (!this.open.delete(name)) this.open.add(name);
    this.draw();
  }

  async copy() {
    this.code = asPyTorch(this.table, this.plan);
    this.draw();
    try {
      await navigator.clipboard.writeText(this.code);
      this.copied.textContent = "Copied.";
    } catch {
      this.copied.textContent = "Select these lines and copy them.";
    }
  }

  // --- what stays in place ---

  makeChoice(attribute, value, label, isChosen, onClick) {
    const made = button({ [attribute]: value }, label, onClick);
    this.choices.push([made, isChosen]);
    return made;
  }

  makeBar() {
    const bar = element("div", { class: "fe-bar" }), sizes = Object.keys(this.model.get("tables"));
    if (sizes.length > 1) {
      bar.append(group("Model", ...sizes.map(size => this.makeChoice(
        "data-size", size, labelOf(size), () => size === this.size, () => this.chooseSize(size)))));
    }
    const lora = this.model.get("lora");
    const names = Object.keys(this.table.presets).filter(name => lora || !name.startsWith("LoRA"));
    bar.append(group("Train", ...names.map(name => this.makeChoice(
      "data-preset", name, name, () => name === this.preset, () => this.choosePreset(name)))));
    if (lora) bar.append(...this.makeAdapterChoices());
    this.undoButton = button({ "data-undo": "" }, "Undo", () => this.undo());
    const reset = () => this.choose(this.first.plan, this.first.size);
    bar.append(element("div", { class: "fe-group fe-last" },
      this.undoButton, button({ "data-reset": "" }, "Reset", reset)));
    return bar;
  }

  makeAdapterChoices() {
    const labels = [[TRAINABLE, "trains"], [ADAPTED, "adds an adapter"]];
    const clicks = labels.map(([state, label]) => this.makeChoice(
      "data-click", label, label, () => state === this.clickState,
      () => { this.clickState = state; this.draw(); }));
    const ranks = [1, 4, 8, 16].filter(rank => rank <= this.table.embDim);
    const rankButtons = ranks.map(rank => this.makeChoice(
      "data-rank", rank, String(rank), () => rank === this.plan.rank, () => this.chooseRank(rank)));
    return [group("A click", ...clicks), group("LoRA rank", ...rankButtons)];
  }

  makeDiagram() {
    this.loss = element("div");
    this.input = element("div");
    this.diagram = element("div", { class: "fe-diagram", role: "group", "aria-label":
      "The model, output first. Space freezes or unfreezes a part. Shift and Space unfreezes it and " +
      "everything above it. Arrow keys move, open and close." });
    this.listenToDiagram();
    const columns = element("div", { "aria-hidden": "true" }, element("span"),
      element("span", {}, "part"), element("span", { class: "fe-name" }, "name"),
      element("span", { class: "fe-number" }, "parameters"),
      element("span", { class: "fe-number" }, "trainable"), element("span", {}, "output shape"));
    return element("div", { class: "fe-left" },
      element("div", { class: "fe-head" }, this.loss, element("span"), columns), this.diagram,
      element("div", { class: "fe-foot" }, element("span"), element("span"), this.input));
  }

  makePanel() {
    this.total = element("p", { class: "fe-total", role: "status" });
    this.fraction = element("div");
    this.reachLine = element("p", { class: "fe-reach" });
    this.changeLine = element("p", { class: "fe-change" });
    this.costsTitle = element("h4");
    this.bars = element("div", { class: "fe-costs", role: "group", "aria-label": "costs" });
    this.result = element("p", { class: "fe-result" });
    this.copied = element("span", { role: "status" });
    this.codeBlock = element("pre", { class: "fe-code", tabindex: "0", "aria-label": "PyTorch code" });
    this.problem = element("p", { role: "alert" });
    const copy = button({ "data-copy": "" }, "Copy as PyTorch", () => this.copy());
    return element("div", { class: "fe-panel" }, this.total,
      element("div", { class: "fe-fraction", "aria-hidden": "true" }, this.fraction),
      this.reachLine, this.changeLine, this.costsTitle, this.bars, this.result,
      element("div", { class: "fe-group" }, copy, this.copied), this.codeBlock,
      this.makeFields(), this.problem);
  }

  makeFields() {
    const fields = element("div", { class: "fe-more" });
    if (this.model.get("has_kernel")) { // which has the tokenizer
      fields.append(this.makeField("message", "message", { type: "text", class: "fe-text" }));
    }
    const number = (min, max) => ({ type: "number", min, max });
    fields.append(this.makeField("num_tokens", "tokens", number(1, 1024)),
      this.makeField("batch_size", "batch size", number(1, 1024)),
      this.makeField("num_classes", "classes", number(2, 1000)));
    this.fields = [...fields.querySelectorAll("input")];
    const fixed = this.fields.find(box => box.dataset.field === "num_classes");
    fixed.disabled = Boolean(this.model.get("classes_fixed"));
    const title = element("summary", {}, "More: message, batch size, classes");
    return element("details", {}, title, fields);
  }

  /** A field for one of the model's values; a number that can't be is not taken. */
  makeField(name, label, attributes) {
    const box = element("input", { ...attributes, "data-field": name });
    onCommit(box, () => {
      let value = box.value;
      if (attributes.type === "number") {
        value = Math.round(Number(value));
        const most = name === "num_tokens" ? this.table.context : attributes.max;
        if (!(value >= attributes.min && value <= most)) value = this.model.get(name);
        box.value = value;
      }
      this.model.set(name, value);
      this.model.save_changes?.();
      this.draw();
    });
    return element("label", {}, `${label} `, box);
  }

  // --- the mouse and the keyboard ---

  listenToDiagram() {
    const listeners = {
      click: event => this.onClick(event), keydown: event => this.onKey(event),
      pointerdown: event => this.beginDrag(event), pointermove: event => this.goOnDragging(event),
      pointerup: () => { this.drag = null; }, pointerleave: () => { this.drag = null; },
    };
    for (const [name, listener] of Object.entries(listeners)) {
      this.diagram.addEventListener(name, listener);
    }
  }

  onClick(event) {
    const part = event.target.closest(".fe-part");
    if (!part || (this.hasDragged && event.detail)) return;
    const { parts } = this.rows.get(part.dataset.part);
    if (event.shiftKey) this.unfreezeFrom(parts[0]);
    else this.choose(toggle(this.table, this.plan, parts, this.clickState));
  }

  /** The mouse gives all rows on its way the state that a click would give the first one. */
  beginDrag(event) {
    const part = event.target.closest(".fe-part");
    this.hasDragged = false;
    if (!part || event.button || event.pointerType === "touch" || event.shiftKey) return;
    const { parts } = this.rows.get(part.dataset.part), states = statesOf(this.table, this.plan);
    const isSet = parts.every(name => stateOf(states, name) === this.clickState);
    const state = isSet ? FROZEN : this.clickState;
    const { plan, shown } = this;
    this.drag = { state, plan, shown, seen: new Set([part]), parts: [...parts] };
  }

  goOnDragging(event) {
    const { drag } = this;
    const part = document.elementFromPoint(event.clientX, event.clientY)?.closest(".fe-part");
    if (!drag || !part || drag.seen.has(part) || !this.diagram.contains(part)) return;
    drag.seen.add(part);
    drag.parts.push(...this.rows.get(part.dataset.part).parts);
    if (this.hasDragged) this.earlier.pop(); // one Undo takes the whole way back
    this.hasDragged = true;
    this.model.set("plan", drag.plan);
    this.shown = drag.shown;
    this.choose(setTo(this.table, drag.plan, drag.parts, drag.state));
  }

  onKey(event) {
    const name = event.target.dataset.part, row = this.rows.get(name);
    if (!row) return;
    const shown = [...this.diagram.querySelectorAll(".fe-part")], at = shown.indexOf(event.target);
    const moves = { ArrowUp: at - 1, ArrowDown: at + 1, Home: 0, End: shown.length - 1 };
    const canOpen = isBlock(row.parts[0]) && !this.open.has(name);
    if (event.key in moves) shown[moves[event.key]]?.focus();
    else if (event.key === "ArrowRight" && canOpen) this.openOrClose(name);
    else if (event.key === "ArrowLeft" && this.open.has(name)) this.openOrClose(name);
    else if (event.shiftKey && [" ", "Enter"].includes(event.key)) this.unfreezeFrom(row.parts[0]);
    else return;
    event.preventDefault();
  }

  // --- what changes: the diagram ---

  /** Returns the rows to show, from the output to the input: [name, parts, isInside]. */
  rowsShown(states) {
    const runs = [], { table } = this;
    const look = block => piecesOf(block).map(piece => states[piece]).join();
    for (const part of partNames(table)) {
      const [neighbour] = runs.at(-1) ?? [""];
      const canFold = table.layers >= FOLD_FROM && isBlock(part) && isBlock(neighbour);
      if (canFold && look(part) === look(neighbour)) runs.at(-1).push(part);
      else runs.push([part]);
    }
    const shown = [];
    for (const parts of runs.reverse()) {
      const isRun = parts.length > 1;
      const name = isRun ? `${parts[0]} – ${kindOf(parts.at(-1))}` : parts[0];
      if (isRun) shown.push([name, [...parts], false]);
      if (isRun && !this.open.has(name)) continue;
      for (const part of parts.reverse()) {
        shown.push([part, [part], isRun]);
        if (!isBlock(part) || !this.open.has(part)) continue;
        for (const piece of piecesOf(part).reverse()) shown.push([piece, [piece], true]);
      }
    }
    return shown;
  }

  makeRow(name) {
    const way = element("div", { class: "fe-way", "aria-hidden": "true" });
    const opener = button({ class: "fe-open", tabindex: "-1", "data-open": name }, "",
      () => this.openOrClose(name));
    const part = element("button",
      { type: "button", class: "fe-part", tabindex: "-1", "data-part": name });
    part.addEventListener("focus", () => this.setCurrent(name));
    const made = { way, opener, part, line: element("div", { class: "fe-row" }, way, opener, part) };
    this.rows.set(name, made);
    return made;
  }

  fillRow(row, name, state, numbers, role, isInside) {
    const [part] = row.parts, isOpen = this.open.has(name), [before, after] = titleOf(row.parts);
    row.line.className = `fe-row${isInside ? " fe-inside" : ""}`;
    row.opener.hidden = !isBlock(part);
    row.opener.textContent = isOpen ? "▾" : "▸";
    row.opener.setAttribute("aria-expanded", isOpen);
    row.opener.setAttribute("aria-label", `${isOpen ? "close" : "open"} ${name}`);
    row.part.className = `fe-part ${CLASS[state]}`;
    row.part.title = `${before}${after}: ${state}`;
    const pressed = { [TRAINABLE]: "true", [FROZEN]: "false" };
    row.part.setAttribute("aria-pressed", pressed[state] ?? "mixed");
    const long = element("span", { class: "fe-long" }, isBlock(part) ? "transformer " : "");
    const inside = ["att", "ff"].includes(kindOf(part)) ? "inside" : "output";
    row.part.replaceChildren(
      icon(state), element("b", {}, before, long, after),
      element("code", { class: "fe-name" }, name), hidden(`, ${state}, `),
      element("span", { class: "fe-number" }, grouped(numbers.parameters)), hidden(" parameters, "),
      element("span", { class: "fe-number fe-trained" }, grouped(numbers.trainable)),
      hidden(` trainable, ${inside} `),
      element("code", {}, inBrackets(shapeOf(this.table, part, this.batch))),
      hidden(role && `, the gradient ${role}`));
  }

  drawDiagram(states, gradient) {
    const shown = [];
    for (const [name, parts, isInside] of this.rowsShown(states)) {
      const row = this.rows.get(name) ?? this.makeRow(name), state = stateOf(states, ...parts);
      const numbers = count(this.table, this.plan, states, parts, this.batch.classes);
      const role = roleOf(parts, gradient);
      const goesOn = role === "passes through" ||
        (name === "pos_emb" && gradient.stops.includes("tok_emb"));
      const stop = role === "stops here" ? " fe-stop" : "";
      row.way.className = `fe-way${stop}${goesOn ? " fe-through" : ""}`;
      row.parts = parts;
      const key = JSON.stringify(
        [parts, state, numbers, role, isInside, this.open.has(name), this.size, this.batch]);
      if (row.key !== key) this.fillRow(row, name, state, numbers, role, isInside);
      row.key = key;
      shown.push(row);
    }
    this.putInPlace(shown);
    this.loss.textContent = gradient.stops.length ? "loss ↓" : "";
  }

  /** Puts the rows into the diagram; the focus stays, or goes to the row that took its place. */
  putInPlace(shown) {
    const lines = shown.map(row => row.line), present = [...this.diagram.children];
    if (lines.length !== present.length || lines.some((line, i) => line !== present[i])) {
      const focused = document.activeElement, hadFocus = this.diagram.contains(focused);
      this.diagram.replaceChildren(...lines);
      const first = this.rows.get(this.current)?.parts[0];
      const heir = shown.find(row => row.parts.includes(first)) ?? shown[0];
      if (hadFocus) (focused.isConnected ? focused : heir.part).focus();
    }
    this.setCurrent(this.rows.get(this.current)?.line.isConnected ? this.current : "out_head");
  }

  setCurrent(name) {
    if (this.rows.has(this.current)) this.rows.get(this.current).part.tabIndex = -1;
    this.current = name;
    this.rows.get(name).part.tabIndex = 0;
  }

  // --- what changes: the panel ---

  drawCosts(shown) {
    const key = JSON.stringify([this.size, this.batch]), { presets } = this.table;
    this.reference[key] ??= ["the book's choice", "everything"]
      .map(name => costs(this.table, presets[name], this.batch));
    const [book, most] = this.reference[key];
    const largest = {};
    for (const { name, unit } of COSTS) {
      largest[unit] = Math.max(largest[unit] ?? 0, most[name], shown[name], book[name]);
    }
    const note = text => element("span", { class: "fe-note" }, text);
    const cells = [note("float32"), note("▏ the book's choice"), note(""), note("vs. book's")];
    for (const { name, unit, title, hint } of COSTS) {
      const width = number => `${100 * number / largest[unit]}%`;
      const bar = element("div", { style: `width: ${width(shown[name])}` });
      const mark = element("i", { style: `left: calc(${width(book[name])} - 1px)` });
      cells.push(element("span", { title: hint }, title),
        element("div", { class: "fe-track", "aria-hidden": "true" }, bar, mark),
        element("span", { class: "fe-number", "data-cost": name }, short(shown[name], unit)),
        element("span", { class: "fe-number" },
          shown[name] ? times(shown[name] / book[name]) : "none"));
    }
    this.bars.replaceChildren(...cells);
  }

  drawPanel(shown, gradient) {
    const { size, tokens } = this.batch, { trainable, total } = shown;
    this.total.replaceChildren(element("b", {}, `${percent(trainable, total)} trainable`),
      ` ${grouped(trainable)} of ${grouped(total)} parameters`);
    this.fraction.style.width = trainable ? `max(2px, ${100 * trainable / total}%)` : "0";
    this.reachLine.textContent = describeReach(gradient);
    this.changeLine.textContent = this.change || "Click a part to freeze or unfreeze it.";
    this.costsTitle.textContent =
      `Costs of one training step on ${grouped(size)} × ${grouped(tokens)} tokens`;
    this.drawCosts(shown);
    this.result.textContent = describeResult(this.table.results[this.preset], this.preset);
    if (this.code !== asPyTorch(this.table, this.plan)) this.code = this.copied.textContent = "";
    this.codeBlock.textContent = this.code;
    this.codeBlock.hidden = !this.code;
    this.problem.textContent = this.model.get("problem") ?? "";
    const words = this.model.get("tokens");
    const message = words.length === tokens ? `: ${words.join(" ")}` : "";
    this.input.textContent = `↑ token ids (${grouped(size)}, ${grouped(tokens)})${message}`;
    for (const box of this.fields) {
      if (box !== document.activeElement) box.value = this.model.get(box.dataset.field);
    }
  }

  draw() {
    const states = statesOf(this.table, this.plan), gradient = reach(this.table, this.plan);
    const shown = this.shown = costs(this.table, this.plan, this.batch);
    Object.assign(this.root.dataset,
      { model: this.size, total: shown.total, trainable: shown.trainable });
    this.preset = presetOf(this.table, this.plan);
    for (const [made, isChosen] of this.choices) made.setAttribute("aria-pressed", isChosen());
    this.undoButton.disabled = this.earlier.length === 0;
    this.drawDiagram(states, gradient);
    this.drawPanel(shown, gradient);
  }
}

function render({ model, el }) {
  const explorer = new Explorer(model, el), redraw = () => explorer.draw();
  for (const name of OBSERVED) model.on?.(`change:${name}`, redraw);
  return () => { for (const name of OBSERVED) model.off?.(`change:${name}`, redraw); };
}

// --- a page without a kernel ----------------------------------------------------------------------

/** Returns the part of a page's address that says what is chosen: "#124M/last-block". */
export function addressOf(size, table, plan) {
  const slug = SLUGS[presetOf(table, plan)], states = statesOf(table, plan);
  const names = partNames(table).flatMap(part => stateOf(states, part) === TRAINABLE
    ? [part] : piecesOf(part).filter(piece => states[piece] === TRAINABLE));
  return `#${labelOf(size)}/${slug ?? names.join(",")}`;
}

function readAddress(address, state) {
  const [label, choice] = decodeURIComponent(address.slice(1)).split("/");
  const size = Object.keys(state.tables).find(name => labelOf(name) === label);
  if (!size || !choice) return;
  const table = state.tables[size], exists = new Set([...partNames(table), ...allPieces(table)]);
  const preset = Object.keys(SLUGS).find(name => SLUGS[name] === choice);
  const trainable = choice.split(",").filter(name => exists.has(name));
  state.size = size;
  state.plan = preset ? table.presets[preset] : { ...table.presets.nothing, trainable };
}

/** Makes each Explorer of the page live that is not yet; its state is in a script element. */
export function startPages() {
  for (const page of document.querySelectorAll(".freeze-explorer-page:not([data-live])")) {
    page.dataset.live = "true";
    const state = JSON.parse(page.querySelector("script").textContent);
    if (state.in_address && location.hash) readAddress(location.hash, state);
    const set = (name, value) => { state[name] = value; };
    render({ el: page, model: { get: name => state[name], set } });
  }
}

export default { render };
