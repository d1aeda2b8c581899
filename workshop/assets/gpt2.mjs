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
function readSafetensors(buffer) {
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
  cache = {}; // how many blocks are frozen, the messages, and for each the blocks' output

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
    return this.classify(this.#run(x, messages.map(ids => ids.length), block, this.layers));
  }

  /** Returns the output of the blocks from `first` to the one before `end`. */
  #run(x, lengths, first, end) {
    for (let block = first; block < end; block++) {
      x = this.runBlock(block, x, lengths, { onlyLast: block === this.layers - 1 });
    }
    return x;
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

  /** Yields for each token how much the log-odds of a class fall without it, in nats. */
  *influence(ids, label) {
    const logOdds = ids => {
      const [probabilities] = softmax(this.logits([ids]));
      const others = probabilities.filter((_, i) => i !== label).reduce((a, b) => a + b);
      return Math.log(probabilities[label] / others);
    };
    const whole = logOdds(ids);
    for (const left of ids.keys()) {
      const others = ids.filter((_, i) => i !== left);
      yield others.length ? whole - logOdds(others) : NaN;
    }
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

  /** Returns the class logits of the messages at `indices`, from what the frozen blocks output. */
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
    const { cache, width } = this;
    while (cache.vectors.length < messages.length) {
      const part = nextPart(messages, cache.vectors.length, tokensAtOnce);
      const lengths = part.map(ids => ids.length);
      const { data } = this.#run(this.embed(part), lengths, 0, frozen);
      let start = 0;
      for (const length of lengths) { // the last block outputs one vector for each message
        const end = start + width * (frozen === this.layers ? 1 : length);
        cache.vectors.push(data.slice(start, end));
        start = end;
      }
      yield cache.vectors.length;
    }
  }

  /** Fine-tunes `pieces` from the pretrained weights, as the book's loop does.
   *
   * `texts` has `messages`, lists of token ids, and their `labels`. The first `train` of them are
   * for training, the next `validation` ones for the validation, and all others for the test.
   * Yields the phase, the fraction that is done, and what was measured: while it is "encoding"
   * `done` of `total` messages; while it is "training" the `step` of `steps` and its `loss`, and
   * after an epoch the accuracy `validation`; at the end the accuracy `test`. While it measures
   * accuracies, it yields null. */
  *fineTune(pieces, texts, classes, settings) {
    const { epochs, batchSize, rate, weightDecay, seed, tokensAtOnce } = settings;
    const { messages, labels, train } = texts, random = randomNumbers(seed), { cache } = this;
    this.reset(classes, random);
    const frozen = this.frozenBlocks(pieces);
    if (cache.blocks !== frozen || cache.messages !== messages) {
      Object.assign(cache, { blocks: frozen, messages, vectors: [] });
    }
    const work = this.#work(texts, frozen, epochs), phase = "training";
    if (frozen >= 0) {
      for (const done of this.#fillCache(messages, frozen, tokensAtOnce)) {
        const total = messages.length;
        yield { phase: "encoding", done, total, fraction: work.encoding * done / total };
      }
    }
    const optimizer = new AdamW(this.unfreeze(pieces), { rate, weightDecay });
    const perEpoch = Math.max(1, Math.floor(train / batchSize)), steps = epochs * perEpoch;
    for (let step = 0; step < steps;) {
      const order = shuffled(train, random);
      for (let start = 0; start < perEpoch * batchSize; start += batchSize) {
        const batch = order.slice(start, start + batchSize);
        const logits = this.#logitsAt(batch, messages, frozen);
        const loss = crossEntropy(logits, batch.map(i => labels[i]));
        backward(loss);
        optimizer.step();
        step++;
        const fraction = work.encoding + work.training * step / steps;
        yield { phase, step, steps, loss: loss.data[0], fraction };
      }
      const validation = yield* this.#accuracy(texts, train, train + texts.validation, frozen);
      const fraction = work.encoding + work.training * step / steps;
      yield { phase, step, steps, validation, fraction };
    }
    const test = yield* this.#accuracy(texts, train + texts.validation, messages.length, frozen);
    yield { phase, step: steps, steps, test, fraction: 1 };
  }

  /** Returns about what fraction of the time the frozen blocks and the training take. */
  #work({ messages, train }, frozen, epochs) {
    const count = messages => messages.reduce((sum, ids) => sum + ids.length, 0);
    const inner = Math.max(0, this.layers - 1 - Math.max(0, frozen)); // trained, or passed through
    const last = frozen < this.layers ? 1 : 0; // most of it is computed for one token alone
    const encoding = Math.max(0, frozen) * count(messages.slice(this.cache.vectors.length));
    const training = 1 + epochs * count(messages.slice(0, train)) * (3 * inner + last);
    const sum = encoding + training;
    return { encoding: encoding / sum, training: training / sum };
  }

  /** Returns the accuracy on the messages from `start` to the one before `end`. */
  *#accuracy({ messages, labels }, start, end, frozen) {
    let correct = 0;
    for (let first = start; first < end; first += 8) {
      const part = Array.from({ length: Math.min(8, end - first) }, (_, i) => first + i);
      softmax(this.#logitsAt(part, messages, frozen)).forEach((row, i) => {
        correct += row.indexOf(Math.max(...row)) === labels[part[i]];
      });
      yield null;
    }
    return correct / (end - start);
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
