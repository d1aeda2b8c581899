// site/try.html: choose what is frozen, fine-tune GPT-2 in the browser, and try the classifier.
//
// The model runs in a worker (worker.mjs). The Explorer and the Microscope draw themselves. This
// file connects them with the worker, shows the training, and reads texts that a reader pastes.

import { Values, startPage, statesOf } from "./explorer.mjs";
import microscope from "./microscope.mjs";

const IS_SMALL = matchMedia("(pointer: coarse)").matches || navigator.deviceMemory <= 4;
const SETTINGS = { epochs: 5, batchSize: 8, rate: 1e-3, weightDecay: 0.1, seed: 123,
  tokensAtOnce: IS_SMALL ? 64 : 256 }; // through the frozen layers
const MOST_TEXTS = 2000, MEAN = "mean of all heads";

// --- the worker ----------------------------------------------------------------------------------

/** Asks the worker, and waits for its last answer; the others go to `onNews`. */
class Engine {
  waiting = new Map(); // the id of a request → what its answers are given to
  count = 0;

  constructor(address) {
    this.worker = new Worker(address, { type: "module" });
    this.worker.onmessage = ({ data: { id, ...answer } }) => this.waiting.get(id)?.(answer);
    this.worker.onerror = event => {
      const error = event.message ?? "This browser can't run the model in a worker.";
      for (const answer of this.waiting.values()) answer({ error, last: true });
    };
  }

  ask(request, onNews = () => {}) {
    const id = this.count++;
    return new Promise((done, fail) => {
      this.waiting.set(id, answer => {
        if (!answer.last) return onNews(answer);
        this.waiting.delete(id);
        return answer.error ? fail(new Error(answer.error)) : done(answer);
      });
      this.worker.postMessage({ ...request, id });
    });
  }
}

// --- a reader's own texts ------------------------------------------------------------------------

/** Returns the rows of lines "label<TAB>text", and throws an error for what is none. */
function rowsOf(pasted) {
  const rows = [];
  pasted.split(/\r?\n/).forEach((line, i) => {
    if (!line.trim()) return;
    const [label, ...rest] = line.split("\t").map(part => part.trim()), text = rest.join(" ");
    if (!rest.length) throw new Error(`Line ${i + 1} has no tab: “${line.slice(0, 40)}”.`);
    if (!label) throw new Error(`Line ${i + 1} has no label before its tab.`);
    if (!text) throw new Error(`Line ${i + 1} has no text after its tab.`);
    rows.push({ label, text });
  });
  return rows;
}

/** Returns pasted lines as {labels, texts}: the class names, and train, validation and test, each
 * with texts and the indices of their labels. Of ten texts with the same label one is for the
 * validation and two are for the test. Throws an error that says what can't be used. */
function readLines(pasted) {
  const rows = rowsOf(pasted), labels = [...new Set(rows.map(row => row.label))].sort();
  if (labels.length < 2 || labels.length > 7) {
    throw new Error(`There must be 2 to 7 different labels, not ${labels.length}.`);
  }
  if (rows.length > MOST_TEXTS) {
    throw new Error(`There may be at most ${MOST_TEXTS} lines, not ${rows.length}.`);
  }
  const texts = {};
  for (const part of ["train", "validation", "test"]) texts[part] = { texts: [], labels: [] };
  labels.forEach((label, index) => {
    const ofLabel = rows.filter(row => row.label === label);
    if (ofLabel.length < 5) {
      throw new Error(`The label “${label}” needs at least 5 texts, not ${ofLabel.length}.`);
    }
    ofLabel.forEach(({ text }, i) => {
      const part = texts[{ 0: "validation", 1: "test", 2: "test" }[i % 10] ?? "train"];
      part.texts.push(text);
      part.labels.push(index);
    });
  });
  return { labels, texts };
}

// --- the curve -----------------------------------------------------------------------------------

const SIZE = { width: 360, height: 92, left: 34, right: 8, top: 8, bottom: 18 };

/** Returns a plot as SVG: a line through points [x, y], x 0 … 1, y 0 … `top`. */
function plot(title, points, top, hasDots) {
  const { width, height, left, right, top: above, bottom } = SIZE;
  const x = part => left + part * (width - left - right);
  const y = value => above + (1 - Math.min(value, top) / top) * (height - above - bottom);
  const line = points.map(([at, value]) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`);
  const ticks = [0, top / 2, top].map(value => `<path d="M${left} ${y(value)}H${width - right}"/>
    <text x="${left - 5}" y="${y(value) + 4}" text-anchor="end">${value}</text>`);
  const dots = hasDots
    ? points.map(([at, value]) => `<circle cx="${x(at)}" cy="${y(value)}" r="3.5"/>`) : [];
  const latest = points.length ? `, latest ${points.at(-1)[1].toFixed(2)}` : "";
  return `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${title}${latest}">
    ${ticks.join("")}<polyline points="${line.join(" ")}"/>${dots.join("")}
    <text x="${left}" y="${height - 4}">${title}</text></svg>`;
}

/** Returns the 95 % interval of an accuracy over `count` texts (Wilson 1927). */
function interval(accuracy, count) {
  const z = 1.96, middle = accuracy + z * z / (2 * count), divisor = 1 + z * z / count;
  const half = z * Math.sqrt((accuracy * (1 - accuracy) + z * z / (4 * count)) / count);
  return [(middle - half) / divisor, (middle + half) / divisor];
}

const percent = number => `${(100 * number).toFixed(1)} %`;

// --- the page ------------------------------------------------------------------------------------

class Try {
  data = null; // what to train on: {labels, texts}
  trainedFor = null; // the class names that the classifier was trained for

  constructor(root) {
    this.root = root;
    this.explorer = startPage(this.find(".freeze-explorer-page"));
    this.listen();
  }

  find(selector) { return this.root.querySelector(selector); }
  write(selector, text) { this.find(selector).textContent = text; }

  /** Loads the model, and shows what it predicts for a first message. */
  async start() {
    this.engine = new Engine(this.root.dataset.worker);
    await loadScript(this.root.dataset.model);
    const { texts, ...model } = globalThis.course;
    this.bundled = this.data = { labels: ["ham", "spam"], texts };
    const { layers, heads } = await this.engine.ask({ ask: "start", ...model });
    await this.engine.ask({ ask: "use", ...texts });
    this.showMicroscope(layers, heads);
    await this.read();
    this.show("ready", "");
  }

  showMicroscope(layers, heads) {
    const numbers = count => Array.from({ length: count }, (_, i) => String(i));
    this.message = new Values({
      text: "Win a free phone! Text YES to 80086 now", left_out: [], problem: "", note: "",
      tokens: [], influence: [], labels: this.bundled.labels, label: 1,
      probabilities: [], whole: [], without: [], after: [],
      attention: { title: "", names: [], weights: [] },
      chosen: { block: String(layers - 1), head: MEAN },
      choices: [{ name: "block", label: "Block", options: numbers(layers) },
        { name: "head", label: "Head", options: [MEAN, ...numbers(heads)] }],
    });
    const el = this.find(".try-microscope");
    microscope.render({ el, model: this.message });
    el.querySelector("input").id = "message";
    for (const name of ["text", "left_out"]) this.message.on(`change:${name}`, () => this.read());
    this.message.on("change:chosen", () => this.showAttention());
  }

  listen() {
    this.find("[data-action=train]").addEventListener("click", () => this.train());
    this.find("[data-action=stop]").addEventListener("click", () => this.stop());
    this.find("[data-action=use]").addEventListener("click", () => this.useLines());
    this.find("[data-action=bundled]").addEventListener("click", () => this.use(this.bundled));
  }

  /** Shows a state of the page: "loading", "ready", "encoding", "training" or "trained". */
  show(state, status) {
    this.root.dataset.state = state;
    const isBusy = ["loading", "encoding", "training"].includes(state);
    this.find("[data-action=train]").disabled = isBusy;
    this.find("[data-action=stop]").disabled = !isBusy || state === "loading";
    this.find("progress").hidden = !isBusy;
    this.write(".try-status", status);
  }

  // --- the training ---

  async train() {
    const table = this.explorer.get("tables")[this.explorer.get("size")];
    const states = statesOf(table, this.explorer.get("plan"));
    const pieces = Object.keys(states).filter(piece => states[piece] === "trainable");
    if (!pieces.length) {
      return this.write(".try-status", "Nothing is trainable. Unfreeze a part first.");
    }
    const { labels, texts: { test } } = this.data;
    const chart = this.chart = { labels, count: test.labels.length, loss: [], validation: [] };
    const isShown = () => this.chart === chart; // not after a stop, nor in the next training
    delete this.root.dataset.accuracy;
    this.write(".try-result", "");
    this.find("progress").removeAttribute("value");
    this.show("encoding", "Starting …");
    this.draw(chart);
    const request = { ask: "train", pieces, classes: labels.length, settings: SETTINGS };
    this.trainedFor = labels;
    try {
      await this.engine.ask(request, news => isShown() && this.onProgress(news, chart));
      if (isShown()) this.showResult(chart);
    } catch (error) {
      this.show("ready", `The training ended: ${error.message}`);
    }
    return this.read();
  }

  onProgress(news, chart) {
    const { phase, fraction, secondsLeft, done, total, step, steps, loss, validation, test } = news;
    const text = phase === "encoding"
      ? `The frozen layers run once for each text: ${done} of ${total}`
      : `Step ${step} of ${steps}`;
    const left = secondsLeft === null ? "" : ` · about ${Math.ceil(secondsLeft)} s left`;
    this.show(phase, text + left);
    this.find("progress").value = fraction;
    if (loss !== undefined) chart.loss.push([step / steps, loss]);
    if (test !== undefined) chart.test = test;
    if (validation !== undefined) {
      chart.validation.push([step / steps, validation]);
      this.read(); // what is predicted for the message changes while the model is trained
    }
    if (validation !== undefined || step % 10 === 0) this.draw(chart);
  }

  /** Stops at once; what was trained so far stays. */
  stop() {
    this.chart = null;
    this.engine.ask({ ask: "stop" });
    this.show("ready", "Stopped. The model keeps what was trained so far.");
  }

  showResult({ test, count }) {
    const [low, high] = interval(test, count).map(percent);
    this.root.dataset.accuracy = test;
    this.show("trained", "The training is finished.");
    this.write(".try-result", `${percent(test)} of ${count} test texts are classified correctly ` +
      `(95 % interval ${low} to ${high}). The model has not seen them in training.`);
  }

  draw({ labels, loss, validation }) {
    const means = loss.map(([at], i) => { // of the last 20 steps, as single ones vary a lot
      const part = loss.slice(Math.max(0, i - 19), i + 1);
      return [at, part.reduce((sum, [, value]) => sum + value, 0) / part.length];
    });
    const top = labels.length === 2 ? 1 : 2;
    this.find(".try-curve").innerHTML = plot("training loss", means, top, false) +
      plot("validation accuracy", validation, 1, true);
  }

  // --- the texts ---

  useLines() {
    try {
      this.use(readLines(this.find("textarea").value));
    } catch (error) {
      this.write(".try-lines", error.message);
    }
  }

  use(data) {
    this.data = data;
    this.engine.ask({ ask: "use", ...data.texts });
    const { labels, texts: { train, validation, test } } = data;
    const counts = [train, validation, test].map(part => part.texts.length);
    this.write(".try-lines", `${counts[0]} texts for training, ${counts[1]} for validation, ` +
      `${counts[2]} for the test. Classes: ${labels.join(", ")}. Click Train.`);
    this.explorer.set("num_classes", labels.length);
  }

  // --- the message ---

  /** Has the worker read the message; a later request wins. */
  async read() {
    const { message, engine } = this, text = message.get("text"), leftOut = message.get("left_out");
    const request = this.latest = {}, tell = problem => message.set("problem", problem);
    if (!text.trim()) return tell("Type a message to classify it.");
    if (leftOut.length && leftOut.length === message.get("tokens").length) {
      return tell("All tokens are left out. Restore one to have something to classify.");
    }
    const answer = await engine.ask({ ask: "read", text, leftOut });
    if (request !== this.latest) return null;
    tell("");
    const label = this.showAnswer({ ...answer, without: leftOut });
    if (leftOut.length) return null; // the influence is that of the whole message
    const { influence } = await engine.ask({ ask: "influence", text, label });
    if (request === this.latest) message.set("influence", influence);
    return null;
  }

  /** Shows an answer of the worker; returns the class that the tokens' influence is about. */
  showAnswer(answer) {
    const { tokens, numTokens, whole, probabilities, without, after } = this.answer = answer;
    const labels = this.trainedFor ?? this.bundled.labels, spam = labels.indexOf("spam");
    const label = spam < 0 ? whole.indexOf(Math.max(...whole)) : spam;
    const isUntrained = "The head is not trained yet, so all classes are equally likely. ";
    const isCut = numTokens > tokens.length ? `, the first of ${numTokens}` : "";
    const values = { labels, label, tokens, whole, probabilities, without,
      after: after.map(row => row[label]),
      note: `${this.trainedFor ? "" : isUntrained}${tokens.length} tokens${isCut}. ` +
        "The last one classifies." };
    for (const [name, value] of Object.entries(values)) this.message.set(name, value);
    this.showAttention();
    return label;
  }

  showAttention() {
    const { block, head } = this.message.get("chosen");
    const { tokens, without, attention } = this.answer, ofBlock = attention[block];
    const names = tokens.filter((_, i) => !without.includes(i));
    const mean = names.map((_, i) => ofBlock.reduce((sum, of) => sum + of[i], 0) / ofBlock.length);
    const ofHead = head === MEAN ? head : `head ${head}`;
    const title = `Attention weights of the last token: block ${block}, ${ofHead}`;
    this.message.set("attention", { title, names, weights: head === MEAN ? mean : ofBlock[head] });
  }
}

/** Runs a script file; unlike a module it may come from a disk. */
function loadScript(address) {
  return new Promise((done, fail) => {
    const script = document.createElement("script");
    script.src = address;
    script.onload = done;
    script.onerror = () => fail(new Error(`The model (${address}) could not be loaded.`));
    document.head.append(script);
  });
}

for (const root of document.querySelectorAll(".try")) {
  const page = new Try(root);
  page.start().catch(error => page.show("failed", error.message));
}
