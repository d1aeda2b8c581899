// The Freeze Explorer: a diagram of GPT-2 in which each part is frozen or unfrozen by a click.
//
// A front-end module in anywidget's form, without dependencies. In a notebook the kernel holds the
// plan; `startPages` makes the same Explorer live in a page without a kernel. All numbers come from
// the table that workshop/explorer.py computes. This file adds them up and draws the sums.

const FROZEN = "frozen", TRAINABLE = "trainable", PARTLY = "partly trainable";
const ADAPTED = "frozen with an adapter";
const PIECES = ["norm1", "att", "norm2", "ff"]; // of a block, in the order of the forward pass
const FOLD_FROM = 13; // models with this many blocks or more show equal neighbours in one row

/** Returns `compute`, which then computes once for each object that is its first argument. */
function remember(compute) {
  const results = new WeakMap();
  return (object, ...rest) => {
    if (!results.has(object)) results.set(object, compute(object, ...rest));
    return results.get(object);
  };
}

// --- parts, pieces and plans ----------------------------------------------------------------------
// A plan is {n_layers, trainable, adapted, rank, alpha}; the lists hold names of parts or pieces.
// No plan is changed: each choice makes a new one.

const isBlock = name => /^trf_blocks\.\d+$/.test(name);
const kindOf = piece => piece.split(".").at(-1);
const partOf = piece => piece.split(".").slice(0, 2).join(".");
export const piecesOf = part => isBlock(part) ? PIECES.map(kind => `${part}.${kind}`) : [part];

export const partNames = remember(table => {
  const blocks = Array.from({ length: table.layers }, (_, i) => `trf_blocks.${i}`);
  return ["tok_emb", "pos_emb", ...blocks, "final_norm", "out_head"];
});
const allPieces = remember(table => partNames(table).flatMap(piecesOf));
const exists = (table, name) => partNames(table).includes(name) || allPieces(table).includes(name);
const canHave = (table, piece, state) => state in table.rows[kindOf(piece)];

const statesOfPlan = remember((plan, table) => {
  const states = Object.fromEntries(allPieces(table).map(piece => [piece, FROZEN]));
  for (const [names, state] of [[plan.trainable, TRAINABLE], [plan.adapted, ADAPTED]]) {
    for (const piece of names.flatMap(piecesOf)) {
      if (canHave(table, piece, state)) states[piece] = state;
    }
  }
  return states;
});

/** Returns the state of each piece, by its name. */
export const statesOf = (table, plan) => statesOfPlan(plan, table);

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
function setTo(table, plan, parts, state) {
  const states = { ...statesOf(table, plan) };
  for (const piece of parts.flatMap(piecesOf)) {
    states[piece] = canHave(table, piece, state) ? state : FROZEN;
  }
  const inState = state => allPieces(table).filter(piece => states[piece] === state);
  return { ...plan, trainable: inState(TRAINABLE), adapted: inState(ADAPTED) };
}

/** Returns the state that a click gives to parts: FROZEN if all have `state`, or else `state`. */
function stateAfterClick(table, plan, parts, state) {
  return stateOf(statesOf(table, plan), ...parts) === state ? FROZEN : state;
}

/** Returns the plan after a click on parts. */
export function toggle(table, plan, parts, state = TRAINABLE) {
  return setTo(table, plan, parts, stateAfterClick(table, plan, parts, state));
}

/** Returns the name of the preset that equals the plan, "" where none does. */
export function presetOf(table, plan) {
  const listOf = plan => Object.values(statesOf(table, plan)).join();
  const isEqual = ([, preset]) => listOf(preset) === listOf(plan);
  return Object.entries(table.presets).find(isEqual)?.[0] ?? "";
}

/** Returns a plan for a model of another depth: the same preset, or the parts that still exist. */
export function resize(from, to, plan) {
  const { trainable, adapted, rank, alpha } = plan, preset = presetOf(from, plan);
  if (preset) return { ...to.presets[preset], rank, alpha };
  const kept = names => names.filter(name => exists(to, name));
  return { n_layers: to.layers, trainable: kept(trainable), adapted: kept(adapted), rank, alpha };
}

// --- what a plan means ----------------------------------------------------------------------------

function rowOf(table, piece, state, hasGradient, rank, classes) {
  const kind = kindOf(piece), further = kind === "out_head" ? classes - 2 : rank - 1;
  const row = table.rows[kind][state][+hasGradient];
  const larger = table.larger[kind]?.[state]?.[+hasGradient]; // for one class or rank more
  return larger ? row.map((number, i) => number + further * (larger[i] - number)) : row;
}

/** Returns parameters and trainable parameters of parts or pieces. */
export function count(table, plan, names, classes) {
  let parameters = 0, trainable = 0;
  for (const piece of names.flatMap(piecesOf)) {
    const state = statesOf(table, plan)[piece];
    const row = rowOf(table, piece, state, false, plan.rank, classes);
    parameters += row[0];
    trainable += row[1];
  }
  return { parameters, trainable };
}

/** Returns the costs of one training step, in bytes and multiply-adds, and the numbers of
 * parameters. `batch` is {size, tokens, classes}. */
export function costs(table, plan, batch) {
  const sums = Array(10).fill(0);
  let hasGradient = false;
  for (const [piece, state] of Object.entries(statesOf(table, plan))) {
    const row = rowOf(table, piece, state, hasGradient, plan.rank, batch.classes);
    row.forEach((number, i) => { sums[i] += number; });
    hasGradient ||= state !== FROZEN;
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
  if (plan.adapted.length) {
    const list = names => `[${names.map(name => `"${name}"`).join(", ")}]`;
    return `from helpers.freezing import FreezePlan

plan = FreezePlan(
    ${table.layers},
    trainable=${list(plan.trainable)},
    adapted=${list(plan.adapted)},
    rank=${plan.rank},
    alpha=${plan.alpha},
)
plan.apply(model)
`;
  }
  const states = statesOf(table, plan), parts = partNames(table);
  const isWhole = part => stateOf(states, part) === TRAINABLE;
  const setAll = (module, value) => `for param in ${module}.parameters():
    param.requires_grad = ${value}
`;
  if (parts.every(isWhole)) return setAll("model", "True");
  let code = setAll("model", "False");
  const blocks = parts.filter(isBlock), whole = blocks.filter(isWhole);
  const isTail = whole.length > 1 && blocks.slice(-whole.length).every(isWhole);
  if (isTail) code += setAll(`model.trf_blocks[-${whole.length}:]`, "True");
  for (const part of parts) {
    if (isTail && whole.includes(part)) continue;
    const names = isWhole(part) ? [part] : piecesOf(part);
    for (const name of names.filter(name => stateOf(states, name) === TRAINABLE)) {
      code += setAll(`model.${name.replace(/trf_blocks\.(\d+)/, "trf_blocks[$1]")}`, "True");
    }
  }
  return code;
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

/** Returns the title of one part or piece, or of several blocks, as HTML. */
function titleOf(parts) {
  const long = '<span class="fe-long">transformer</span>', kind = kindOf(parts[0]);
  if (parts.length > 1) return `${parts.length} ${long} blocks`;
  return TITLES[kind] ?? `${long} block ${kind}`;
}

/** Returns the short name of a size: "124M". */
const labelOf = size => size.match(/\((.*)\)/)?.[1] ?? size;
const grouped = number => number.toLocaleString("en-US");

/** Returns a number with one decimal and its unit: "7.1 M", "497.8 MB". */
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
  const signed = (number, unit) => `${number < 0 ? "−" : "+"}${short(Math.abs(number), unit)}`;
  const memory = costs => costs.weights + costs.gradients + costs.optimizer + costs.activations;
  const backward = before.backward && after.backward
    ? times(after.backward / before.backward)
    : `${short(before.backward)} → ${short(after.backward)}`;
  return `Last change: ${signed(after.trainable - before.trainable)} trainable, ` +
    `${signed(memory(after) - memory(before), "bytes")} memory, backward ${backward}`;
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
const PRESSED = { [TRAINABLE]: "true", [FROZEN]: "false", [PARTLY]: "mixed", [ADAPTED]: "mixed" };
const CLICKS = { "trains": TRAINABLE, "adds an adapter": ADAPTED };

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
.fe-diagram { flex: 0 1 auto; min-height: 0; overflow-y: auto; padding: 2px 4px; touch-action: pan-y;
  user-select: none; }
.fe-row { display: grid; grid-template-columns: 46px 24px minmax(0, 1fr);
  height: clamp(28px, 510px / var(--rows), 42px); }
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
  grid-template-columns: 16px minmax(162px, 1.5fr) minmax(0, 1fr) 98px 88px minmax(106px, 1fr);
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
  grid-template-columns: 16px minmax(162px, 1.5fr) minmax(0, 1fr) 98px 88px minmax(106px, 1fr); }
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
@container (905px < width <= 1000px) {
  .fe-body { grid-template-columns: minmax(0, 1fr) 310px; }
  .fe-part .fe-name, .fe-head .fe-name { display: none; }
  .freeze-explorer .fe-part, .fe-head > :last-child {
    grid-template-columns: 16px minmax(120px, 1fr) 80px 76px 106px; }
}
@container (max-width: 905px) {
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
  .fe-row { height: auto; min-height: 42px; }
  .fe-head > :first-child { white-space: nowrap; }
  .fe-way.fe-through::before, .fe-way.fe-stop::before { left: 6px; }
  .fe-way.fe-stop::before { width: 12px; }
  .fe-way.fe-stop::after { left: 15px; }
  .fe-way.fe-stop.fe-through { background-position: 6px 50%; background-size: 10px 3px; }
}
`;

// --- HTML -----------------------------------------------------------------------------------------

const button = (attributes, label) => `<button type="button" ${attributes}>${label}</button>`;

/** Returns a group of buttons of which one is chosen. `[data-kind="name"]` finds a button. */
function choices(title, kind, names, labelOf = name => name) {
  const buttons = names.map(name => button(`data-${kind}="${name}"`, labelOf(name)));
  return `<div class="fe-group" role="group" aria-label="${title}">
    <span>${title}</span>${buttons.join("")}</div>`;
}

/** Returns words for a screen reader only. */
const hidden = text => `<span class="fe-hidden">${text}</span>`;

function barHtml(model, table) {
  const sizes = Object.keys(model.get("tables")), lora = model.get("lora");
  const presets = Object.keys(table.presets).filter(name => lora || !name.startsWith("LoRA"));
  const ranks = [1, 4, 8, 16].filter(rank => rank <= table.embDim);
  return `<div class="fe-bar">
    ${sizes.length > 1 ? choices("Model", "size", sizes, labelOf) : ""}
    ${choices("Train", "preset", presets)}
    ${lora ? choices("A click", "click", Object.keys(CLICKS)) : ""}
    ${lora ? choices("LoRA rank", "rank", ranks) : ""}
    <div class="fe-group fe-last">${button("data-undo", "Undo")}${button("data-reset", "Reset")}</div>
  </div>`;
}

const KEYS = "The model, output first. Space freezes or unfreezes a part. Shift and Space unfreezes " +
  "it and everything above it. Arrow keys move, open and close.";
const DIAGRAM = `<div class="fe-left">
  <div class="fe-head"><div class="fe-loss"></div><span></span><div aria-hidden="true">
    <span></span><span>part</span><span class="fe-name">name</span>
    <span class="fe-number">parameters</span><span class="fe-number">trainable</span>
    <span>output shape</span></div></div>
  <div class="fe-diagram" role="group" aria-label="${KEYS}"></div>
  <div class="fe-foot"><span></span><span></span><div class="fe-input"></div></div>
</div>`;

function panelHtml(model) {
  const number = (name, label, min, fixed = "") => `<label>${label}
    <input type="number" data-field="${name}" min="${min}" max="1024" required ${fixed}></label>`;
  const bars = COSTS.map(({ name, title, hint }) => `<span title="${hint}">${title}</span>
    <div class="fe-track" aria-hidden="true"><div></div><i></i></div>
    <span class="fe-number" data-cost="${name}"></span><span class="fe-number"></span>`);
  return `<div class="fe-panel">
    <p class="fe-total" role="status"></p>
    <div class="fe-fraction" aria-hidden="true"><div></div></div>
    <p class="fe-reach"></p><p class="fe-change"></p><h4></h4>
    <div class="fe-costs" role="group" aria-label="costs">
      <span class="fe-note">float32</span><span class="fe-note">▏ the book's choice</span>
      <span></span><span class="fe-note">vs. book's</span>${bars.join("")}</div>
    <p class="fe-result"></p>
    <div class="fe-group">${button("data-copy", "Copy as PyTorch")}
      <span class="fe-copied" role="status"></span></div>
    <pre class="fe-code" tabindex="0" aria-label="PyTorch code" hidden></pre>
    <details><summary>More: message, batch size, classes</summary><div class="fe-more">
      ${model.get("has_kernel") // which has the tokenizer
        ? '<label>message <input type="text" data-field="message" class="fe-text"></label>' : ""}
      ${number("num_tokens", "tokens", 1)}${number("batch_size", "batch size", 1)}
      ${number("num_classes", "classes", 2, model.get("classes_fixed") ? "disabled" : "")}
    </div></details>
    <p class="fe-problem" role="alert"></p></div>`;
}

// --- the Explorer ---------------------------------------------------------------------------------

const OBSERVED = ["plan", "size", "tokens", "num_tokens", "batch_size", "num_classes", "problem"];

/** Draws itself into `el`. `model` has get, set, save_changes, on and off, as anywidget's does. */
class Explorer {
  rows = new Map(); // a row's name → its elements, made once, so that they keep the focus
  open = new Set(); // the names of the rows that are open
  earlier = []; // what was shown before, the latest last
  click = "trains"; // what a click does to a part, a key of CLICKS
  current = "out_head"; // the row that Tab reaches
  code = ""; // the lines that were copied
  drawn = {}; // what the last drawing showed
  drag = null;

  constructor(model, el) {
    this.model = model;
    this.first = { size: this.size, plan: this.plan };
    el.innerHTML = `<div class="freeze-explorer" data-lm-suppress-shortcuts="true">
      <style>${STYLE}</style>${barHtml(model, this.table)}
      <div class="fe-body">${DIAGRAM}${panelHtml(model)}</div></div>`;
    this.root = el.firstElementChild;
    this.diagram = this.find(".fe-diagram");
    this.listen();
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

  find(selector) { return this.root.querySelector(selector); }
  write(selector, text) { this.find(selector).textContent = text; }

  // --- what a learner does ---

  listen() {
    const listeners = {
      click: event => this.onClick(event), keydown: event => this.onKey(event),
      change: event => this.onField(event.target),
      pointerdown: event => this.beginDrag(event), pointermove: event => this.moveDrag(event),
      pointerup: () => { this.drag = null; }, pointerleave: () => { this.drag = null; },
      focusin: event => this.setCurrent(event.target.dataset.part),
    };
    for (const [name, listener] of Object.entries(listeners)) {
      this.root.addEventListener(name, listener);
    }
  }

  /** Shows another plan, and size; Undo brings back what was shown before. */
  choose(plan, size = this.size) {
    const before = { size: this.size, plan: this.plan };
    if (JSON.stringify({ size, plan }) === JSON.stringify(before)) return;
    this.earlier.push(before);
    this.set({ size, plan });
  }

  /** Gives values to the model, in the kernel too, and shows them. */
  set(values) {
    const { model } = this;
    for (const [name, value] of Object.entries(values)) model.set(name, value);
    model.set("num_tokens", Math.min(model.get("num_tokens"), this.table.context));
    model.save_changes?.();
    if (model.get("in_address")) {
      history.replaceState(null, "", addressOf(this.size, this.table, this.plan));
    }
    this.redraw();
  }

  /** Draws once, when all values of a choice are set. */
  redraw() {
    this.waiting ??= Promise.resolve().then(() => { this.waiting = null; this.draw(); });
  }

  onClick(event) {
    const data = event.target.closest("button")?.dataset ?? {}, { plan, table } = this;
    if ("part" in data) this.clickPart(data.part, event);
    else if ("open" in data) this.openOrClose(data.open);
    else if ("preset" in data) {
      this.choose({ ...table.presets[data.preset], rank: plan.rank, alpha: plan.alpha });
    } else if ("size" in data) {
      this.choose(resize(table, this.model.get("tables")[data.size], plan), data.size);
    } else if ("rank" in data) {
      const rank = Number(data.rank);
      this.choose({ ...plan, rank, alpha: plan.alpha / plan.rank * rank });
    } else if ("click" in data) {
      this.click = data.click;
      this.redraw();
    } else if ("undo" in data) this.set(this.earlier.pop());
    else if ("reset" in data) this.choose(this.first.plan, this.first.size);
    else if ("copy" in data) this.copy();
  }

  clickPart(name, event) {
    if (this.hasDragged && event.detail) return;
    const { parts } = this.rows.get(name);
    if (event.shiftKey) this.unfreezeFrom(parts[0]);
    else this.choose(toggle(this.table, this.plan, parts, CLICKS[this.click]));
  }

  /** Unfreezes a part, or the block of a piece, and all above it; freezes all below. */
  unfreezeFrom(name) {
    const parts = partNames(this.table), above = parts.slice(parts.indexOf(partOf(name)));
    const frozen = setTo(this.table, this.plan, parts, FROZEN);
    this.choose(setTo(this.table, frozen, above, TRAINABLE));
  }

  openOrClose(name) {
    if (!this.open.delete(name)) this.open.add(name);
    this.redraw();
  }

  async copy() {
    this.code = asPyTorch(this.table, this.plan);
    this.draw();
    try {
      await navigator.clipboard.writeText(this.code);
      this.write(".fe-copied", "Copied.");
    } catch {
      this.write(".fe-copied", "Select these lines and copy them.");
    }
  }

  /** Takes what was typed; a number that can't be is not taken. */
  onField(box) {
    const name = box.dataset.field;
    if (box.type === "number") box.value = Math.round(box.valueAsNumber);
    if (!box.checkValidity()) box.value = this.model.get(name);
    this.set({ [name]: box.type === "number" ? box.valueAsNumber : box.value });
  }

  /** The mouse gives all rows on its way the state that a click would give the first one. */
  beginDrag(event) {
    const line = event.target.closest(".fe-part"), { plan, size, table, drawn } = this;
    this.hasDragged = false;
    if (!line || event.button || event.pointerType === "touch" || event.shiftKey) return;
    const { parts } = this.rows.get(line.dataset.part);
    const state = stateAfterClick(table, plan, parts, CLICKS[this.click]);
    this.drag = { state, plan, size, drawn, lines: new Set([line]), parts: [...parts] };
  }

  moveDrag(event) {
    const { drag } = this, line = event.target.closest(".fe-part");
    if (!drag || !line || drag.lines.has(line)) return;
    drag.lines.add(line);
    drag.parts.push(...this.rows.get(line.dataset.part).parts);
    if (!this.hasDragged) this.earlier.push({ size: drag.size, plan: drag.plan });
    this.hasDragged = true;
    this.drawn = drag.drawn; // the last change is that of the whole way
    this.set({ plan: setTo(this.table, drag.plan, drag.parts, drag.state) });
  }

  onKey(event) {
    const { part: name, field } = event.target.dataset, row = this.rows.get(name);
    if (field && event.key === "Enter") this.onField(event.target); // JupyterLab stops its change
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

  // --- the diagram ---

  /** Returns the rows to show, from the output to the input: [name, parts, isInside]. */
  rowsShown(states) {
    const runs = [], { table } = this;
    const statesIn = block => piecesOf(block).map(piece => states[piece]).join();
    for (const part of partNames(table)) {
      const [neighbour] = runs.at(-1) ?? [""];
      const canFold = table.layers >= FOLD_FROM && isBlock(part) && isBlock(neighbour);
      if (canFold && statesIn(part) === statesIn(neighbour)) runs.at(-1).push(part);
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

  rowNamed(name) {
    if (!this.rows.has(name)) {
      const line = document.createElement("div");
      line.innerHTML = '<div aria-hidden="true"></div>' +
        button(`class="fe-open" tabindex="-1" data-open="${name}"`, "") +
        button(`tabindex="-1" data-part="${name}"`, "");
      const [way, opener, part] = line.children;
      this.rows.set(name, { line, way, opener, part });
    }
    return this.rows.get(name);
  }

  fillRow(row, name, state, numbers, role, isInside) {
    const [part] = row.parts, isOpen = this.open.has(name);
    row.line.className = `fe-row${isInside ? " fe-inside" : ""}`;
    row.opener.hidden = !isBlock(part);
    row.opener.textContent = isOpen ? "▾" : "▸";
    row.opener.ariaExpanded = isOpen;
    row.opener.ariaLabel = `${isOpen ? "close" : "open"} ${name}`;
    row.part.className = `fe-part ${CLASS[state]}`;
    row.part.title = `${name}: ${state}`;
    row.part.ariaPressed = PRESSED[state];
    const inside = ["att", "ff"].includes(kindOf(part)) ? "inside" : "output";
    const shape = shapeOf(this.table, part, this.batch).map(grouped).join(", ");
    row.part.innerHTML = `
      <svg viewBox="0 0 16 16" aria-hidden="true"><path d="${ICONS[state]}"/></svg>
      <b>${titleOf(row.parts)}</b> <code class="fe-name">${name}</code>${hidden(`, ${state}, `)}
      <span class="fe-number">${grouped(numbers.parameters)}</span>${hidden(" parameters, ")}
      <span class="fe-number fe-trained">${grouped(numbers.trainable)}</span>
      ${hidden(` trainable, ${inside} `)}<code>(${shape})</code>
      ${hidden(role && `, the gradient ${role}`)}`;
  }

  drawDiagram(states, gradient) {
    const shown = [];
    for (const [name, parts, isInside] of this.rowsShown(states)) {
      const row = this.rowNamed(name), state = stateOf(states, ...parts);
      const numbers = count(this.table, this.plan, parts, this.batch.classes);
      const role = roleOf(parts, gradient);
      const isPassed = role === "passes through" ||
        (name === "pos_emb" && gradient.stops.includes("tok_emb"));
      const stop = role === "stops here" ? " fe-stop" : "";
      row.way.className = `fe-way${stop}${isPassed ? " fe-through" : ""}`;
      row.parts = parts;
      const key = JSON.stringify(
        [parts, state, numbers, role, isInside, this.open.has(name), this.size, this.batch]);
      if (row.key !== key) this.fillRow(row, name, state, numbers, role, isInside);
      row.key = key;
      shown.push(row);
    }
    this.putInPlace(shown);
  }

  /** Puts the rows into the diagram; the focus stays, or goes to the row that took its place. */
  putInPlace(shown) {
    const lines = shown.map(row => row.line), present = [...this.diagram.children];
    if (lines.length !== present.length || lines.some((line, i) => line !== present[i])) {
      const focused = document.activeElement, hadFocus = this.diagram.contains(focused);
      this.diagram.replaceChildren(...lines);
      this.diagram.style.setProperty("--rows", lines.length);
      const first = this.rows.get(this.current)?.parts[0];
      const heir = shown.find(row => row.parts.includes(first)) ?? shown[0];
      if (hadFocus) (focused.isConnected ? focused : heir.part).focus();
    }
    this.setCurrent(this.rows.get(this.current)?.line.isConnected ? this.current : "out_head");
  }

  setCurrent(name) {
    if (!this.rows.has(name)) return;
    if (this.rows.has(this.current)) this.rows.get(this.current).part.tabIndex = -1;
    this.current = name;
    this.rows.get(name).part.tabIndex = 0;
  }

  // --- the panel ---

  drawCosts(shown) {
    const [book, most] = ["the book's choice", "everything"]
      .map(name => costs(this.table, this.table.presets[name], this.batch));
    const largest = {};
    for (const { name, unit } of COSTS) {
      largest[unit] = Math.max(largest[unit] ?? 0, most[name], shown[name], book[name]);
    }
    for (const { name, unit } of COSTS) {
      const amount = this.find(`[data-cost="${name}"]`);
      const [bar, mark] = amount.previousElementSibling.children;
      bar.style.width = `${100 * shown[name] / largest[unit]}%`;
      mark.style.left = `calc(${100 * book[name] / largest[unit]}% - 1px)`;
      amount.textContent = short(shown[name], unit);
      amount.nextElementSibling.textContent =
        shown[name] ? times(shown[name] / book[name]) : "none";
    }
  }

  /** Says what the last choice changed, where model and batch stayed the same. */
  drawChange(shown, states) {
    const choice = JSON.stringify([Object.values(states), this.plan.rank]);
    const setting = JSON.stringify([this.size, this.batch]), { drawn } = this;
    if (choice === drawn.choice && setting === drawn.setting) return;
    this.drawn = { choice, setting, costs: shown };
    this.write(".fe-change", setting === drawn.setting
      ? describeChange(drawn.costs, shown) : "Click a part to freeze or unfreeze it.");
    this.code = "";
    this.write(".fe-copied", "");
  }

  drawPanel(shown, preset) {
    const { size, tokens } = this.batch, { trainable, total } = shown;
    this.find(".fe-total").innerHTML = `<b>${percent(trainable, total)} trainable</b>
      ${grouped(trainable)} of ${grouped(total)} parameters`;
    const fraction = this.find(".fe-fraction > div");
    fraction.style.width = trainable ? `max(2px, ${100 * trainable / total}%)` : "0";
    this.write("h4", `Costs of one training step on ${grouped(size)} × ${grouped(tokens)} tokens`);
    this.write(".fe-result", describeResult(this.table.results[preset], preset));
    this.write(".fe-code", this.code);
    this.find(".fe-code").hidden = !this.code;
    this.write(".fe-problem", this.model.get("problem") ?? "");
    const words = this.model.get("tokens");
    const message = words.length === tokens ? `: ${words.join(" ")}` : "";
    this.write(".fe-input", `↑ token ids (${grouped(size)}, ${grouped(tokens)})${message}`);
    for (const box of this.root.querySelectorAll("input")) {
      if (box !== document.activeElement) box.value = this.model.get(box.dataset.field);
    }
    this.find("[data-field=num_tokens]").max = this.table.context;
  }

  draw() {
    const { table, plan, size } = this, states = statesOf(table, plan);
    const shown = costs(table, plan, this.batch), gradient = reach(table, plan);
    const preset = presetOf(table, plan);
    Object.assign(this.root.dataset, { model: size, total: shown.total, trainable: shown.trainable });
    const chosen = { size, preset, rank: String(plan.rank), click: this.click };
    for (const [kind, name] of Object.entries(chosen)) {
      for (const each of this.root.querySelectorAll(`button[data-${kind}]`)) {
        each.ariaPressed = each.dataset[kind] === name;
      }
    }
    this.find("[data-undo]").disabled = this.earlier.length === 0;
    this.write(".fe-loss", gradient.stops.length ? "loss ↓" : "");
    this.write(".fe-reach", describeReach(gradient));
    this.drawDiagram(states, gradient);
    this.drawChange(shown, states);
    this.drawCosts(shown);
    this.drawPanel(shown, preset);
  }
}

function render({ model, el }) {
  const explorer = new Explorer(model, el), redraw = () => explorer.redraw();
  for (const name of OBSERVED) model.on?.(`change:${name}`, redraw);
  return () => { for (const name of OBSERVED) model.off?.(`change:${name}`, redraw); };
}

// --- a page without a kernel ----------------------------------------------------------------------

/** Returns a preset's name in a page's address: "head-only". */
function slugOf(preset) {
  if (preset === "the book's choice") return "last-block";
  return preset.replace(/\W+/g, "-").toLowerCase();
}

/** Returns the part of a page's address that says what is chosen: "#124M/last-block". */
function addressOf(size, table, plan) {
  const states = statesOf(table, plan), isTrained = name => stateOf(states, name) === TRAINABLE;
  const names = partNames(table)
    .flatMap(part => isTrained(part) ? [part] : piecesOf(part).filter(isTrained));
  return `#${labelOf(size)}/${slugOf(presetOf(table, plan)) || names.join(",")}`;
}

function readAddress(address, state) {
  const [label, choice] = decodeURIComponent(address.slice(1)).split("/");
  const size = Object.keys(state.tables).find(name => labelOf(name) === label);
  if (!size || !choice) return;
  const table = state.tables[size];
  const preset = Object.keys(table.presets).find(name => slugOf(name) === choice);
  const trainable = choice.split(",").filter(name => exists(table, name));
  state.size = size;
  state.plan = preset ? table.presets[preset] : { ...table.presets.nothing, trainable };
}

/** Values by their names, in the form of anywidget's model, for a page without a kernel. */
export class Values {
  listeners = {};

  constructor(values) { this.values = values; }
  get(name) { return this.values[name]; }
  set(name, value) {
    this.values[name] = value;
    for (const listener of this.listeners[`change:${name}`] ?? []) listener();
  }
  on(event, listener) { (this.listeners[event] ??= []).push(listener); }
}

/** Makes an Explorer live; its state is in a script element. Returns its values. */
export function startPage(page) {
  page.dataset.live = "true";
  const state = JSON.parse(page.querySelector("script").textContent), model = new Values(state);
  if (state.in_address && location.hash) readAddress(location.hash, state);
  render({ el: page, model });
  return model;
}

/** Makes each Explorer of the page live that is not yet. */
export function startPages() {
  document.querySelectorAll(".freeze-explorer-page:not([data-live])").forEach(startPage);
}

export default { render };
