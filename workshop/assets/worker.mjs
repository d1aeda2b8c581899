// The engine of site/try.html, in a thread of its own, so that the page answers while it computes.
//
// A request is {ask, id, …}; what is sent back has its `id`. A training sends several answers.

import { Classifier } from "./gpt2.mjs";
import { startKernel } from "./tensors.mjs";
import { Tokenizer } from "./tokenizer.mjs";

const LONGEST = 120; // tokens of a text that are read
let classifier, tokenizer, texts;
let current, latest; // the training that runs, and the message that was read last

/** Returns the bytes that a text in base64 stands for. */
function bytesOf(base64) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64); // in browsers since 2025
  const text = atob(base64), bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** Lets waiting requests be answered, without the pause of a timer. */
const pause = () => new Promise(done => {
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = done;
  port2.postMessage(null);
});

const requests = {
  async start({ weights, kernel, merges }) {
    await startKernel(bytesOf(kernel));
    tokenizer = new Tokenizer(merges);
    classifier = new Classifier(bytesOf(weights).buffer);
    classifier.reset(2, () => 0.5); // the head is 0, so both classes are equally likely
    return { layers: classifier.layers, heads: classifier.heads };
  },

  stop() { current = null; },

  /** Takes texts to train on: train, validation and test, each with texts and labels. */
  use({ train, validation, test }) {
    const parts = [train, validation, test];
    const all = parts.flatMap(part => part.texts), labels = parts.flatMap(part => part.labels);
    const messages = all.map(text => tokenizer.encode(text).slice(0, LONGEST));
    const [inTraining, inValidation] = parts.map(part => part.texts.length);
    texts = { messages, labels, train: inTraining, validation: inValidation };
  },

  async train({ pieces, classes, settings }, send) {
    const training = current = {}, begun = performance.now();
    for (const progress of classifier.fineTune(pieces, texts, classes, settings)) {
      if (progress) {
        const { fraction } = progress, seconds = (performance.now() - begun) / 1000;
        const secondsLeft = seconds > 1 ? seconds * (1 - fraction) / fraction : null; // a guess
        send({ ...progress, secondsLeft });
      }
      await pause();
      if (current !== training) return; // it was stopped
    }
  },

  /** Reads a message without the tokens at the indices `leftOut`. */
  read({ text, leftOut }) {
    latest = {};
    const all = tokenizer.encode(text), ids = all.slice(0, LONGEST), whole = classifier.read(ids);
    const kept = ids.filter((_, i) => !leftOut.includes(i));
    const answer = leftOut.length ? classifier.read(kept) : whole;
    const tokens = ids.map(id => tokenizer.show(id));
    return { ...answer, tokens, whole: whole.probabilities, numTokens: all.length };
  },

  /** Returns the influence of each token, or nothing if another message comes meanwhile. */
  async influence({ text, label }) {
    const ids = tokenizer.encode(text).slice(0, LONGEST), reading = latest, influence = [];
    for (const nats of classifier.influence(ids, label)) {
      influence.push(nats);
      await pause();
      if (latest !== reading) return {};
    }
    return { influence };
  },
};

onmessage = async ({ data: { ask, id, ...request } }) => {
  const send = answer => postMessage({ id, ...answer });
  try {
    send({ ...await requests[ask](request, send), last: true });
  } catch (error) {
    send({ error: error.message, last: true });
  }
};
