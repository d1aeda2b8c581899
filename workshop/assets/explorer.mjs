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

const sameStates = (table, one, other) =>
  JSON.stringify(statesOf(table, one)) === JSON.stringify(statesOf(table, other));

/** Returns the name of the preset that equals the plan, "" where none does. */
export function presetOf(table, plan) {
  const names = Object.keys(table.presets);
  return names.find(name => sameStates(table, table.presets[name], plan)) ?? "";
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
  const growth = table.growth[kind]?.[state]?.[+hasGradient];
  return growth ? row.map((number, i) => number + further * growth[i]) : row;
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
  ["weights", "bytes"], ["gradients", "bytes"], ["optimizer", "bytes"], ["activations", "bytes"],
  ["forward", "multiply–adds"], ["backward", "multiply–adds"],
];
const COST_TITLES = {
  weights: "weights", gradients: "gradients", optimizer: "optimizer state",
  activations: "activations", forward: "forward pass", backward: "backward pass",
};
function titleOf(parts) {
  if (parts.length > 1) return [`${parts.length} `, "blocks"];
  return ["", TITLES[kindOf(parts[0])] ?? `block ${kindOf(parts[0])}`];
}
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
.freeze-explorer .fe-open { border: 0; padding: 0; min-height: 0; }
.freeze-explorer .fe-part { grid-column: 3; position: relative; display: grid; align-items: center; gap: 0 8px; padding: 0 8px;
  grid-template-columns: 16px minmax(80px, 1.5fr) minmax(60px, 1fr) 98px 88px minmax(84px, 1fr);
  margin: 1px 0; min-height: 0; border-width: 2px; text-align: left; white-space: nowrap; }
.fe-part > * { overflow: hidden; text-overflow: ellipsis; }
.fe-part svg { width: 16px; height: 16px; fill: none; stroke-width: 1.8; stroke: currentColor;
  stroke-linejoin: round; }
.fe-part b { font-weight: 600; }
.fe-part .fe-hidden { position: absolute; width: 1px; height: 1px; clip-path: inset(50%); }
.fe-part code, .fe-code { font: 12px ui-monospace, monospace; color: inherit; background: none; padding: 0; }
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
  grid-template-columns: 16px minmax(80px, 1.5fr) minmax(60px, 1fr) 98px 88px minmax(84px, 1fr); }
.fe-foot > :last-child { padding-top: 3px; }
.fe-head > :first-child { font-weight: 600; padding-left: 3px; }
.fe-panel { overflow-y: auto; min-height: 0; display: flex; flex-direction: column; gap: 7px; padding: 2px; }
.fe-panel h4 { margin: 4px 0 0; font-size: 13px; }
.fe-total b { font-size: 17px; display: block; }
.fe-share { height: 10px; border: 1px solid var(--blue); border-radius: 4px;
  background: color-mix(in srgb, var(--blue) 16%, transparent); overflow: hidden; }
.fe-share > div { height: 100%; background: var(--orange); }
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
.freeze-explorer pre { margin: 0; max-height: 170px; overflow: auto; padding: 6px 8px; border-radius: 6px;
  background: color-mix(in srgb, currentColor 8%, transparent); color: inherit; border: 0; }
.fe-more { display: flex; flex-wrap: wrap; gap: 6px 12px; padding-top: 4px; }
.fe-more input { width: 66px; padding: 2px 4px; }
.fe-more input.fe-text { width: 200px; }
.freeze-explorer summary { cursor: pointer; }
@media (prefers-reduced-motion: no-preference) {
  .fe-track > div, .fe-share > div { transition: width .15s; } }
@container (max-width: 1090px) { .fe-long { display: none; } }
@container (max-width: 900px) {
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
}
`;

function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made && typeof value !== "string") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
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

/** Draws the Explorer into `el`. `model` has get, set, save_changes and on, as anywidget's does. */
function render({ model, el }) {
  const tables = model.get("tables"), sizes = Object.keys(tables);
  const hasKernel = Boolean(model.get("has_kernel"));
  const open = new Set(); // the names of the rows that are open
  const undo = []; // what was shown before, the latest last
  const first = { size: model.get("size"), plan: model.get("plan") };
  let change = "", clickState = TRAINABLE, current = "out_head", code = "", preset = "";
  const reference = {}; // the costs that the bars are compared with, kept for each size and batch

  const table = () => tables[model.get("size")];
  const batch = () => ({
    size: model.get("batch_size"), tokens: model.get("num_tokens"), classes: model.get("num_classes"),
  });

  // --- what the learner does ---

  function choose(plan, size = model.get("size")) {
    const before = { size: model.get("size"), plan: model.get("plan") };
    if (size === before.size && JSON.stringify(plan) === JSON.stringify(before.plan)) return;
    undo.push(before);
    const costsBefore = costs(table(), before.plan, batch());
    model.set("size", size);
    model.set("plan", plan);
    change = size === before.size ? describeChange(costsBefore, costs(table(), plan, batch())) : "";
    if (model.get("in_address")) history.replaceState(null, "", addressOf(size, table(), plan));
    model.save_changes?.();
    draw();
  }

  const click = parts => choose(toggle(table(), model.get("plan"), parts, clickState));

  function unfreezeFrom(part) {
    const parts = partNames(table()), at = parts.indexOf(part);
    const below = setTo(table(), model.get("plan"), parts.slice(0, at), FROZEN);
    choose(setTo(table(), below, parts.slice(at), TRAINABLE));
  }

  function choosePreset(name) {
    const { rank, alpha } = model.get("plan");
    choose({ ...table().presets[name], rank, alpha });
  }

  function chooseRank(rank) {
    const plan = model.get("plan");
    choose({ ...plan, rank, alpha: plan.alpha / plan.rank * rank });
  }

  function goBack() {
    const { size, plan } = undo.pop();
    choose(plan, size);
    undo.pop(); // what `choose` has just added
    change = "";
    draw();
  }

  async function copy() {
    code = asPyTorch(table(), model.get("plan"));
    draw();
    try {
      await navigator.clipboard.writeText(code);
      copied.textContent = "Copied.";
    } catch {
      copied.textContent = "Select these lines and copy them.";
    }
  }

  // --- what stays in place ---

  const buttons = []; // a button that shows a choice, and whether it is the one
  function option(attribute, value, label, isChosen, onClick, title = "") {
    const button = element("button", { type: "button", [attribute]: value, title }, label);
    button.addEventListener("click", () => onClick(value));
    buttons.push([button, isChosen]);
    return button;
  }
  const group = (label, ...children) =>
    element("div", { class: "fe-group", role: "group", "aria-label": label }, element("span", {}, label), ...children);

  const bar = element("div", { class: "fe-bar" });
  if (sizes.length > 1) {
    bar.append(group("Model", ...sizes.map(size => option("data-size", size,
      size.match(/\((.*)\)/)?.[1] ?? size, () => model.get("size") === size,
      () => choose(resize(table(), tables[size], model.get("plan")), size), size))));
  }
  const lora = model.get("lora");
  const presets = Object.keys(table().presets).filter(name => lora || !name.startsWith("LoRA"));
  bar.append(group("Train", ...presets.map(name => option("data-preset", name, name,
    () => preset === name, choosePreset))));
  if (lora) {
    bar.append(group("A click", ...[[TRAINABLE, "trains"], [ADAPTED, "adds an adapter"]].map(([state, label]) =>
      option("data-click", label, label, () => clickState === state, () => { clickState = state; draw(); }))));
    const ranks = [1, 4, 8, 16].filter(rank => rank <= table().embDim);
    bar.append(group("LoRA rank", ...ranks.map(rank => option("data-rank", String(rank), String(rank),
      () => model.get("plan").rank === rank, () => chooseRank(rank)))));
  }
  const back = element("button", { type: "button", "data-undo": "" }, "Undo");
  const reset = element("button", { type: "button", "data-reset": "" }, "Reset");
  back.addEventListener("click", goBack);
  reset.addEventListener("click", () => choose(first.plan, first.size));
  bar.append(element("div", { class: "fe-group fe-last" }, back, reset));

  const columns = element("div", { "aria-hidden": "true" }, element("span"), element("span", {}, "part"),
    element("span", { class: "fe-name" }, "name"), element("span", { class: "fe-number" }, "parameters"),
    element("span", { class: "fe-number fe-trained" }, "trainable"), element("span", {}, "output shape"));
  const loss = element("div", {}, "loss");
  const diagram = element("div", { class: "fe-diagram", role: "group",
    "aria-label": "The model, output first. Space freezes or unfreezes a part, Shift and Space also everything above it; arrow keys move, open and close." });
  const input = element("div");
  const left = element("div", { class: "fe-left" },
    element("div", { class: "fe-head" }, loss, element("span"), columns), diagram,
    element("div", { class: "fe-foot" }, element("span"), element("span"), input));

  const total = element("p", { class: "fe-total", role: "status" });
  const share = element("div", { class: "fe-share", "aria-hidden": "true" }, element("div"));
  const reachLine = element("p", { class: "fe-reach" });
  const changeLine = element("p", { class: "fe-change" });
  const bars = element("div", { class: "fe-costs", role: "group", "aria-label": "Costs of one training step" });
  const costsTitle = element("h4");
  const worth = element("p", { class: "fe-worth" });
  const copyButton = element("button", { type: "button", "data-copy": "" }, "Copy as PyTorch");
  copyButton.addEventListener("click", copy);
  const copied = element("span", { role: "status" });
  const codeBlock = element("pre", { class: "fe-code", tabindex: "0", "aria-label": "the plan as PyTorch" });

  function field(name, label, minimum, maximum) {
    const box = element("input", { type: "number", min: String(minimum), max: String(maximum), "data-field": name });
    box.value = model.get(name);
    box.disabled = name === "num_classes" && Boolean(model.get("classes_fixed"));
    onCommit(box, () => {
      const value = Math.round(Number(box.value));
      const most = name === "num_tokens" ? table().context : maximum;
      if (value >= minimum && value <= most) {
        model.set(name, value);
        model.save_changes?.();
      } else {
        box.value = model.get(name);
      }
      draw();
    });
    return element("label", {}, `${label} `, box);
  }
  const more = element("div", { class: "fe-more" });
  if (hasKernel) {
    const box = element("input", { type: "text", class: "fe-text", "data-field": "message" });
    box.value = model.get("message");
    onCommit(box, () => { model.set("message", box.value); model.save_changes(); });
    more.append(element("label", {}, "message ", box));
  }
  const problem = element("p", { role: "alert" });
  more.append(field("num_tokens", "tokens", 1, 1024), field("batch_size", "batch size", 1, 1024),
    field("num_classes", "classes", 2, 1000));
  const details = element("details", {}, element("summary", {}, "More: message, batch size, classes"), more);
  const panel = element("div", { class: "fe-panel" }, total, share, reachLine, changeLine, costsTitle, bars,
    worth, element("div", { class: "fe-group" }, copyButton, copied), codeBlock, details, problem);
  const root = element("div", { class: "freeze-explorer", "data-lm-suppress-shortcuts": "true" },
    element("style", {}, STYLE), bar, element("div", { class: "fe-body" }, left, panel));
  el.replaceChildren(root);

  // --- the diagram ---

  const rows = new Map(); // a row's name → its elements, made once, so that they keep the focus

  function makeRow(name) {
    const way = element("div", { class: "fe-way", "aria-hidden": "true" });
    const opener = element("button", { type: "button", class: "fe-open", tabindex: "-1", "data-open": name });
    const part = element("button", { type: "button", class: "fe-part", "data-part": name, tabindex: "-1" });
    const row = element("div", { class: "fe-row" }, way, opener, part);
    opener.addEventListener("click", () => openOrClose(name));
    part.addEventListener("focus", () => setCurrent(name));
    const made = { row, way, opener, part, parts: [] };
    rows.set(name, made);
    return made;
  }

  function openOrClose(name) {
    if (!open.delete(name)) open.add(name);
    draw();
  }

  function setCurrent(name) {
    if (rows.get(current)) rows.get(current).part.tabIndex = -1;
    current = name;
    rows.get(name).part.tabIndex = 0;
  }

  /** Returns the rows to show, from the output to the input: [name, parts, isInside]. */
  function rowsShown(states) {
    const runs = [];
    const look = block => piecesOf(block).map(piece => states[piece]).join();
    for (const part of partNames(table())) {
      const [neighbour] = runs.at(-1) ?? [""];
      const canFold = table().layers >= FOLD_FROM && isBlock(part) && isBlock(neighbour);
      if (canFold && look(part) === look(neighbour)) runs.at(-1).push(part);
      else runs.push([part]);
    }
    const shown = [];
    for (const parts of runs.reverse()) {
      const isRun = parts.length > 1;
      const name = isRun ? `${parts[0]} – ${kindOf(parts.at(-1))}` : parts[0];
      if (isRun) shown.push([name, parts, false]);
      if (isRun && !open.has(name)) continue;
      for (const part of parts.reverse()) {
        shown.push([part, [part], isRun]);
        if (!isBlock(part) || !open.has(part)) continue;
        for (const piece of piecesOf(part).reverse()) shown.push([piece, [piece], true]);
      }
    }
    return shown;
  }

  /** Returns what the gradient does at a row: "stops here", "passes through" or "". */
  function roleOf(parts, gradient) {
    if (parts.some(part => gradient.stops.includes(part))) return "stops here";
    const block = parts[0].split(".").slice(0, 2).join("."); // that of a piece
    return gradient.passes.includes(block) ? "passes through" : "";
  }

  function fillRow(made, name, parts, state, numbers, role, isInside) {
    const [part] = parts, isOpen = open.has(name), [before, after] = titleOf(parts);
    made.row.className = `fe-row${isInside ? " fe-inside" : ""}`;
    made.opener.hidden = !isBlock(part);
    made.opener.textContent = isOpen ? "▾" : "▸";
    made.opener.setAttribute("aria-expanded", String(isOpen));
    made.opener.setAttribute("aria-label", `${isOpen ? "close" : "open"} ${name}`);
    made.part.className = `fe-part ${CLASS[state]}`;
    const pressed = { [TRAINABLE]: "true", [FROZEN]: "false" };
    made.part.setAttribute("aria-pressed", pressed[state] ?? "mixed");
    made.part.title = `${before}${after}: ${state}`;
    const long = element("span", { class: "fe-long" }, isBlock(part) ? "transformer " : "");
    const inside = ["att", "ff"].includes(kindOf(part)) ? "inside" : "output";
    made.part.replaceChildren(
      icon(state), element("b", {}, before, long, after),
      element("code", { class: "fe-name" }, name), hidden(`, ${state}, `),
      element("span", { class: "fe-number" }, grouped(numbers.parameters)), hidden(" parameters, "),
      element("span", { class: "fe-number fe-trained" }, grouped(numbers.trainable)),
      hidden(` trainable, ${inside} `),
      element("code", {}, inBrackets(shapeOf(table(), part, batch()))),
      hidden(role && `, the gradient ${role}`));
  }

  function drawDiagram(plan, states, gradient) {
    const shown = [];
    for (const [name, parts, isInside] of rowsShown(states)) {
      const made = rows.get(name) ?? makeRow(name), state = stateOf(states, ...parts);
      const numbers = count(table(), plan, states, parts, batch().classes);
      const role = roleOf(parts, gradient);
      const goesOn = role === "passes through" ||
        (name === "pos_emb" && gradient.stops.includes("tok_emb"));
      made.way.className =
        `fe-way${role === "stops here" ? " fe-stop" : ""}${goesOn ? " fe-through" : ""}`;
      made.parts = parts;
      const key = JSON.stringify(
        [parts, state, numbers, role, isInside, open.has(name), model.get("size"), batch()]);
      if (made.key !== key) fillRow(made, name, parts, state, numbers, role, isInside);
      made.key = key;
      shown.push(made);
    }
    const elements = shown.map(made => made.row);
    if (elements.some((row, i) => diagram.children[i] !== row) || diagram.children.length !== elements.length) {
      const focused = diagram.contains(document.activeElement) ? document.activeElement : null;
      diagram.replaceChildren(...elements);
      if (focused) (focused.isConnected ? focused : rowAt(current)?.part ?? shown[0].part).focus();
    }
    if (!rows.get(current)?.row.isConnected) setCurrent("out_head");
    else setCurrent(current);
  }

  /** Returns the row that has this name, or that holds the part of this name. */
  function rowAt(name) {
    const found = rows.get(name);
    if (found?.row.isConnected) return found;
    return [...rows.values()].find(({ row, parts }) => row.isConnected && parts.includes(name.split(" ")[0]));
  }

  // a click; with Shift everything above, too; dragging gives the rows on the way the same state
  let drag = null, hasDragged = false;
  const partAt = event => document.elementFromPoint(event.clientX, event.clientY)?.closest?.(".fe-part");
  diagram.addEventListener("pointerdown", event => {
    const part = event.target.closest(".fe-part");
    hasDragged = false;
    if (!part || event.button || event.pointerType === "touch" || event.shiftKey) return;
    const { parts } = rows.get(part.dataset.part), states = statesOf(table(), model.get("plan"));
    const isSet = parts.every(name => stateOf(states, name) === clickState);
    drag = { start: part, state: isSet ? FROZEN : clickState, seen: new Set([part]), names: [...parts] };
  });
  diagram.addEventListener("pointermove", event => {
    const part = drag && partAt(event);
    if (!part || drag.seen.has(part) || !diagram.contains(part)) return;
    drag.seen.add(part);
    drag.names.push(...rows.get(part.dataset.part).parts);
    if (hasDragged) undo.pop(); // the whole way is undone at once
    else drag.from = model.get("plan");
    hasDragged = true;
    const before = drag.from;
    model.set("plan", before);
    choose(setTo(table(), before, drag.names, drag.state));
  });
  for (const end of ["pointerup", "pointercancel", "pointerleave"]) {
    diagram.addEventListener(end, () => { drag = null; });
  }
  diagram.addEventListener("click", event => {
    const part = event.target.closest(".fe-part");
    if (!part || (hasDragged && event.detail)) return;
    const { parts } = rows.get(part.dataset.part);
    if (event.shiftKey) unfreezeFrom(parts[0].split(".").slice(0, 2).join("."));
    else click(parts);
  });
  diagram.addEventListener("keydown", event => {
    const name = event.target.dataset.part;
    if (!name) return;
    const shown = [...diagram.querySelectorAll(".fe-part")], at = shown.indexOf(event.target);
    const moves = { ArrowUp: at - 1, ArrowDown: at + 1, Home: 0, End: shown.length - 1 };
    const { parts } = rows.get(name);
    if (event.key in moves) shown[moves[event.key]]?.focus();
    else if (event.key === "ArrowRight" && isBlock(parts[0]) && !open.has(name)) openOrClose(name);
    else if (event.key === "ArrowLeft" && open.has(name)) openOrClose(name);
    else if (event.shiftKey && (event.key === " " || event.key === "Enter")) {
      unfreezeFrom(parts[0].split(".").slice(0, 2).join("."));
    } else return;
    event.preventDefault();
  });

  // --- the panel ---

  function drawCosts(plan) {
    const shown = costs(table(), plan, batch());
    const key = JSON.stringify([model.get("size"), batch()]), { presets } = table();
    reference[key] ??= ["the book's choice", "everything"].map(name => costs(table(), presets[name], batch()));
    const [book, most] = reference[key];
    const largest = unit => Math.max(...COSTS.filter(([, other]) => other === unit)
      .flatMap(([name]) => [most[name], shown[name], book[name]]));
    const cells = COSTS.flatMap(([name, unit]) => {
      const width = number => `${100 * number / largest(unit)}%`;
      const track = element("div", { class: "fe-track", "aria-hidden": "true" }, element("div"), element("i"));
      track.children[0].style.width = width(shown[name]);
      track.children[1].style.left = `calc(${width(book[name])} - 1px)`;
      const compared = shown[name] ? times(shown[name] / book[name]) : "none";
      return [element("span", {}, COST_TITLES[name]), track,
        element("span", { class: "fe-number", "data-cost": name, "data-amount": String(shown[name]) }, short(shown[name], unit)),
        element("span", { class: "fe-number" }, compared)];
    });
    const heading = text => element("span", { class: "fe-note" }, text);
    bars.replaceChildren(heading("float32"), heading("▏ the book's choice"), heading(""),
      heading("vs. book's"), ...cells);
    return shown;
  }

  function draw() {
    const plan = model.get("plan"), states = statesOf(table(), plan), gradient = reach(table(), plan);
    const shown = drawCosts(plan), { size, tokens } = batch();
    root.dataset.model = model.get("size");
    root.dataset.total = shown.total;
    root.dataset.trainable = shown.trainable;
    preset = presetOf(table(), plan);
    for (const [button, isChosen] of buttons) button.setAttribute("aria-pressed", String(isChosen()));
    back.disabled = undo.length === 0;
    drawDiagram(plan, states, gradient);
    loss.textContent = gradient.stops.length ? "loss ↓" : "";
    const words = model.get("tokens");
    const message = words.length === tokens ? `: ${words.join(" ")}` : "";
    input.textContent = `↑ token ids (${grouped(size)}, ${grouped(tokens)})${message}`;
    total.replaceChildren(element("b", {}, `${percent(shown.trainable, shown.total)} trainable`),
      ` ${grouped(shown.trainable)} of ${grouped(shown.total)} parameters`);
    share.firstChild.style.width = percentWidth(shown);
    reachLine.textContent = describeReach(gradient);
    changeLine.textContent = change || "Click a part to freeze or unfreeze it.";
    costsTitle.textContent = `Costs of one training step on ${grouped(size)} × ${grouped(tokens)} tokens`;
    const result = table().results[preset];
    worth.textContent = result ? `This choice classified ${result} correctly.`
      : "How good is this choice? Not measured: train it in the Freeze Lab.";
    if (preset === "nothing") worth.textContent = "With an untrained head the predictions are random.";
    if (code && code !== asPyTorch(table(), plan)) { code = ""; copied.textContent = ""; }
    codeBlock.textContent = code;
    codeBlock.hidden = !code;
    problem.textContent = model.get("problem") ?? "";
    for (const box of more.querySelectorAll("input")) {
      if (box !== document.activeElement) box.value = model.get(box.dataset.field);
    }
  }

  const redraw = () => draw();
  const observed = ["plan", "size", "tokens", "num_tokens", "batch_size", "num_classes", "problem"];
  for (const name of observed) model.on?.(`change:${name}`, redraw);
  draw();
  return () => { for (const name of observed) model.off?.(`change:${name}`, redraw); };
}

const percentWidth = ({ trainable, total }) => trainable ? `max(2px, ${100 * trainable / total}%)` : "0";

// --- a page without a kernel ----------------------------------------------------------------------

export function addressOf(size, table, plan) {
  const preset = presetOf(table, plan);
  const parts = partNames(table).flatMap(part =>
    stateOf(statesOf(table, plan), part) === TRAINABLE ? [part] : piecesOf(part).filter(name => plan.trainable.includes(name)));
  return `#${size.match(/\((.*)\)/)?.[1] ?? size}/${SLUGS[preset] ?? parts.join(",")}`;
}

function readAddress(address, state) {
  const [label, choice] = decodeURIComponent(address.slice(1)).split("/");
  const size = Object.keys(state.tables).find(name => name.includes(`(${label})`));
  if (!size || !choice) return;
  const table = state.tables[size];
  const preset = Object.keys(SLUGS).find(name => SLUGS[name] === choice);
  const exists = new Set([...partNames(table), ...allPieces(table)]);
  const names = choice.split(",").filter(name => exists.has(name));
  state.size = size;
  state.plan = preset ? table.presets[preset] : { ...table.presets.nothing, trainable: names };
}

/** Makes each Explorer of the page live that is not yet; its state is in a script element. */
export function startPages() {
  for (const page of document.querySelectorAll(".freeze-explorer-page:not([data-live])")) {
    page.dataset.live = "true";
    const state = JSON.parse(page.querySelector("script").textContent);
    if (state.in_address && location.hash) readAddress(location.hash, state);
    render({ el: page, model: { get: name => state[name], set: (name, value) => { state[name] = value; } } });
  }
}

export default { render };
