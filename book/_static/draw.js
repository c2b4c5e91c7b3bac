// "Draw a digit": the network of chapter 5 in plain JavaScript, and the page around
// it. Functions that do what a chapter does have its names; the layers are in layers.js.
// NETWORK, the trained network, comes from draw-network.js, which the build writes.
"use strict";

// All that this script says. What stands still is in the templates.
const TEXT = {
  empty: _("The field is empty. Draw a digit, or choose one."),
  nothing: _("There is no drawing to save."),
  says: _("The network says "),
  sure: (share, next, nextShare) => _(", {share}; next {next}, {nextShare}.", { share, next, nextShare }),
  over: _("over "), under: _("under "),
  chosen: (sample) => _("Test digit {index}, a {label}. ", sample),
  stop: (steps, last) =>
    _("{steps} steps", { steps: steps.toLocaleString(root.lang) }) + (last ? _(", the end") : ""),
  early: (steps) => _("After {steps} steps of training.", { steps }),
  range: (low, high) => _("Here from {low} to {high}.", { low, high }),
};

/** Turn the parameters from text into tensors, under the names of state_dict(). */
function load_state_dict(weights) {
  const state = {};
  for (const [name, { shape, values }] of Object.entries(weights)) {
    state[name] = tensor(shape, new Float32Array(bytes(values).buffer));
  }
  return state;
}

/** DropoutNet.forward in evaluation mode, in which dropout does nothing. One image. */
function forward(state, image) {
  const out = {};
  out.conv1 = conv2d(image, state["conv1.weight"], state["conv1.bias"]);
  out.pool1 = relu(max_pool2d(out.conv1, 2));
  out.conv2 = conv2d(out.pool1, state["conv2.weight"], state["conv2.bias"]);
  out.pool2 = relu(max_pool2d(out.conv2, 2)); // its values are flat already
  out.fc1 = relu(linear(out.pool2, state["fc1.weight"], state["fc1.bias"]));
  out.logits = linear(out.fc1, state["fc2.weight"], state["fc2.bias"]);
  out.probabilities = softmax(out.logits);
  return out;
}

/** Shift and stretch as the training images were: mean 0, standard deviation 1. */
function normalize(pixels, mean, std) {
  return tensor(pixels.shape, pixels.values.map((value) => (value - mean) / std));
}

// Preparation (chapter 7) -------------------------------------------------------
// A picture here is { height, width, values }: ink in [0, 1], paper 0. The steps
// are those of helpers.data.prepare_digit, which has more of them, for photographs.

/** Cut away the empty rows and columns around the ink; null if there is none. */
function crop({ height, width, values }) {
  let top = height, bottom = -1, left = width, right = -1;
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      if (values[i] <= 0.1) continue;
      top = Math.min(top, y);
      bottom = y;
      left = Math.min(left, x);
      right = Math.max(right, x);
    }
  }
  if (bottom < 0) return null;
  const out = { height: bottom - top + 1, width: right - left + 1 };
  out.values = new Float32Array(out.height * out.width);
  for (let y = 0; y < out.height; y++) {
    const start = (top + y) * width + left;
    out.values.set(values.subarray(start, start + out.width), y * out.width);
  }
  return out;
}

/** Scale the longer side to `side` pixels, in proportion. */
function scale(ink, side) {
  const factor = side / Math.max(ink.height, ink.width);
  const height = Math.max(1, roundToEven(ink.height * factor));
  const width = Math.max(1, roundToEven(ink.width * factor));
  return transpose(shrink(transpose(shrink(ink, width)), height));
}

/** Make rows shorter: each new pixel is the mean of those whose centers lie in it.
 *
 * Whether a center on the edge between two counts for one or the other is a matter
 * of rounding. So the arithmetic is that of Pillow's BOX, to the letter.
 */
function shrink({ height, width, values }, newWidth) {
  const out = new Float32Array(height * newWidth);
  const step = width / newWidth;
  for (let x = 0; x < newWidth; x++) {
    const middle = (x + 0.5) * step;
    const place = (i) => (i - middle + 0.5) * (1 / step); // within it: -0.5 to 0.5
    let first = Math.trunc(middle - 0.5 * step + 0.5);
    let end = Math.min(Math.trunc(middle + 0.5 * step + 0.5), width);
    if (place(first) <= -0.5) first++;
    if (place(end - 1) > 0.5) end--;
    for (let y = 0; y < height; y++) {
      let sum = 0;
      for (let i = first; i < end; i++) sum += values[y * width + i];
      out[y * newWidth + x] = sum / (end - first);
    }
  }
  return { height, width: newWidth, values: out };
}

function transpose({ height, width, values }) {
  const out = new Float32Array(values.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) out[x * height + y] = values[y * width + x];
  }
  return { height: width, width: height, values: out };
}

/** Round as Python does: a half goes to the even number. */
function roundToEven(number) {
  const floor = Math.floor(number);
  if (number - floor !== 0.5) return Math.round(number);
  return floor % 2 ? floor + 1 : floor;
}

/** Place the digit in a field of 28 by 28, its center of mass in the middle. */
function center({ height, width, values }) {
  const rows = new Float64Array(height), columns = new Float64Array(width);
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      rows[y] += values[i];
      columns[x] += values[i];
    }
  }
  const [top, left] = [rows, columns].map((mass) => {
    let sum = 0, moment = 0;
    mass.forEach((m, i) => { sum += m; moment += m * (i + 0.5); });
    return Math.min(Math.max(roundToEven(14.5 - moment / sum), 0), 28 - mass.length);
  });
  const field = tensor([1, 1, 28, 28]);
  for (let y = 0; y < height; y++) {
    field.values.set(values.subarray(y * width, (y + 1) * width), (top + y) * 28 + left);
  }
  return field;
}

/** From a picture to a digit as MNIST has them, (1, 1, 28, 28); null for empty paper. */
function prepare_digit(picture) {
  const ink = crop(picture);
  return ink && center(scale(ink, 20));
}

// The pen -----------------------------------------------------------------------
// A drawing is a list of strokes, a stroke a list of points [x, y] in a square
// field of 400 by 400.

const FIELD = 400;
const PEN = 26;
const MARGIN = 40; // of the picture around the field, for a pen wider than PEN

/** Draw strokes as smooth lines: curves through the middles between the points. */
function drawStrokes(context, strokes, pen) {
  context.lineWidth = pen;
  context.lineCap = context.lineJoin = "round";
  for (const points of strokes) {
    context.beginPath();
    context.moveTo(...points[0]);
    for (let i = 1; i < points.length - 1; i++) {
      const [x, y] = points[i], [nextX, nextY] = points[i + 1];
      context.quadraticCurveTo(x, y, (x + nextX) / 2, (y + nextY) / 2);
    }
    const [x, y] = points.at(-1);
    context.lineTo(x + 0.01, y); // even one point alone is a line, and leaves a dot
    context.stroke();
  }
}

/** How wide a pen must be for a drawing of this size to get strokes as in MNIST.
 *
 * They are about 2.5 of 20 pixels wide there. Without this, a large drawing would
 * get thin strokes, and the loops of a small one would fill with ink.
 */
function penFor(strokes, share = 2.5 / 20) {
  const points = strokes.flat();
  const size = (axis) => {
    const places = points.map((point) => point[axis]);
    return Math.max(...places) - Math.min(...places);
  };
  // The picture is as large as the line's way plus one pen.
  const pen = share / (1 - share) * Math.max(size(0), size(1));
  return Math.max(pen, 20); // a dot must not be enlarged later
}

// The page ----------------------------------------------------------------------

{
  const find = (id) => document.getElementById(id);
  const drawing = find("drawing"), seen = find("seen"), verdict = find("verdict");
  const radios = [...document.querySelectorAll("input[name=sample]")];
  const slider = find("stop"), network = find("network");
  const trained = load_state_dict(NETWORK.weights);
  let state = trained;
  let early = ""; // what to say of a network that has not learned to the end
  let more; // the script with other networks, when it is asked for

  // What is shown: a drawing or, while that is empty, a test digit or nothing.
  let strokes = [];
  let sample = null;

  const picture = document.createElement("canvas"); // what a PNG file would hold
  picture.width = picture.height = FIELD + 2 * MARGIN;
  const paper = picture.getContext("2d", { willReadFrequently: true });
  const values = new Float32Array(picture.width * picture.height); // the ink in it

  /** Draw the strokes black on white, as the preparation expects, and read the ink. */
  function readInk() {
    paper.setTransform(1, 0, 0, 1, 0, 0);
    paper.fillStyle = "white";
    paper.fillRect(0, 0, picture.width, picture.height);
    paper.translate(MARGIN, MARGIN);
    if (strokes.length) drawStrokes(paper, strokes, penFor(strokes));
    const { width, height, data } = paper.getImageData(0, 0, picture.width, picture.height);
    for (let i = 0; i < values.length; i++) values[i] = 1 - data[4 * i] / 255;
    return { width, height, values };
  }

  function samplePixels({ pixels }) {
    return tensor([1, 1, 28, 28], Float32Array.from(bytes(pixels), (level) => level / 255));
  }

  // Pictures of numbers

  let colors; // of the key below the heading; they follow light and dark
  let ink;

  /** Show a layer's maps, all on one scale, and the range of their numbers. */
  function showMaps(name, { shape, values }) {
    const canvases = document.querySelectorAll(`#${name} canvas`);
    const size = values.length / canvases.length;
    const width = shape.length > 2 ? shape.at(-1) : size;
    const largest = largestOf(values);
    canvases.forEach((canvas, i) => {
      const map = values.subarray(i * size, (i + 1) * size);
      paint(canvas, map, width, largest, colors);
    });
    const range = document.querySelector(`#${name} .range`);
    range.textContent = TEXT.range(number(Math.min(...values)), number(Math.max(...values)));
  }

  function number(value) {
    const rounded = Math.round(10 * value) / 10 || 0; // not minus zero
    return rounded.toFixed(1).replace("-", "\u2212");
  }

  function percent(probability, over, under) {
    if (probability >= 0.995) return `${over}99\u00a0%`;
    if (probability < 0.005) return `${under}1\u00a0%`;
    return `${Math.round(100 * probability)}\u00a0%`;
  }

  /** Fill a table of ten bars. Each bar begins where the number zero is. */
  function showBars(id, values, texts) {
    const low = Math.min(0, ...values), span = Math.max(0, ...values) - low || 1;
    const best = values.indexOf(Math.max(...values));
    document.querySelectorAll(`#${id} tr`).forEach((row, i) => {
      const bar = row.querySelector(".bar span");
      bar.style.left = `${100 * (Math.min(values[i], 0) - low) / span}%`;
      bar.style.width = `${100 * Math.abs(values[i]) / span}%`;
      row.lastElementChild.textContent = texts[i];
      row.classList.toggle("best", texts[i] !== "" && i === best);
      row.classList.toggle("below", values[i] < 0);
    });
  }

  function showDrawing() {
    const context = drawing.getContext("2d");
    const zoom = drawing.width / FIELD;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, drawing.width, drawing.height);
    context.strokeStyle = `rgb(${ink})`;
    if (sample) {
      // The pixels themselves, in the ink's color.
      const image = new ImageData(28, 28);
      bytes(sample.pixels).forEach((level, i) => image.data.set([...ink, level], 4 * i));
      const small = document.createElement("canvas");
      small.width = small.height = 28;
      small.getContext("2d").putImageData(image, 0, 0);
      context.imageSmoothingEnabled = false;
      context.drawImage(small, 0, 0, drawing.width, drawing.height);
    }
    context.scale(zoom, zoom);
    drawStrokes(context, strokes, PEN);
  }

  /** Everything on the page that follows from the drawing. */
  function show() {
    showDrawing();
    const pixels = sample ? samplePixels(sample) : prepare_digit(readInk());
    paint(seen, pixels?.values ?? new Float32Array(784), 28, 1, GRAY);
    const image = normalize(pixels ?? tensor([1, 1, 28, 28]), NETWORK.mean, NETWORK.std);
    const out = forward(state, image);
    for (const name of ["conv1", "pool1", "conv2", "pool2", "fc1"]) showMaps(name, out[name]);
    showBars("logits", [...out.logits.values], Array.from(out.logits.values, number));
    // The network would answer for an empty field, too. Nobody has asked it, though.
    const probabilities = [...out.probabilities.values];
    showBars("probabilities", pixels ? probabilities : Array(10).fill(0),
      probabilities.map((p) => (pixels ? percent(p, "> ", "< ") : "")));
    announce(...(pixels ? answer(probabilities) : [TEXT.empty]));
  }

  /** Say which digit it is, how surely, and what comes next; and what was chosen. */
  function answer(probabilities) {
    const order = [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a]);
    const [first, next] = order.map((digit) => percent(probabilities[digit], TEXT.over, TEXT.under));
    const strong = document.createElement("strong");
    strong.textContent = order[0];
    const small = document.createElement("small");
    small.textContent = (sample ? TEXT.chosen(sample) : "") + early;
    return [TEXT.says, strong, TEXT.sure(first, order[1], next), small];
  }

  // A screen reader reads this line whenever it changes: wait until the pen rests.
  let waiting;
  function announce(...content) {
    clearTimeout(waiting);
    waiting = setTimeout(() => verdict.replaceChildren(...content), 250);
  }

  // However many moves of the pen arrive, the page is computed once a frame.
  let scheduled = false;
  function change() {
    if (scheduled) return;
    scheduled = true;
    requestAnimationFrame(() => { scheduled = false; show(); });
  }

  function choose(chosen) {
    sample = chosen;
    strokes = [];
    radios.forEach((radio, i) => { radio.checked = NETWORK.samples[i] === sample; });
    change();
  }

  // Drawing

  let pointer = null, stroke; // the one that draws; a palm that follows does not

  function place({ clientX, clientY }) {
    const box = drawing.getBoundingClientRect();
    const inField = (share) => Math.min(Math.max(share, 0), 1) * FIELD;
    return [inField((clientX - box.left) / box.width), inField((clientY - box.top) / box.height)];
  }

  drawing.addEventListener("pointerdown", (event) => {
    if (pointer !== null || event.button !== 0) return;
    pointer = event.pointerId;
    drawing.setPointerCapture(pointer);
    if (sample) choose(null);
    strokes.push(stroke = [place(event)]);
    change();
  });
  drawing.addEventListener("pointermove", (event) => {
    if (event.pointerId !== pointer) return;
    // Between two frames a pen may have been in several places.
    const events = event.getCoalescedEvents?.() ?? [];
    stroke.push(...(events.length ? events : [event]).map(place));
    change();
  });
  for (const type of ["pointerup", "pointercancel", "lostpointercapture"]) {
    drawing.addEventListener(type, (event) => {
      if (event.pointerId === pointer) pointer = null;
    });
  }

  find("undo").addEventListener("click", () => {
    if (sample) choose(null);
    strokes.pop();
    change();
  });
  find("clear").addEventListener("click", () => choose(null));
  find("save").addEventListener("click", () => {
    if (!strokes.length) {
      announce(TEXT.nothing);
      return;
    }
    readInk();
    picture.toBlob((blob) => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob);
      link.download = "my-digit.png";
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    });
  });

  for (const button of document.querySelectorAll("[data-strokes]")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      choose(null);
      strokes = button.dataset.strokes.split(";").map((stroke) =>
        stroke.trim().split(" ").map((point) => point.split(",").map(Number)));
      find("pad").scrollIntoView();
    });
  }

  // The network: trained, or as it was on the way, or another one

  async function changeNetwork() {
    const other = network?.selectedIndex > 0 && network.value;
    const steps = NETWORK.stops[slider.value], last = steps === NETWORK.stops.at(-1);
    slider.disabled = Boolean(other);
    slider.nextElementSibling.textContent = TEXT.stop(steps, last);
    slider.setAttribute("aria-valuetext", TEXT.stop(steps, last));
    if ((other || !last) && typeof MORE === "undefined") {
      more ??= load(slider.dataset.more);
      await more;
      return changeNetwork(); // the slider may be elsewhere by now
    }
    early = other || last ? "" : TEXT.early(steps);
    state = other || !last ? load_state_dict(MORE[other || steps]) : trained;
    showMaps("kernels", state["conv1.weight"]);
    change();
  }
  slider.addEventListener("input", changeNetwork);
  network?.addEventListener("input", changeNetwork);

  // Test digits

  radios.forEach((radio, i) => {
    const chosen = NETWORK.samples[i];
    radio.addEventListener("change", () => choose(chosen));
    const label = radio.labels[0];
    label.querySelector(".name").textContent = chosen.label;
    paint(label.querySelector("canvas"), samplePixels(chosen).values, 28, 1, GRAY);
  });
  find("misread").textContent = NETWORK.num_misread;

  // Light and dark

  function changeColors() {
    colors = keyColors(document.querySelector("#layers .key"));
    ink = getComputedStyle(drawing).color.match(/\d+/g).map(Number);
    showMaps("kernels", state["conv1.weight"]);
    show(); // at once, for a printer waits for no frame
  }

  onThemeChange(changeColors);

  // Show it all.

  for (const id of ["pad", "layers"]) find(id).hidden = false;
  changeColors();
  changeNetwork();
  choose(NETWORK.samples[2]);
}
