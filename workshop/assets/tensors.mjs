// Matrices of float32 numbers, the operations of GPT-2 on them, and their gradients.
//
// An operation returns a new tensor, which remembers its inputs and how to compute their gradients
// from its own. `backward` goes from the loss through all of them. What no trainable tensor is an
// input of remembers nothing.

/** A matrix: `data` holds its numbers row by row. */
export class Tensor {
  gradient = null; // of the loss, as many numbers as `data`
  inputs = [];
  passBack = null; // adds to the gradients of the inputs

  constructor(data, columns, isTrainable = false) {
    this.data = data;
    this.columns = columns;
    this.rows = data.length / columns;
    this.hasGradient = isTrainable;
  }

  addGradient(numbers) {
    if (!this.hasGradient) return;
    this.gradient ??= new Float32Array(this.data.length);
    for (let i = 0; i < numbers.length; i++) this.gradient[i] += numbers[i];
  }
}

/** Returns the result of an operation. `passBack` gets its gradient. */
function result(data, columns, inputs, passBack) {
  const made = new Tensor(data, columns, inputs.some(input => input.hasGradient));
  if (made.hasGradient) Object.assign(made, { inputs, passBack });
  return made;
}

/** Computes the gradient of `loss`, a single number, for all that it was computed from. */
export function backward(loss) {
  const order = [], visited = new Set();
  const visit = tensor => {
    if (visited.has(tensor)) return;
    visited.add(tensor);
    tensor.inputs.forEach(visit);
    order.push(tensor); // after all that it was computed from
  };
  visit(loss);
  loss.gradient = new Float32Array([1]);
  for (const tensor of order.reverse()) tensor.passBack?.(tensor.gradient);
}

// --- the product of two matrices -----------------------------------------------------------------

let memory, kernel;

/** Makes `multiply` ready. `bytes` are those of product.wat as WebAssembly. Throws an error where
 * the browser has no WebAssembly with SIMD. */
export async function startKernel(bytes) {
  if (!globalThis.WebAssembly?.validate(bytes)) {
    throw new Error("This browser has no WebAssembly with SIMD, which the model needs.");
  }
  const { instance } = await WebAssembly.instantiate(bytes);
  memory = instance.exports.memory;
  kernel = instance.exports.product;
}

const upTo = (number, multiple) => Math.ceil(number / multiple) * multiple;

/** Returns b (k, m) in panels of 8 columns, as product.wat asks for; with `turned` it is (m, k). */
function inPanels(b, k, m, turned) {
  const panels = new Float32Array(k * upTo(m, 8)), [down, right] = turned ? [1, k] : [m, 1];
  for (let column = 0, at = 0; column < m; column += 8) {
    const width = Math.min(8, m - column);
    for (let j = 0; j < k; j++, at += 8) {
      const from = j * down + column * right;
      for (let i = 0; i < width; i++) panels[at + i] = b[from + i * right];
    }
  }
  return panels;
}

/** Returns a (k, n) as (n, k). */
export function transpose(a, k, n) {
  const turned = new Float32Array(a.length);
  for (let j = 0; j < k; j++) for (let i = 0; i < n; i++) turned[i * k + j] = a[j * n + i];
  return turned;
}

/** Returns a (n, k) times a matrix (k, m) in panels. */
function multiply(a, panels, n, k, m) {
  const rows = upTo(n, 4), columns = upTo(m, 8); // what product.wat asks for
  const atPanels = rows * k, atProduct = atPanels + panels.length;
  const end = atProduct + rows * columns, missing = 4 * end - memory.buffer.byteLength;
  if (missing > 0) memory.grow(Math.ceil(missing / 65536));
  const numbers = new Float32Array(memory.buffer, 0, end);
  numbers.set(a);
  numbers.set(panels, atPanels);
  numbers.fill(0, atProduct);
  kernel(0, 4 * atPanels, 4 * atProduct, rows, k, columns);
  if (columns === m) return numbers.slice(atProduct, atProduct + n * m);
  const product = new Float32Array(n * m), wide = numbers.subarray(atProduct);
  for (let i = 0; i < n; i++) product.set(wide.subarray(i * columns, i * columns + m), i * m);
  return product;
}

const frozen = new WeakMap(); // weights that do not change → the same in panels

function panelsOf(weight) {
  if (frozen.has(weight)) return frozen.get(weight);
  const panels = inPanels(weight.data, weight.rows, weight.columns, false);
  if (!weight.hasGradient) frozen.set(weight, panels);
  return panels;
}

// --- operations ----------------------------------------------------------------------------------

/** Adds one row of numbers to each row of y. */
function addToRows(y, row) {
  for (let start = 0; start < y.length; start += row.length) {
    for (let i = 0; i < row.length; i++) y[start + i] += row[i];
  }
}

/** Returns x (n, k) times weight (k, m) plus bias (1, m). */
export function linear(x, weight, bias) {
  const { rows: n, columns: k } = x, m = weight.columns;
  const y = multiply(x.data, panelsOf(weight), n, k, m);
  addToRows(y, bias.data);
  return result(y, m, [x, weight, bias], gradient => {
    if (x.hasGradient) {
      x.addGradient(multiply(gradient, inPanels(weight.data, m, k, true), n, m, k));
    }
    if (weight.hasGradient) {
      const turned = transpose(x.data, n, k);
      weight.addGradient(multiply(turned, inPanels(gradient, n, m, false), k, n, m));
    }
    if (!bias.hasGradient) return;
    const sums = new Float32Array(m);
    for (let i = 0; i < gradient.length; i++) sums[i % m] += gradient[i];
    bias.addGradient(sums);
  });
}

export function add(x, y) {
  const sum = x.data.map((number, i) => number + y.data[i]);
  return result(sum, x.columns, [x, y], gradient => {
    x.addGradient(gradient);
    y.addGradient(gradient);
  });
}

/** Returns x with mean 0 and variance 1 in each row, times scale (1, d) plus shift (1, d). */
export function layerNorm(x, scale, shift) {
  const { rows: n, columns: d } = x;
  const y = new Float32Array(n * d), normal = new Float32Array(n * d);
  const factors = new Float32Array(n);
  for (let row = 0; row < n; row++) {
    const start = row * d;
    let mean = 0, variance = 0;
    for (let i = 0; i < d; i++) mean += x.data[start + i] / d;
    for (let i = 0; i < d; i++) variance += (x.data[start + i] - mean) ** 2 / d;
    factors[row] = 1 / Math.sqrt(variance + 1e-5);
    for (let i = 0; i < d; i++) {
      normal[start + i] = (x.data[start + i] - mean) * factors[row];
      y[start + i] = normal[start + i] * scale.data[i] + shift.data[i];
    }
  }
  return result(y, d, [x, scale, shift], gradient => {
    const ofX = new Float32Array(n * d);
    const ofScale = new Float32Array(d), ofShift = new Float32Array(d);
    for (let row = 0; row < n; row++) {
      const start = row * d;
      let sum = 0, sumWithNormal = 0;
      for (let i = 0; i < d; i++) {
        const g = gradient[start + i], ofNormal = g * scale.data[i];
        ofScale[i] += g * normal[start + i];
        ofShift[i] += g;
        sum += ofNormal / d;
        sumWithNormal += ofNormal * normal[start + i] / d;
      }
      for (let i = 0; i < d; i++) {
        const ofNormal = gradient[start + i] * scale.data[i];
        ofX[start + i] = factors[row] * (ofNormal - sum - normal[start + i] * sumWithNormal);
      }
    }
    x.addGradient(ofX);
    scale.addGradient(ofScale);
    shift.addGradient(ofShift);
  });
}

/** Returns tanh within 3e-7, four times as fast as Math.tanh: polynomials of the Eigen library. */
function tanh(x) {
  x = Math.max(-7.905311, Math.min(7.905311, x));
  const s = x * x;
  let above = -2.76076847742355e-16;
  above = above * s + 2.00018790482477e-13;
  above = above * s - 8.60467152213735e-11;
  above = above * s + 5.12229709037114e-8;
  above = above * s + 1.48572235717979e-5;
  above = above * s + 6.37261928875436e-4;
  above = above * s + 4.89352455891786e-3;
  let below = 1.19825839466702e-6;
  below = below * s + 1.18534705686654e-4;
  below = below * s + 2.268434632439e-3;
  below = below * s + 4.89352518554385e-3;
  return x * above / below;
}

/** Returns GELU of x, as GPT-2 computes it: with tanh. */
export function gelu(x) {
  const root = Math.sqrt(2 / Math.PI), y = new Float32Array(x.data.length);
  const curve = new Float32Array(y.length);
  for (let i = 0; i < y.length; i++) {
    const u = x.data[i];
    curve[i] = tanh(root * (u + 0.044715 * u * u * u));
    y[i] = 0.5 * u * (1 + curve[i]);
  }
  return result(y, x.columns, [x], gradient => {
    const ofX = new Float32Array(y.length);
    for (let i = 0; i < y.length; i++) {
      const u = x.data[i], slope = root * (1 + 3 * 0.044715 * u * u) * (1 - curve[i] ** 2);
      ofX[i] = gradient[i] * 0.5 * (1 + curve[i] + u * slope);
    }
    x.addGradient(ofX);
  });
}

/** Returns the rows of x at `indices`. */
export function takeRows(x, indices) {
  const d = x.columns, y = new Float32Array(indices.length * d);
  indices.forEach((index, i) => y.set(x.data.subarray(index * d, (index + 1) * d), i * d));
  return result(y, d, [x], gradient => {
    if (!x.hasGradient) return;
    x.gradient ??= new Float32Array(x.data.length); // only a few rows of it change
    indices.forEach((index, row) => {
      for (let i = 0; i < d; i++) x.gradient[index * d + i] += gradient[row * d + i];
    });
  });
}

/** Returns the output of causal attention, for messages of different lengths one after the other.
 *
 * `lengths` are their numbers of tokens. `keys` and `values` have a row for each token. `queries`
 * has a row for each token too, or one for each message, its last token's. `onWeights`, if given,
 * gets the attention weights of each query: message, head, weights. */
export function attention(queries, keys, values, heads, lengths, onWeights) {
  const d = queries.columns, size = d / heads, scale = 1 / Math.sqrt(size);
  const Q = queries.data, K = keys.data, V = values.data, y = new Float32Array(Q.length);
  const onlyLast = queries.rows === lengths.length;
  const needsGradient = [queries, keys, values].some(input => input.hasGradient);
  const spans = []; // where a query and its first key start, and the weights
  const buffer = new Float32Array(Math.max(...lengths));
  let first = 0, query = 0; // rows of keys, and of queries
  lengths.forEach((length, message) => {
    for (let token = onlyLast ? length - 1 : 0; token < length; token++, query++) {
      for (let head = 0; head < heads; head++) {
        const q = query * d + head * size, k = first * d + head * size;
        const weights = buffer.subarray(0, token + 1);
        attend(Q, K, V, q, k, size, d, scale, weights, y);
        onWeights?.(message, head, weights);
        if (needsGradient) spans.push({ q, k, weights: weights.slice() });
      }
    }
    first += length;
  });
  return result(y, d, [queries, keys, values], gradient => {
    const ofQ = new Float32Array(Q.length), ofK = new Float32Array(K.length);
    const ofV = new Float32Array(V.length);
    for (const { q, k, weights } of spans) {
      const ofWeights = new Float32Array(weights.length);
      let mean = 0;
      for (let j = 0; j < weights.length; j++) {
        for (let i = 0; i < size; i++) {
          ofWeights[j] += gradient[q + i] * V[k + j * d + i];
          ofV[k + j * d + i] += weights[j] * gradient[q + i];
        }
        mean += weights[j] * ofWeights[j];
      }
      for (let j = 0; j < weights.length; j++) {
        const ofScore = weights[j] * (ofWeights[j] - mean) * scale;
        for (let i = 0; i < size; i++) {
          ofQ[q + i] += ofScore * K[k + j * d + i];
          ofK[k + j * d + i] += ofScore * Q[q + i];
        }
      }
    }
    queries.addGradient(ofQ);
    keys.addGradient(ofK);
    values.addGradient(ofV);
  });
}

/** Fills `weights` with those of the query at q for the keys from k on, and adds the values, each
 * times its weight, to y. A query, a key and a value have `size` numbers, and d are from one key to
 * the next. */
function attend(Q, K, V, q, k, size, d, scale, weights, y) {
  let largest = -Infinity, sum = 0;
  for (let j = 0; j < weights.length; j++) {
    let score = 0;
    for (let i = 0, at = k + j * d; i < size; i++) score += Q[q + i] * K[at + i];
    weights[j] = score * scale;
    if (weights[j] > largest) largest = weights[j];
  }
  for (let j = 0; j < weights.length; j++) {
    weights[j] = Math.exp(weights[j] - largest);
    sum += weights[j];
  }
  for (let j = 0; j < weights.length; j++) {
    weights[j] /= sum;
    const weight = weights[j];
    for (let i = 0, at = k + j * d; i < size; i++) y[q + i] += weight * V[at + i];
  }
}

/** Returns the probabilities of each row of logits, as an array of arrays. */
export function softmax(logits) {
  const rows = [];
  for (let start = 0; start < logits.data.length; start += logits.columns) {
    const row = logits.data.subarray(start, start + logits.columns), largest = Math.max(...row);
    const powers = Array.from(row, number => Math.exp(number - largest));
    const sum = powers.reduce((a, b) => a + b);
    rows.push(powers.map(power => power / sum));
  }
  return rows;
}

/** Returns the mean cross-entropy of logits (n, classes) and n labels: a tensor of one number. */
export function crossEntropy(logits, labels) {
  const probabilities = softmax(logits), n = labels.length;
  let loss = 0;
  labels.forEach((label, i) => { loss -= Math.log(probabilities[i][label]) / n; });
  return result(new Float32Array([loss]), 1, [logits], gradient => {
    const ofLogits = probabilities.flatMap((row, i) =>
      row.map((p, label) => gradient[0] * (p - (label === labels[i])) / n));
    logits.addGradient(ofLogits);
  });
}

/** One step of AdamW, in place (Loshchilov and Hutter 2019). */
export class AdamW {
  steps = 0;

  constructor(parameters, { rate, weightDecay, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8 }) {
    Object.assign(this, { rate, weightDecay, beta1, beta2, epsilon });
    this.moments = parameters.map(parameter => [parameter, parameter.data.slice().fill(0),
      parameter.data.slice().fill(0)]);
  }

  step() {
    const { rate, weightDecay, beta1, beta2, epsilon } = this;
    this.steps++;
    const stepSize = rate / (1 - beta1 ** this.steps);
    const correction = 1 / Math.sqrt(1 - beta2 ** this.steps);
    for (const [parameter, first, second] of this.moments) {
      const { data, gradient } = parameter;
      for (let i = 0; i < data.length; i++) {
        first[i] = beta1 * first[i] + (1 - beta1) * gradient[i];
        second[i] = beta2 * second[i] + (1 - beta2) * gradient[i] ** 2;
        const size = Math.sqrt(second[i]) * correction + epsilon;
        data[i] -= rate * weightDecay * data[i] + stepSize * first[i] / size;
      }
      parameter.gradient = null;
    }
  }
}
