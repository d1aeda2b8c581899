// The Message Microscope: a message, its prediction, the influence of its tokens, and attention.
//
// A front-end module in anywidget's form, without dependencies. It draws what `model` has and
// computes nothing. In a notebook Python is the engine behind it, on site/try.html a worker of the
// browser. Each of `choices` has a name, a label and options; one that is about "message" stands
// below the message, the others above the attention weights. The engine gets `text`, `left_out`
// (indices of tokens) and `chosen` (an option of each choice); it answers with
//   problem        a sentence where the message can't be classified, or ""
//   note           what goes into the model
//   tokens         as texts to look at, and their `influence` on class `label`, in nats
//   labels         the classes, and their `probabilities` without the tokens that are left out
//   whole          the probabilities of the whole message
//   attention      names and weights of what the classifying token attends to, and a title
//   after          the probability of class `label` if the head reads after 0, 1, … blocks
// and, where it has them, with
//   without        the `left_out` of this answer, as a slow answer comes after the next click
//   sums           for each block the sum of the message's attention weights
//   table          the influence as an HTML table
//   limits         what influence and attention do not show, as HTML

const FACTORS = [1.1, 1.5, 3]; // of the odds; from each on a token's mark has one more sign
const OBSERVED = ["text", "problem", "note", "tokens", "influence", "left_out", "without", "labels",
  "probabilities", "whole", "attention", "after", "sums", "table", "chosen"];
const SHADES = [0, 0.18, 0.38, 0.6]; // of a token's colour, by the size of its mark
const BLUE = "#2e86c1", ORANGE = "#d2691e", COLOURS = [BLUE, ORANGE, "#1a9577", "#c2528b",
  "#6b8e23", "#8a63c9", "#777777"];

const STYLE = `
.message-microscope { color: inherit; font: 14px/1.45 system-ui, sans-serif; max-width: 1120px;
  padding: 3px; text-align: left; }
.message-microscope :is(p, h4) { margin: 8px 0 4px; }
.message-microscope h4 { font-size: 14px; font-weight: 600; margin-top: 18px; }
.message-microscope :is(button, input) { font: inherit; color: inherit; background: transparent;
  border: 1px solid color-mix(in srgb, currentColor 45%, transparent); border-radius: 6px;
  margin: 0; }
.message-microscope button { cursor: pointer; padding: 2px 8px; min-height: 26px; }
.message-microscope button:hover { border-color: currentColor; }
.message-microscope button:disabled { opacity: .45; cursor: default; }
.message-microscope :focus-visible { outline: 2px solid currentColor; outline-offset: 1px; }
.message-microscope label { display: block; }
.mm-text { box-sizing: border-box; display: block; font-size: 16px !important; padding: 6px 10px;
  width: 100%; }
.mm-problem:not(:empty) { border-left: 4px solid currentColor; font-weight: 600; padding: 2px 8px; }
.mm-note, .mm-legend, .mm-below { font-size: 12px; opacity: .85; }
.mm-change { min-height: 1.45em; } /* or the tokens would move when it appears, during a click */
.message-microscope code { background: color-mix(in srgb, currentColor 9%, transparent);
  border-radius: 3px; color: inherit; font: 13px ui-monospace, monospace; padding: 1px 4px; }
.mm-row { display: flex; flex-wrap: wrap; gap: 4px 16px; align-items: center; }
.mm-group { display: flex; flex-wrap: wrap; gap: 4px; align-items: center; }
.message-microscope .mm-group [aria-pressed=true] { font-weight: 600; border-color: currentColor;
  background: color-mix(in srgb, currentColor 14%, transparent); }
.mm-probabilities { display: grid; gap: 3px 8px; align-items: center;
  grid-template-columns: max-content minmax(60px, 360px) max-content;
  font-variant-numeric: tabular-nums; }
.mm-probabilities b, .mm-probabilities span { font-weight: normal; }
.mm-probabilities .mm-predicted { font-weight: 700; }
.mm-track { height: 16px; border-radius: 4px; overflow: hidden;
  background: color-mix(in srgb, currentColor 10%, transparent); }
.mm-track > div { height: 100%; background: var(--colour); min-width: 1px; }
.mm-chips { display: flex; flex-wrap: wrap; gap: 4px 3px; }
.mm-chips > * { border: 1px solid color-mix(in srgb, currentColor 35%, transparent);
  border-radius: 6px; max-width: 100%; overflow: hidden; padding: 1px 6px; text-align: center;
  white-space: pre; }
.message-microscope .mm-chips > * { font: 13px/1.4 ui-monospace, monospace;
  background: color-mix(in srgb, var(--colour) var(--strength), transparent); }
.message-microscope .mm-chips [aria-pressed=true] { background: transparent; border-style: dashed; }
.mm-chips [aria-pressed=true] > span:first-child { text-decoration: line-through; opacity: .7; }
.mm-chips span { display: block; }
.mm-below { font-variant-numeric: tabular-nums; }
.message-microscope .mm-chosen { border-color: currentColor; font-weight: 700; }
.message-microscope summary { cursor: pointer; margin-top: 8px; width: max-content; }
.message-microscope :is(table, caption, th, td) { color: inherit; font-size: 13px;
  text-align: left; }
.mm-limits { font-size: 13px; max-width: 90ch; }
.message-microscope caption { font-weight: 600; padding: 4px 0; }
.message-microscope :is(th, td) { font-variant-numeric: tabular-nums; padding: 2px 16px 2px 0; }
.message-microscope tbody th { font-weight: normal; }
`;

const escaped = text => String(text).replace(/[&<>"]/g, sign => `&#${sign.charCodeAt(0)};`);
const signed = (number, digits = 2) =>
  `${number < 0 ? "−" : "+"}${Math.abs(number).toFixed(digits)}`;

/** Returns the log-odds of a class; where 1 − p is rounded to 0, the others' sum is not. */
function logOdds(probabilities, label) {
  const others = probabilities.reduce((sum, p, i) => (i === label ? sum : sum + p), 0);
  return Math.log(probabilities[label] / others);
}

/** Sets the HTML of an element that differs: a button that is replaced would lose a click. */
function write(element, html) {
  if (element.written !== html) element.innerHTML = element.written = html;
}

/** Returns the sign of an influence, and how many of them its mark has, 0 to 3. */
function markOf(influence) {
  const nats = Math.round(100 * influence) / 100;
  const size = FACTORS.filter(factor => Math.abs(nats) >= Math.log(factor)).length;
  return { sign: nats > 0 ? "+" : "−", size };
}

/** Returns a chip: a token, what stands below it, and its colour as strong as `part`, 0 … 1. */
function chip(tag, attributes, token, below, colour, part) {
  const style = `--colour: ${colour}; --strength: ${Math.round(100 * part)}%`;
  return `<${tag} ${attributes} style="${style}"><span>${escaped(token)}</span>` +
    `<span class="mm-below">${escaped(below)}</span></${tag}>`;
}

class Microscope {
  constructor(model, el) {
    this.model = model;
    const button = (name, option) => `<button type="button" data-choice="${name}"
      data-option="${escaped(option)}">${escaped(option)}</button>`;
    const group = ({ name, label, options }) => `
      <div class="mm-group" role="group" aria-label="${label}"><span>${label}</span>${
        options.map(option => button(name, option)).join("")}</div>`;
    const choicesAbout = subject => model.get("choices")
      .filter(({ about = "attention" }) => about === subject).map(group).join("");
    el.innerHTML = `<div class="message-microscope" data-lm-suppress-shortcuts="true">
      <style>${STYLE}</style>
      <label>Message<input class="mm-text" type="text" autocomplete="off"></label>
      <p class="mm-problem" role="alert"></p>
      <div class="mm-row">${choicesAbout("message")}</div><p class="mm-note"></p>
      <div class="mm-probabilities" data-role="answer"></div><p class="mm-change" role="status"></p>
      <h4>Which tokens change the prediction</h4>
      <p>Click a token to leave it out, and click it again to restore it.
        <button type="button" data-restore>Restore all tokens</button></p>
      <div class="mm-chips mm-tokens"></div><p class="mm-legend"></p>
      <details data-optional="table"><summary>The numbers</summary><div class="mm-table"></div>
      </details>
      <h4 class="mm-title"></h4><div class="mm-row">${choicesAbout("attention")}</div>
      <p class="mm-chips mm-attention"></p>
      <div data-optional="sums"><h4>Sum of the message's attention weights in each block</h4>
        <div class="mm-chips mm-sums"></div></div>
      <h4 class="mm-after-title"></h4>
      <p class="mm-note">The head is trained on the output of the last block. Here it also reads the
        outputs of earlier blocks, which it does not see in training.</p>
      <div class="mm-chips mm-after"></div>
      <details data-optional="limits"><summary>What this does not show</summary>
        <div class="mm-limits">${model.get("limits")}</div></details></div>`;
    this.root = el.firstElementChild;
    this.field = this.find(".mm-text");
    this.field.addEventListener("input", () => {
      this.typed = this.field.value;
      this.tell({ text: this.typed, left_out: [] });
    });
    this.root.addEventListener("click", event => this.onClick(event));
    this.draw();
  }

  find(selector) { return this.root.querySelector(selector); }
  get label() { return this.model.get("labels")[this.model.get("label")]; }

  tell(values) {
    for (const [name, value] of Object.entries(values)) this.model.set(name, value);
    this.model.save_changes?.();
  }

  onClick(event) {
    const { token, choice, option, restore } = event.target.closest("button")?.dataset ?? {};
    const leftOut = this.model.get("left_out");
    if (token !== undefined) {
      const index = Number(token), isOut = leftOut.includes(index);
      const others = leftOut.filter(other => other !== index);
      this.tell({ left_out: isOut ? others : [...leftOut, index].sort((a, b) => a - b) });
    } else if (choice) this.tell({ chosen: { ...this.model.get("chosen"), [choice]: option } });
    else if (restore !== undefined) this.tell({ left_out: [] });
  }

  draw() {
    const { model } = this, text = model.get("text");
    if (text !== this.typed) this.field.value = this.typed = text; // it was set elsewhere
    this.find(".mm-problem").textContent = model.get("problem");
    this.find(".mm-note").textContent = model.get("note");
    for (const button of this.root.querySelectorAll("[data-choice]")) {
      const { choice, option } = button.dataset;
      button.ariaPressed = model.get("chosen")[choice] === option;
    }
    if (!model.get("probabilities").length) return;
    this.drawProbabilities();
    this.drawTokens();
    this.drawAttention();
  }

  drawProbabilities() {
    const { model } = this, labels = model.get("labels");
    const probabilities = model.get("probabilities");
    const largest = probabilities.indexOf(Math.max(...probabilities));
    const answer = this.find("[data-role=answer]"), spam = labels.indexOf("spam");
    if (spam < 0) delete answer.dataset.spam;
    else answer.dataset.spam = probabilities[spam];
    write(answer, labels.map((label, i) => {
      const css = i === largest ? ' class="mm-predicted"' : "";
      const bar = `width: ${100 * probabilities[i]}%; --colour: ${COLOURS[i]}`;
      return `<b${css}>${escaped(label)}</b><div class="mm-track" aria-hidden="true">` +
        `<div style="${bar}"></div></div><span${css}>${probabilities[i].toFixed(2)}</span>`;
    }).join(""));
    const tokens = model.get("tokens"), at = model.get("label"), before = model.get("whole");
    const leftOut = model.get("left_out"), without = model.get("without") ?? leftOut;
    const names = without.map(i => `<code>${escaped(tokens[i])}</code>`).join(", ");
    const nats = logOdds(probabilities, at) - logOdds(before, at);
    write(this.find(".mm-change"), without.length
      ? `Without ${names}: ${escaped(this.label)} ${before[at].toFixed(2)} → ` +
        `${probabilities[at].toFixed(2)} (${signed(nats)} nats)` : "");
    this.find("[data-restore]").disabled = !leftOut.length;
  }

  /** Returns in words what a token does for the prediction. */
  describe(nats, other) {
    if (nats === undefined) return ""; // it is not there yet
    if (!Number.isFinite(nats)) return ", the only token";
    const size = Math.abs(nats).toFixed(2);
    return `, ${size} nats${size === "0.00" ? "" : ` towards ${nats > 0 ? this.label : other}`}`;
  }

  drawTokens() {
    const { model } = this, tokens = model.get("tokens"), leftOut = model.get("left_out");
    const influence = model.get("influence"), focused = document.activeElement?.dataset.token;
    const hadFocus = this.root.contains(document.activeElement);
    const other = model.get("labels").length === 2
      ? model.get("labels")[1 - model.get("label")] : "the other classes";
    write(this.find(".mm-tokens"), tokens.map((token, i) => {
      const { sign, size } = markOf(influence[i] ?? NaN), isOut = leftOut.includes(i);
      const words = this.describe(influence[i], other);
      const hint = escaped(`${token}${words}; click to ${isOut ? "restore it" : "leave it out"}`);
      const attributes = `type="button" data-token="${i}" aria-pressed="${isOut}" ` +
        `aria-label="${hint}" title="${hint}"`;
      const below = isOut ? "✕" : size ? sign.repeat(size) : "·";
      return chip("button", attributes, token, below, sign === "+" ? ORANGE : BLUE, SHADES[size]);
    }).join(""));
    if (hadFocus && focused) this.find(`[data-token="${focused}"]`)?.focus();
    this.find(".mm-legend").textContent = `+ towards ${this.label}, − towards ${other}, · ` +
      `hardly anything. Leaving the token out changes the odds by a factor of at least ` +
      `${FACTORS[0]} for one sign, ${FACTORS[1]} for two, ${FACTORS[2]} for three. ` +
      "Signs and colours are computed on the whole message, leaving out one token at a time.";
    write(this.find(".mm-table"), model.get("table") ?? "");
  }

  drawAttention() {
    const { model } = this, { title, names, weights } = model.get("attention");
    const boxes = (selector, names, values, colour, chosen) => {
      write(this.find(selector), names.map((name, i) => {
        const attributes = i === chosen ? 'class="mm-chosen"' : "";
        return chip("span", attributes, name, values[i].toFixed(2), colour, 0.7 * values[i]);
      }).join(""));
    };
    const numbered = (selector, values, colour, chosen) =>
      boxes(selector, values.map((_, i) => (i === chosen ? `▸${i}` : i)), values, colour, chosen);
    this.find(".mm-title").textContent = title;
    boxes(".mm-attention", names, weights, BLUE);
    numbered(".mm-sums", model.get("sums") ?? [], BLUE, Number(model.get("chosen").block));
    this.find(".mm-after-title").textContent =
      `Probability of ${this.label} if the head reads the output after 0, 1, … blocks`;
    numbered(".mm-after", model.get("after"), ORANGE);
    for (const part of this.root.querySelectorAll("[data-optional]")) {
      part.hidden = !model.get(part.dataset.optional)?.length;
    }
  }
}

function render({ model, el }) {
  const microscope = new Microscope(model, el);
  let waiting = null; // draws once, when all values of an answer are there
  const redraw = () => {
    waiting ??= Promise.resolve().then(() => { waiting = null; microscope.draw(); });
  };
  for (const name of OBSERVED) model.on(`change:${name}`, redraw);
  return () => { for (const name of OBSERVED) model.off?.(`change:${name}`, redraw); };
}

export default { render };
