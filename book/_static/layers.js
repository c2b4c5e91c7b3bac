// The layers of "Draw a digit" and "Train a network" in plain JavaScript. Functions
// that do what PyTorch does have its names, and the first axis is the batch.
"use strict";

// A tensor is its shape and its values, one after the other, the last axis first. What
// a layer returns also knows how to go back: backward(grad) takes the gradient of the
// loss for each value, adds to the gradients of the layer's parameters, and hands on to
// what the layer was given.

function tensor(shape, values) {
  const length = shape.reduce((product, side) => product * side, 1);
  return { shape, values: values ?? new Float32Array(length) };
}

/** A tensor that is learned: it has a gradient, to which backward() adds. */
function parameter(shape, values) {
  const made = tensor(shape, values);
  return { ...made, grad: new Float32Array(made.values.length) };
}

function bytes(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

/** Weigh all inputs, once for every output: x @ weight.T + bias.
 *
 * Most numbers of a row are its lowest: paper, or what ReLU has made zero. They share
 * one product, and only those that stand out of it are multiplied one by one.
 */
function linear(x, weight, bias) {
  const outputs = weight.shape[0], inputs = weight.values.length / outputs;
  const rows = x.values.length / inputs;
  const sparse = x.sparse ??= standOut(x.values, rows, inputs); // images may come again
  const out = tensor([rows, outputs], weigh(sparse, weight.values, bias.values));
  out.backward = (grad) => {
    addGradients(sparse, grad, weight.grad, bias.grad);
    if (x.backward) x.backward(goBack(grad, weight.values, rows, inputs));
  };
  return out;
}

/** Find each row's lowest number, and where and by how much others stand out of it. */
function standOut(values, rows, length) {
  const lowest = new Float32Array(rows), starts = new Int32Array(rows + 1);
  const places = new Int32Array(values.length), heights = new Float32Array(values.length);
  let found = 0;
  for (let row = 0; row < rows; row++) {
    const first = row * length;
    let low = values[first];
    for (let i = first; i < first + length; i++) if (values[i] < low) low = values[i];
    for (let i = 0; i < length; i++) {
      if (values[first + i] === low) continue;
      places[found] = i;
      heights[found++] = values[first + i] - low;
    }
    lowest[row] = low;
    starts[row + 1] = found;
  }
  return { rows, lowest, starts, places, heights };
}

function weigh({ rows, lowest, starts, places, heights }, weight, bias) {
  const outputs = bias.length, inputs = weight.length / outputs;
  const out = new Float32Array(rows * outputs);
  for (let o = 0; o < outputs; o += 4) {
    // Four outputs at a time: a processor adds up four sums as fast as one.
    const [a, b, c, d] = [0, 1, 2, 3].map((j) => Math.min(o + j, outputs - 1));
    const wa = a * inputs, wb = b * inputs, wc = c * inputs, wd = d * inputs;
    let allA = 0, allB = 0, allC = 0, allD = 0;
    for (let i = 0; i < inputs; i++) {
      allA += weight[wa + i];
      allB += weight[wb + i];
      allC += weight[wc + i];
      allD += weight[wd + i];
    }
    for (let row = 0; row < rows; row++) {
      const low = lowest[row], end = starts[row + 1];
      let sumA = bias[a] + low * allA, sumB = bias[b] + low * allB;
      let sumC = bias[c] + low * allC, sumD = bias[d] + low * allD;
      for (let k = starts[row]; k < end; k++) {
        const i = places[k], height = heights[k];
        sumA += weight[wa + i] * height;
        sumB += weight[wb + i] * height;
        sumC += weight[wc + i] * height;
        sumD += weight[wd + i] * height;
      }
      out[row * outputs + a] = sumA;
      out[row * outputs + b] = sumB;
      out[row * outputs + c] = sumC;
      out[row * outputs + d] = sumD;
    }
  }
  return out;
}

/** Add to weight.grad and bias.grad: grad.T @ x, and the sum over the batch. */
function addGradients({ rows, lowest, starts, places, heights }, grad, weight, bias) {
  const outputs = bias.length, inputs = weight.length / outputs;
  for (let o = 0; o < outputs; o++) {
    const first = o * inputs;
    let all = 0;
    for (let row = 0; row < rows; row++) {
      const g = grad[row * outputs + o], end = starts[row + 1];
      if (g === 0) continue; // as for half of what ReLU was given
      bias[o] += g;
      all += g * lowest[row];
      for (let k = starts[row]; k < end; k++) weight[first + places[k]] += g * heights[k];
    }
    if (all !== 0) for (let i = first; i < first + inputs; i++) weight[i] += all;
  }
}

/** The gradient for a layer's inputs: grad @ weight. */
function goBack(grad, weight, rows, inputs) {
  const outputs = grad.length / rows, back = new Float32Array(rows * inputs);
  for (let row = 0; row < rows; row++) {
    for (let o = 0; o < outputs; o++) {
      const g = grad[row * outputs + o], to = row * inputs, from = o * inputs;
      for (let i = 0; i < inputs; i++) back[to + i] += g * weight[from + i];
    }
  }
  return back;
}

/** Slide each kernel over the images: (batch, in, height, width) to (batch, out, …).
 *
 * It is a linear layer that looks at one window after the other. The first layer of a
 * network can learn; a gradient for what comes before it is not computed.
 */
function conv2d(x, weight, bias, stride = 1) {
  const [batch, , height, width] = x.shape;
  const [channels, , size] = weight.shape; // kernels are square
  const rows = Math.floor((height - size) / stride) + 1;
  const columns = Math.floor((width - size) / stride) + 1;
  const places = rows * columns;
  const windows = linear(unfold(x, size, stride, rows, columns), weight, bias);
  const out = tensor([batch, channels, rows, columns],
    swapAxes(windows.values, places, channels));
  out.backward = (grad) => windows.backward(swapAxes(grad, channels, places));
  return out;
}

/** Turn (batch, a, b) into (batch, b, a). */
function swapAxes(values, a, b) {
  const out = new Float32Array(values.length);
  for (let first = 0, next = 0; first < values.length; first += a * b) {
    for (let j = 0; j < b; j++) {
      for (let i = 0; i < a; i++) out[next++] = values[first + i * b + j];
    }
  }
  return out;
}

/** Lay the windows that a kernel sees side by side: (batch · place, in · size · size). */
function unfold(x, size, stride, rows, columns) {
  const [batch, channels, height, width] = x.shape;
  const out = tensor([batch * rows * columns, channels * size * size]);
  let next = 0;
  for (let n = 0; n < batch; n++) {
    for (let top = 0; top < rows * stride; top += stride) {
      for (let left = 0; left < columns * stride; left += stride) {
        for (let c = 0; c < channels; c++) {
          for (let y = top; y < top + size; y++) {
            const row = ((n * channels + c) * height + y) * width + left;
            for (let i = row; i < row + size; i++) out.values[next++] = x.values[i];
          }
        }
      }
    }
  }
  return out;
}

/** Keep the largest number of every square of `size` by `size`. Learns nothing here. */
function max_pool2d(x, size) {
  const [batch, channels, height, width] = x.shape;
  const rows = Math.floor(height / size), columns = Math.floor(width / size);
  const maps = tensor([batch * channels, 1, height, width], x.values);
  const squares = unfold(maps, size, size, rows, columns).values, length = size * size;
  const out = tensor([batch, channels, rows, columns]);
  out.values.forEach((_, i) => {
    out.values[i] = Math.max(...squares.subarray(i * length, (i + 1) * length));
  });
  return out;
}

/** Replace what is below zero by zero. There no gradient comes through. */
function relu(x) {
  const out = tensor(x.shape, x.values.map((value) => (value < 0 ? 0 : value)));
  out.backward = (grad) => x.backward(grad.map((g, i) => (out.values[i] > 0 ? g : 0)));
  return out;
}

/** The logarithms of probabilities. Taking the largest logit off avoids overflow. */
function log_softmax(logits) {
  const out = tensor(logits.shape), classes = logits.shape.at(-1);
  for (let first = 0; first < out.values.length; first += classes) {
    const row = logits.values.subarray(first, first + classes);
    const largest = Math.max(...row);
    const sum = row.reduce((total, logit) => total + Math.exp(logit - largest), 0);
    row.forEach((logit, i) => { out.values[first + i] = logit - largest - Math.log(sum); });
  }
  return out;
}

/** Turn logits into probabilities. */
function softmax(logits) {
  return tensor(logits.shape, log_softmax(logits).values.map(Math.exp));
}

/** The mean of -ln p of the right classes, and the way back from it. */
function cross_entropy(logits, labels) {
  const [batch, classes] = logits.shape, logs = log_softmax(logits).values;
  const right = labels.map((label, n) => n * classes + label);
  return {
    item: () => -right.reduce((sum, place) => sum + logs[place], 0) / batch,
    backward() {
      const grad = logs.map(Math.exp); // (probabilities - one-hot labels) / batch
      for (const place of right) grad[place] -= 1;
      logits.backward(grad.map((g) => g / batch));
    },
  };
}

// Pictures of numbers, and scripts that wait until they are needed ---------------

const GRAY = { below: [0, 0, 0], zero: [0, 0, 0], above: [255, 255, 255] };
const largestOf = (values) => values.reduce((most, v) => Math.max(most, Math.abs(v)), 0);

/** Read the colors of a key, which follow light and dark. */
function keyColors(key) {
  const parts = (color) => color.match(/[\d.]+/g).map(Number); // of "rgb(1, 2, 3)"
  return Object.fromEntries(["below", "zero", "above"].map((name) => [
    name, parts(getComputedStyle(key.querySelector(`.${name}`)).backgroundColor)]));
}

/** Paint numbers pixel by pixel: zero plain, the largest in full color. */
function paint(canvas, values, width, largest, { below, zero, above }) {
  const height = values.length / width;
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const image = new ImageData(width, height);
  for (let i = 0; i < values.length; i++) {
    const full = values[i] < 0 ? below : above;
    const share = Math.abs(values[i]) / (largest || 1);
    for (let c = 0; c < 3; c++) {
      image.data[4 * i + c] = zero[c] + share * (full[c] - zero[c]);
    }
    image.data[4 * i + 3] = 255;
  }
  flat(canvas).putImageData(image, 0, 0);
}

/** The context of a small picture, which a graphics card would only slow down. */
const flat = (canvas) => canvas.getContext("2d", { willReadFrequently: true });

/** Call `change` when the page turns light or dark. */
function onThemeChange(change) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", change);
  new MutationObserver(change)
    .observe(document.documentElement, { attributeFilter: ["data-theme"] });
}

/** Load a script; from a folder, a page may not fetch anything else. */
function load(address) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    Object.assign(script, { src: address, onload: resolve, onerror: reject });
    document.head.append(script);
  });
}
