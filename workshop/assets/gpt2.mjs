// GPT-2 as a text classifier: its weights, its forward pass, and its fine-tuning.
//
// The names are those of helpers/model.py. A message classifies at its last token; there is no
// padding, so that messages of different lengths stand one after the other in one matrix.

import {
  AdamW, Tensor, add, attention, backward, crossEntropy, gelu, layerNorm, linear, softmax, takeRows,
  transpose,
} from "./tensors.mjs";

// --- the weights ---------------------------------------------------------------------------------

/** Returns the float32 number for each float16 number, given as its bits. */
function tableOfHalves() {
  return Float32Array.from({ length: 65536 }, (_, half) => {
    const sign = half & 0x8000 ? -1 : 1, exponent = (half >> 10) & 31, fraction = half & 1023;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    return sign * 2 ** (exponent - 15) * (1 + fraction / 1024);
  });
}

/** Returns the tensors of a safetensors file in float16, {shape, data} by their names, and its
 * metadata. */
export function readSafetensors(buffer) {
  const size = Number(new DataView(buffer).getBigUint64(0, true)), start = 8 + size;
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, size)));
  const { __metadata__: metadata, ...entries } = header, tensors = {};
  const table = tableOfHalves();
  for (const [name, { shape, data_offsets: [from, to] }] of Object.entries(entries)) {
    const halves = new Uint16Array(buffer.slice(start + from, start + to));
    const data = new Float32Array(halves.length);
    for (let i = 0; i < halves.length; i++) data[i] = table[halves[i]];
    tensors[name] = { shape, data };
  }
  return { tensors, metadata };
}

/** Returns a function that returns random numbers, 0 … 1, the same for the same seed. */
export function randomNumbers(seed) { // "mulberry32" of Tommy Ettinger, public domain
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), seed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function shuffled(count, random) {
  const order = Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

// --- the model -----------------------------------------------------------------------------------

export class Classifier {
  parameters = {}; // a name of the model's state_dict → a tensor; weights are (in, out)
  cache = { blocks: -1, messages: null, vectors: [] }; // the frozen blocks' output by message

  /** `buffer` is a file that workshop/live.py makes. */
  constructor(buffer) {
    const { tensors, metadata } = readSafetensors(buffer);
    this.heads = Number(metadata.n_heads);
    this.layers = Number(metadata.n_layers);
    for (const [name, tensor] of Object.entries(tensors)) {
      const isTurned = tensor.shape.length === 2 && !name.includes("_emb.");
      const data = isTurned ? transpose(tensor.data, ...tensor.shape) : tensor.data;
      this.parameters[name] = new Tensor(data, tensor.shape.at(isTurned ? 0 : -1));
    }
    this.width = this.parameters["tok_emb.weight"].columns;
    this.pretrained = {}; // copies of what a training has changed
  }

  // --- the forward pass ---

  /** Returns token and positional embeddings of messages: (all their tokens, width). */
  embed(messages) {
    const { "tok_emb.weight": tokens, "pos_emb.weight": positions } = this.parameters;
    const indices = messages.flatMap(ids => ids.map((_, position) => position));
    return add(takeRows(tokens, messages.flat()), takeRows(positions, indices));
  }

  /** Returns the output of a block; with `onlyLast`, of each message's last token. */
  runBlock(block, x, lengths, { onlyLast = false, onWeights } = {}) {
    const parameter = name => this.parameters[`trf_blocks.${block}.${name}`];
    const last = vectors => onlyLast ? takeRows(vectors, lastRows(lengths)) : vectors;
    const apply = (name, input) =>
      linear(input, parameter(`${name}.weight`), parameter(`${name}.bias`));
    const norm = (name, input) =>
      layerNorm(input, parameter(`${name}.scale`), parameter(`${name}.shift`));
    const normal = norm("norm1", x);
    const queries = apply("att.W_query", last(normal));
    const [keys, values] = ["att.W_key", "att.W_value"].map(name => apply(name, normal));
    const attended = attention(queries, keys, values, this.heads, lengths, onWeights);
    const y = add(last(x), apply("att.out_proj", attended));
    return add(y, apply("ff.layers.2", gelu(apply("ff.layers.0", norm("norm2", y)))));
  }

  /** Returns the class logits of vectors (n, width): (n, classes). */
  classify(x) {
    const { "final_norm.scale": scale, "final_norm.shift": shift, "out_head.weight": weight,
      "out_head.bias": bias } = this.parameters;
    return linear(layerNorm(x, scale, shift), weight, bias);
  }

  /** Returns the class logits of messages, each a list of token ids: (messages, classes). */
  logits(messages) { return this.#logitsFrom(0, this.embed(messages), messages); }

  #logitsFrom(block, x, messages) {
    const lengths = messages.map(ids => ids.length);
    if (block === this.layers) return this.classify(x);
    for (; block < this.layers; block++) {
      x = this.runBlock(block, x, lengths, { onlyLast: block === this.layers - 1 });
    }
    return this.classify(x);
  }

  /** Returns what the classifier predicts for one message, and how it gets there: `probabilities`;
   * `after`, the probabilities if the head reads the vectors after 0, 1, … blocks; and `attention`,
   * for each block and head the weights of all tokens for the last one. */
  read(ids) {
    const attention = [], after = [], lengths = [ids.length], last = lastRows(lengths);
    let x = this.embed([ids]);
    for (let block = 0; block < this.layers; block++) {
      after.push(softmax(this.classify(takeRows(x, last)))[0]);
      const ofBlock = [];
      const onWeights = (_, head, weights) => { ofBlock[head] = Array.from(weights); };
      x = this.runBlock(block, x, lengths, { onWeights }); // those of the last token stay
      attention.push(ofBlock);
    }
    after.push(softmax(this.classify(takeRows(x, last)))[0]);
    return { probabilities: after.at(-1), after, attention };
  }

  /** Returns for each token how much the log-odds of a class fall without it, in nats. */
  influence(ids, label) {
    if (ids.length === 1) return [NaN];
    const logOdds = ids => {
      const [probabilities] = softmax(this.logits([ids]));
      return Math.log(probabilities[label] / (1 - probabilities[label]));
    };
    const whole = logOdds(ids);
    return ids.map((_, left) => whole - logOdds(ids.filter((_, i) => i !== left)));
  }

  // --- fine-tuning ---

  /** Undoes all training, and adds a head of random weights. */
  reset(classes, random) {
    Object.assign(this.parameters, this.pretrained);
    this.pretrained = {};
    const bound = 1 / Math.sqrt(this.width); // as in torch.nn.Linear
    const head = length => Float32Array.from({ length }, () => (2 * random() - 1) * bound);
    this.parameters["out_head.weight"] = new Tensor(head(this.width * classes), classes);
    this.parameters["out_head.bias"] = new Tensor(head(classes), classes);
  }

  /** Returns the parameters of pieces such as "trf_blocks.5.att", which become trainable. */
  unfreeze(pieces) {
    const names = Object.keys(this.parameters)
      .filter(name => pieces.some(piece => name.startsWith(`${piece}.`)));
    for (const name of names) {
      const tensor = this.parameters[name];
      this.pretrained[name] ??= tensor;
      this.parameters[name] = new Tensor(tensor.data.slice(), tensor.columns, true);
    }
    return names.map(name => this.parameters[name]);
  }

  /** Returns how many blocks, from the first one on, hold nothing trainable and run before anything
   * trainable. It is -1 where an embedding is trainable. */
  frozenBlocks(pieces) {
    if (pieces.some(piece => piece.endsWith("_emb"))) return -1;
    const blocks = pieces.filter(piece => piece.startsWith("trf_blocks."));
    return Math.min(this.layers, ...blocks.map(piece => Number(piece.split(".")[1])));
  }

  /** Returns the class logits of the messages at `indices`, from what the frozen blocks put out. */
  #logitsAt(indices, messages, frozen) {
    const batch = indices.map(i => messages[i]);
    if (frozen < 0) return this.logits(batch);
    const vectors = indices.map(i => this.cache.vectors[i]);
    const x = new Float32Array(vectors.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const vector of vectors) {
      x.set(vector, at);
      at += vector.length;
    }
    return this.#logitsFrom(frozen, new Tensor(x, this.width), batch);
  }

  /** Runs the frozen blocks once for each message. Yields how many messages are done. */
  *#fillCache(messages, frozen, tokensAtOnce) {
    const { cache } = this;
    if (cache.blocks !== frozen || cache.messages !== messages) {
      Object.assign(cache, { blocks: frozen, messages, vectors: [] });
    }
    while (cache.vectors.length < messages.length) {
      const part = nextPart(messages, cache.vectors.length, tokensAtOnce);
      const lengths = part.map(ids => ids.length), rows = lastRows(lengths);
      let x = this.embed(part);
      for (let block = 0; block < frozen; block++) {
        x = this.runBlock(block, x, lengths, { onlyLast: block === this.layers - 1 });
      }
      const ends = frozen === this.layers ? rows.map((_, i) => i + 1) : rows.map(row => row + 1);
      ends.forEach((end, i) => {
        cache.vectors.push(x.data.slice((ends[i - 1] ?? 0) * this.width, end * this.width));
      });
      yield cache.vectors.length;
    }
  }

  /** Fine-tunes `pieces` from the pretrained weights, as the book's loop does.
   *
   * `texts` has train, validation and test, each with `messages`, lists of token ids, and `labels`.
   * Yields the phase, the fraction that is done, and what was measured: while it is "encoding"
   * `done` of `total` messages; while it is "training" the `step` of `steps` and its `loss`, and
   * after an epoch `validation`, an accuracy; at the end `test`, an accuracy. While it is
   * "measuring" these there is nothing to tell. */
  *fineTune(pieces, texts, classes, settings) {
    const { epochs, batchSize, rate, weightDecay, seed, tokensAtOnce } = settings;
    const random = randomNumbers(seed);
    this.reset(classes, random);
    const parts = [texts.train, texts.validation, texts.test];
    const messages = texts.all ??= parts.flatMap(part => part.messages);
    const [count, validationCount] = parts.map(part => part.messages.length);
    const frozen = this.frozenBlocks(pieces);
    const { encoding, training } = this.#work(frozen, messages, count, epochs);
    if (frozen >= 0) {
      for (const done of this.#fillCache(messages, frozen, tokensAtOnce)) {
        const fraction = encoding / (encoding + training) * done / messages.length;
        yield { phase: "encoding", done, total: messages.length, fraction };
      }
    }
    const optimizer = new AdamW(this.unfreeze(pieces), { rate, weightDecay });
    const perEpoch = Math.max(1, Math.floor(count / batchSize)), steps = epochs * perEpoch;
    const trained = step => (encoding + training * step / steps) / (encoding + training);
    for (let epoch = 0, step = 0; epoch < epochs; epoch++) {
      const order = shuffled(count, random);
      for (let start = 0; start < perEpoch * batchSize; start += batchSize) {
        const batch = order.slice(start, start + batchSize);
        const loss = crossEntropy(this.#logitsAt(batch, messages, frozen),
          batch.map(i => texts.train.labels[i]));
        backward(loss);
        optimizer.step();
        step++;
        yield { phase: "training", step, steps, loss: loss.data[0], fraction: trained(step) };
      }
      const fraction = trained(step);
      const validation = yield* this.#accuracy(texts.validation, count, messages, frozen, fraction);
      yield { phase: "training", step, steps, validation, fraction };
    }
    const start = count + validationCount;
    const test = yield* this.#accuracy(texts.test, start, messages, frozen, 1);
    yield { phase: "training", step: steps, steps, test, fraction: 1 };
  }

  /** Returns about how long the frozen blocks and the training take, in any unit. */
  #work(frozen, messages, count, epochs) {
    const sum = messages => messages.reduce((sum, ids) => sum + ids.length, 0);
    const isCached = this.cache.blocks === frozen && this.cache.messages === messages;
    const missing = isCached ? messages.slice(this.cache.vectors.length) : messages;
    const inner = Math.max(0, this.layers - 1 - Math.max(0, frozen)); // trained, or passed through
    const last = frozen < this.layers ? 1 : 0; // most of it is computed for one token alone
    return {
      encoding: Math.max(0, frozen) * sum(missing),
      training: 1 + epochs * sum(messages.slice(0, count)) * (3 * inner + last),
    };
  }

  /** Returns the accuracy of a part of the texts; its first message is `messages[first]`. */
  *#accuracy({ labels }, first, messages, frozen, fraction) {
    let correct = 0;
    for (let start = 0; start < labels.length; start += 8) {
      const part = labels.slice(start, start + 8);
      const logits = this.#logitsAt(part.map((_, i) => first + start + i), messages, frozen);
      softmax(logits).forEach((row, i) => {
        correct += row.indexOf(Math.max(...row)) === part[i];
      });
      yield { phase: "measuring", fraction };
    }
    return correct / labels.length;
  }
}

/** Returns the row of each message's last token. */
function lastRows(lengths) {
  let end = 0;
  return lengths.map(length => (end += length) - 1);
}

/** Returns the messages from `start` on that have about `tokens` tokens together, at least one. */
function nextPart(messages, start, tokens) {
  let end = start, sum = 0;
  while (end < messages.length && sum < tokens) sum += messages[end++].length;
  return messages.slice(start, end);
}
