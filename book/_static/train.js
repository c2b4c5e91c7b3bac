// "Train a network": the training loop of chapter 5 in plain JavaScript, and the page
// around it. DIGITS, some digits of MNIST, comes from train-digits.js, which the build
// writes and which is loaded when training starts. The layers are in layers.js.
"use strict";

// All that this script says. What stands still is in the template.
const TEXT = {
  start: _("Start"), pause: _("Pause"),
  loading: _("Loading the digits …"),
  failed: _("The digits could not be loaded."),
  fresh: _("A new network, which has seen no digit yet."),
  started: _("It learns."),
  set: (title) => _("Ready for “{title}”. Make your prediction, then press Start.", { title }),
  changed: (name, before, after) => `${name}${_(": ")}${before} → ${after}`,
  at: (examples, text) => _("After {examples} digits: {text}", { examples, text }),
  rests: (loss, accuracy) => _("test loss {loss}, test accuracy {accuracy}.", { loss, accuracy }),
  lost: _("the loss is no number any more. No step can mend that: press Reset."),
  steps: (steps, epochs) => (steps === "1" ? _("1 step, {epochs} times through the training digits.", { epochs })
    : _("{steps} steps, {epochs} times through the training digits.", { steps, epochs })),
  step: (loss, norm) => _("The last step: loss of its batch {loss}, gradient norm {norm}.", { loss, norm }),
  weights: (low, high) => _("From {low} to {high}.", { low, high }),
  silent: (silent, count) => _(" Silent for all test digits (pale): {silent} of {count}.", { silent, count }),
  reads: (digit, share) => _("{digit}, {share}", { digit, share }),
  notKnowing: _("ln 10: not knowing"),
  seen: (examples) => _("{examples} training digits seen", { examples }),
};

// Learning (chapter 5) ------------------------------------------------------------

/** Random numbers from 0 to 1 that follow from a seed (Mulberry32). */
function generator(seed) {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The numbers below `length` in a random order. */
function randperm(length, random) {
  const order = Uint32Array.from({ length }, (_, i) => i);
  for (let i = length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

/** The network: its parameters by their names in state_dict(), and its forward pass. */
class Network {
  constructor({ net, hidden }, random) {
    const layers = {
      linear: { fc: [10, 784] },
      hidden: { fc1: [hidden, 784], fc2: [10, hidden] },
      convolution: { conv: [8, 1, 5, 5], fc: [10, 8 * 12 * 12] },
    }[net];
    this.net = net;
    this.state = {};
    for (const [name, shape] of Object.entries(layers)) {
      const inputs = shape.slice(1).reduce((product, side) => product * side);
      for (const [kind, sides] of [["weight", shape], ["bias", shape.slice(0, 1)]]) {
        const made = parameter(sides);
        // As PyTorch begins: evenly from -1 / sqrt(inputs) to 1 / sqrt(inputs).
        made.values.forEach((_, i) => { made.values[i] = (2 * random() - 1) / Math.sqrt(inputs); });
        this.state[`${name}.${kind}`] = made;
      }
    }
  }

  parameters() {
    return Object.values(this.state);
  }

  forward(images) {
    const parts = (name) => [this.state[`${name}.weight`], this.state[`${name}.bias`]];
    if (this.net === "linear") return linear(images, ...parts("fc"));
    if (this.net === "hidden") {
      this.active = relu(linear(images, ...parts("fc1")));
      return linear(this.active, ...parts("fc2"));
    }
    this.active = relu(conv2d(images, ...parts("conv"), 2));
    return linear(this.active, ...parts("fc"));
  }
}

/** Gradient descent with momentum and weight decay, as torch.optim.SGD has them. */
class SGD {
  constructor(parameters) {
    this.parameters = parameters;
    this.velocities = parameters.map(({ values }) => new Float32Array(values.length));
  }

  zero_grad() {
    for (const { grad } of this.parameters) grad.fill(0);
  }

  step({ lr, momentum, decay }) {
    this.parameters.forEach(({ values, grad }, p) => {
      const velocity = this.velocities[p];
      for (let i = 0; i < values.length; i++) {
        velocity[i] = momentum * velocity[i] + grad[i] + decay * values[i];
        values[i] -= lr * velocity[i];
      }
      if (!momentum) velocity.fill(0); // nothing is kept until there is momentum
    });
  }
}

/** One step on one batch: the five lines of chapter 5. Returns the batch's loss. */
function train_step(model, images, labels, loss_fn, optimizer, settings) {
  const logits = model.forward(images); // 1. predict
  const loss = loss_fn(logits, labels); // 2. measure the error
  optimizer.zero_grad(); // 3. forget the old gradients
  loss.backward(); // 4. compute the new gradients
  optimizer.step(settings); // 5. adjust the parameters
  return loss.item();
}

/** The length of all gradients together, as one vector. */
function gradient_norm(parameters) {
  let sum = 0;
  for (const { grad } of parameters) for (const g of grad) sum += g * g;
  return Math.sqrt(sum);
}

// The digits ----------------------------------------------------------------------

/** Unpack DIGITS: two pixels a byte, of 16 gray levels each; training digits first. */
async function unpack({ pixels, labels, train }) {
  const packed = new Blob([bytes(pixels)]).stream();
  const stream = packed.pipeThrough(new DecompressionStream("deflate"));
  const pairs = new Uint8Array(await new Response(stream).arrayBuffer());
  const levels = new Uint8Array(2 * pairs.length);
  pairs.forEach((pair, i) => levels.set([pair >> 4, pair & 15], 2 * i));
  const random = generator(0);
  const wrong = []; // for each digit when its label is wrong, and which it is then
  const right = Array.from(labels, Number);
  for (const label of right) {
    wrong.push([random(), (label + 1 + Math.floor(9 * random())) % 10]);
  }
  return { levels, right, wrong, train };
}

/** Put digits into a batch: their pixels as the network is to get them, their labels.
 *
 * Only training digits have wrong labels: a test that lies would measure nothing.
 */
function collate(digits, indices, { pixels, wrong }) {
  const prepare = {
    normalized: (level) => (level / 15 - DIGITS.mean) / DIGITS.std,
    unit: (level) => level / 15,
    raw: (level) => 17 * level,
  }[pixels];
  const values = Float32Array.from({ length: 16 }, (_, level) => prepare(level));
  const images = tensor([indices.length, 1, 28, 28]), { levels } = digits;
  let next = 0;
  for (const index of indices) {
    for (let i = 784 * index; i < 784 * (index + 1); i++) images.values[next++] = values[levels[i]];
  }
  const labels = Array.from(indices, (index) => {
    const [chance, other] = digits.wrong[index];
    return index < digits.train && chance < wrong / 100 ? other : digits.right[index];
  });
  return { images, labels };
}

/** The digits to measure on, in pieces: 1,000 for training, 1,000 for testing. */
function measuredBatches(digits, settings) {
  const key = `${settings.pixels} ${settings.wrong}`;
  if (digits.key !== key) { // they are put together once
    const pieces = (first) => Array.from({ length: 8 }, (_, piece) =>
      collate(digits, Array.from({ length: 125 }, (_, i) => first + 125 * piece + i), settings));
    Object.assign(digits, { key, training: pieces(0), test: pieces(digits.train) });
  }
  return digits;
}

/** A network while it learns: what it has seen, and what was measured. */
class Training {
  constructor(digits, settings) {
    this.digits = digits;
    this.settings = settings; // the page's own: a change takes effect at the next step
    this.random = generator(settings.seed);
    this.model = new Network(settings, this.random);
    this.optimizer = new SGD(this.model.parameters());
    Object.assign(this, { steps: 0, examples: 0, order: [], next: 0, history: [], changes: [] });
  }

  /** Take the next digits, in a new order each time through, and learn from them. */
  step() {
    const { digits, settings } = this;
    if (this.next >= this.order.length) {
      this.order = randperm(digits.train, this.random);
      this.next = 0;
    }
    const indices = this.order.subarray(this.next, this.next + settings.batch);
    this.next += indices.length;
    const { images, labels } = collate(digits, indices, settings);
    this.loss = train_step(this.model, images, labels, cross_entropy, this.optimizer, settings);
    this.steps++;
    this.examples += indices.length;
  }

  /** Measure loss and accuracy, piece by piece. */
  *measure() {
    const batches = measuredBatches(this.digits, this.settings);
    const point = { examples: this.examples };
    const matrix = Array.from({ length: 10 }, () => Array(10).fill(0));
    let awake;
    for (const kind of ["training", "test"]) {
      let total = 0, correct = 0;
      for (const { images, labels } of batches[kind]) {
        const logits = this.model.forward(images);
        total += 125 * cross_entropy(logits, labels).item();
        labels.forEach((label, n) => {
          const row = logits.values.subarray(10 * n, 10 * n + 10);
          const said = row.indexOf(Math.max(...row)); // argmax; none among NaN
          correct += said === label;
          if (kind === "test" && said >= 0) matrix[label][said]++;
        });
        if (kind === "test") awake = this.findAwake(awake);
        yield;
      }
      point[kind] = { loss: total / 1000, accuracy: correct / 1000 };
    }
    this.history.push(point);
    Object.assign(this, { matrix, awake });
  }

  /** Note which hidden units (of a convolution, which filters) answered at all. */
  findAwake(awake) {
    if (!this.model.active) return null;
    const { shape: [batch, units], values } = this.model.active;
    const size = values.length / batch / units;
    const found = awake ?? Array(units).fill(false);
    values.forEach((value, i) => { if (value > 0) found[Math.floor(i / size) % units] = true; });
    return found;
  }

  /** Learn without end, and measure: often at first and after a change, then less. */
  *learn() {
    for (;;) {
      const since = this.examples - (this.changes.at(-1)?.examples ?? 0);
      const last = this.history.at(-1)?.examples ?? -Infinity;
      if (this.examples - last >= Math.min(Math.max(320, since / 4), 6400)) yield* this.measure();
      this.step();
      yield;
    }
  }
}

// Settings ------------------------------------------------------------------------

const START = {
  net: "hidden", hidden: 32, seed: 1, lr: 0.1, batch: 32,
  momentum: 0, decay: 0, wrong: 0, pixels: "normalized",
};
const decades = (from, to, digits) => Array.from({ length: to - from }, (_, power) =>
  digits.map((digit) => Number(`${digit}e${from + power}`))).flat();
const CHOICES = { // what the controls go through
  __proto__: null, // a link may name anything
  net: ["linear", "hidden", "convolution"],
  hidden: [8, 16, 24, 32, 48, 64, 96, 128],
  lr: [...decades(-4, 1, [1, 1.5, 2, 3, 5, 7]), 10],
  batch: [1, 2, 4, 8, 16, 32, 64, 128, 256],
  momentum: [0, 0.5, 0.8, 0.9, 0.95, 0.99],
  decay: [0, ...decades(-5, -1, [1, 3]), 0.1],
  wrong: [0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50],
  pixels: ["normalized", "unit", "raw"],
  seed: [0, 2 ** 31 - 1],
};

/** The settings that a link names, as lr=0.5&seed=3; what makes no sense is left out. */
function settingsFrom(link) {
  const settings = { ...START };
  for (const [key, text] of new URLSearchParams(link)) {
    const choices = CHOICES[key] ?? [], value = Number(text);
    const sound = Number.isInteger(value) || !choices.every(Number.isInteger);
    if (choices.includes(text)) settings[key] = text;
    else if (sound && value >= choices[0] && value <= choices.at(-1)) settings[key] = value;
  }
  return settings;
}

// The page ------------------------------------------------------------------------

{
  const find = (id) => document.getElementById(id);
  const lab = find("lab");
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const SLICE = 12; // milliseconds of a frame for learning; the rest is for drawing

  const settings = { ...START };
  let training, work, digits, samples; // work: what training does next, in pieces
  let running = false, request; // request: the next frame

  const number = (value, digits) =>
    value.toLocaleString(root.lang, digits && { maximumSignificantDigits: digits });
  const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)}\u00a0%`;

  // A screen reader reads this line whenever it changes: only when the reader has
  // done something, or when all is lost.
  const say = (text) => { find("says").textContent = text; };

  // Settings: in the controls, and in the address

  const controls = Object.keys(START).map(find);

  function shown({ id, options }, value) {
    if (options) return options[CHOICES[id].indexOf(value)].text;
    return id === "wrong" ? `${value}\u00a0%` : String(value);
  }

  function showSettings() {
    for (const control of controls) {
      const value = settings[control.id], text = shown(control, value);
      control.value = value;
      if (control.type !== "range") continue;
      const distances = CHOICES[control.id].map((choice) => Math.abs(choice - value));
      control.value = distances.indexOf(Math.min(...distances));
      control.nextElementSibling.textContent = text;
      control.setAttribute("aria-valuetext", text);
    }
    find("hidden").disabled = settings.net !== "hidden";
  }

  function setUp(link) {
    Object.assign(settings, settingsFrom(link));
    showSettings();
    reset();
  }

  /** Set up what the address names: settings, or an experiment of this page. */
  function readAddress() {
    const anchor = named();
    const experiment = anchor && find(anchor)?.querySelector(":scope > .try [data-state]");
    if (experiment) {
      setUp(experiment.dataset.state);
      say(TEXT.set(experiment.dataset.title));
    } else if (anchor.includes("=")) setUp(anchor);
  }

  function writeAddress() {
    const changed = Object.keys(START).filter((key) => settings[key] !== START[key]);
    const hash = changed.map((key) => `${key}=${settings[key]}`).join("&");
    history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
  }

  lab.addEventListener("input", ({ target }) => {
    const { id, type, value } = target, before = settings[id];
    const chosen = type === "range" ? CHOICES[id][value] : value;
    const after = settingsFrom(`${id}=${chosen}`)[id];
    if (before === after || value === "") return;
    settings[id] = after;
    showSettings();
    if (["net", "hidden", "seed"].includes(id)) reset();
    else if (training.examples) mark(target, before);
  });
  lab.addEventListener("change", writeAddress);
  lab.addEventListener("submit", (event) => event.preventDefault());

  /** Mark a change in the curves; all steps of one pull at a slider are one change. */
  function mark(control, before) {
    const { changes, examples } = training;
    if (changes.at(-1)?.control !== control || examples - changes.at(-1).examples > 3200) {
      changes.push({ control, before: shown(control, before), examples });
    }
    const change = changes.at(-1), name = control.labels[0].textContent;
    change.text = TEXT.changed(name, change.before, shown(control, settings[control.id]));
    show(true);
  }

  // Start, pause, step, reset

  function reset() {
    pause();
    training = new Training(digits, settings);
    work = training.learn();
    say(TEXT.fresh);
    show(true);
  }

  function pause() {
    running = false;
    cancelAnimationFrame(request);
    find("start").textContent = TEXT.start;
  }

  /** Get the digits; false if that fails. */
  async function fetchDigits() {
    say(TEXT.loading);
    try {
      await load(lab.dataset.digits);
      digits = await unpack(DIGITS);
    } catch {
      say(TEXT.failed);
      return false;
    }
    training.digits = digits;
    samples = Array.from({ length: 10 }, (_, label) => digits.right.indexOf(label, digits.train));
    const { images } = collate(digits, samples, { pixels: "unit", wrong: 0 });
    lab.querySelectorAll("#ten canvas.image").forEach((canvas, i) =>
      paint(canvas, images.values.subarray(784 * i, 784 * (i + 1)), 28, 1, GRAY));
    return true;
  }

  /** Learn for a slice of every frame, and draw. */
  function frame() {
    const end = performance.now() + SLICE;
    while (performance.now() < end) work.next();
    if (Number.isNaN(training.loss)) stop();
    else request = requestAnimationFrame(frame);
    show();
  }

  /** Stand still, measured. */
  function stop() {
    pause();
    if (training.history.at(-1)?.examples !== training.examples) measure();
    work = training.learn();
    show(true);
    const { loss, accuracy } = training.history.at(-1).test;
    say(TEXT.at(number(training.examples), Number.isNaN(loss) ? TEXT.lost
      : TEXT.rests(number(loss, 3), percent(accuracy))));
  }

  const measure = () => { for (const _ of training.measure()); };

  /** Have a button do something, but not before the digits are there. */
  let loading = false;
  const onClick = (id, act) => find(id).addEventListener("click", async () => {
    if (digits) return act();
    if (loading) return;
    loading = true;
    if (await fetchDigits()) act();
    loading = false; // after a failure the reader may try again
  });
  onClick("start", () => {
    if (running) return stop();
    running = true;
    find("start").textContent = TEXT.pause;
    say(TEXT.started);
    request = requestAnimationFrame(frame);
  });
  onClick("step", () => {
    if (!training.history.length) measure();
    training.step();
    stop();
  });
  find("reset").addEventListener("click", reset);
  find("other").addEventListener("click", () => {
    settings.seed++;
    showSettings();
    writeAddress();
    reset();
  });
  for (const button of document.querySelectorAll("[data-state]")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      history.replaceState(null, "", `#${button.closest("section").id}`);
      readAddress();
      lab.scrollIntoView();
      find("start").focus({ preventScroll: true });
    });
  }

  // What is seen

  const color = (selector) => getComputedStyle(lab.querySelector(selector)).color;
  let colors, shownMatrix, shownAt;

  /** Show what has changed: the bars in every frame, the rest at a pace to be read. */
  function show(all = false) {
    const now = performance.now();
    if (running && !all && now - shownAt < (calm.matches ? 1000 : 150)) {
      if (digits && !calm.matches) showSamples(false);
      return;
    }
    shownAt = now;
    const { matrix } = training;
    if (digits) showSamples(true);
    showWeights();
    if (all || matrix !== shownMatrix) showMeasured(matrix);
    const { steps, examples, loss, changes } = training;
    find("steps").textContent = TEXT.steps(number(steps), number(examples / (digits?.train ?? 1), 3));
    find("last").textContent = steps
      ? TEXT.step(number(loss, 3), number(gradient_norm(training.model.parameters()), 3)) : "";
    find("changes").replaceChildren(...changes.map((change) =>
      Object.assign(document.createElement("li"),
        { textContent: TEXT.at(number(change.examples), change.text) })));
  }

  /** Show what a measurement has found: the curves, and the confusion matrix. */
  function showMeasured(matrix) {
    shownMatrix = matrix;
    for (const kind of ["loss", "accuracy"]) showCurve(kind);
    lab.querySelectorAll("#matrix td").forEach((cell, i) => {
      const row = matrix?.[Math.floor(i / 10)], count = row?.[i % 10];
      cell.textContent = count || "";
      cell.style.setProperty("--share", row ? count / row.reduce((sum, n) => sum + n) : 0);
    });
  }

  /** Draw the first layer's weights as pictures, side by side; silent ones are pale. */
  function showWeights() {
    const { model: { state }, awake } = training;
    const [{ shape: [count], values }] = Object.values(state);
    const side = Math.sqrt(values.length / count);
    const columns = count === 10 ? 5 : count > 32 ? 16 : 8;
    const width = columns * (side + 1) - 1, rows = Math.ceil(count / columns);
    const picture = new Float32Array(width * (rows * (side + 1) - 1));
    for (let row = 0; row < count * side; row++) { // each row of each picture
      const unit = Math.floor(row / side), pale = awake && !awake[unit] ? 0.2 : 1;
      const top = Math.floor(unit / columns) * (side + 1) + row % side;
      const first = top * width + (unit % columns) * (side + 1);
      for (let x = 0; x < side; x++) picture[first + x] = pale * values[row * side + x];
    }
    paint(find("weights"), picture, width, largestOf(values), colors);
    const [low, high] = values.reduce(([l, h], v) => [Math.min(l, v), Math.max(h, v)], [0, 0]);
    find("range").textContent = TEXT.weights(number(low, 3), number(high, 3))
      + (awake ? TEXT.silent(awake.filter((one) => !one).length, count) : "");
  }

  /** Ten test digits: a bar for each probability, and what the network reads. */
  function showSamples(write) {
    const probabilities = softmax(training.model.forward(collate(digits, samples, settings).images));
    const [bar, best] = [color("#ten"), color(".key-test")];
    lab.querySelectorAll("#ten canvas.shares").forEach((canvas, i) => {
      const row = probabilities.values.subarray(10 * i, 10 * i + 10);
      const largest = row.indexOf(Math.max(...row)), context = flat(canvas);
      context.clearRect(0, 0, canvas.width, canvas.height);
      row.forEach((share, digit) => {
        context.fillStyle = digit === largest ? best : bar;
        context.fillRect(8 * digit + 1, canvas.height * (1 - share), 6, canvas.height * share);
      });
      if (write) canvas.nextElementSibling.textContent = largest < 0 ? "" : TEXT.reads(largest, percent(row[largest], 0));
    });
  }

  /** Draw one curve for training digits and one for test digits. */
  function showCurve(kind) {
    const canvas = find(kind), context = flat(canvas), { history, changes } = training;
    const width = canvas.clientWidth, height = canvas.clientHeight, zoom = devicePixelRatio;
    Object.assign(canvas, { width: width * zoom, height: height * zoom });
    context.scale(zoom, zoom);
    // Places: losses on a logarithmic scale, as far as they reach.
    const log = kind === "loss", scale = log ? Math.log10 : (value) => value;
    const values = history.flatMap((point) => [point.training[kind], point.test[kind]]);
    const positive = values.filter((value) => value > 0 && value < Infinity);
    const low = log ? Math.floor(scale(Math.min(0.9, ...positive))) : 0;
    const high = log ? Math.ceil(scale(Math.max(3, ...positive))) : 1;
    const seen = Math.max(training.examples, 1000), bottom = height - 22;
    const x = (examples) => 44 + (width - 60) * examples / seen;
    const y = (value) => bottom - (bottom - 12) * (scale(value) - low) / (high - low);
    const ink = color(".curves");
    const line = (points, style, lineWidth, pattern = []) => {
      Object.assign(context, { strokeStyle: style, lineWidth });
      context.setLineDash(pattern);
      context.beginPath();
      for (const point of points) context.lineTo(...point);
      context.stroke();
    };
    const write = (text, left, base, textAlign = "left") => {
      Object.assign(context, { fillStyle: ink, textAlign });
      context.fillText(text, left, base);
    };
    context.font = `12px ${getComputedStyle(canvas).fontFamily}`;
    for (const tick of log ? decades(low, high + 1, [1]) : [0, 0.25, 0.5, 0.75, 1]) {
      write(log ? String(tick) : `${100 * tick}\u00a0%`, 38, y(tick) + 4, "right");
      line([[x(0), y(tick)], [x(seen), y(tick)]], ink, 0.25);
    }
    write("0", x(0), height - 5);
    write(TEXT.seen(number(seen)), x(seen), height - 5, "right");
    if (log) {
      line([[x(0), y(Math.LN10)], [x(seen), y(Math.LN10)]], ink, 1, [2, 4]);
      write(TEXT.notKnowing, x(0) + 4, y(Math.LN10) - 5);
    }
    changes.forEach(({ examples }, i) => {
      line([[x(examples), 10], [x(examples), bottom]], ink, 1, [4, 3]);
      write(i + 1, x(examples) + 3, 18);
    });
    for (const set of ["training", "test"]) {
      const points = history.map((point) => [x(point.examples), y(Math.max(point[set][kind], 1e-9))]);
      line(points, color(`.key-${set}`), 2);
      const last = history.at(-1)?.[set][kind] ?? "";
      canvas.parentElement.querySelector(`.key-${set} b`).textContent =
        last === "" || !log ? last && percent(last) : number(last, 3);
    }
  }

  function changeColors() {
    colors = keyColors(lab);
    show(true);
  }

  lab.removeAttribute("hidden"); // lab.hidden is the slider of that name
  colors = keyColors(lab);
  setUp("");
  readAddress();
  addEventListener("hashchange", readAddress);
  onThemeChange(changeColors);
  new ResizeObserver(() => show(true)).observe(lab);
}
