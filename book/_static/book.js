// What the pages do beyond showing text. Everything works without it, too.
"use strict";

const root = document.documentElement;
const _ = (text, values) =>  // in the page's language; a {name} stands for a value
  (window.WORDS?.[text] ?? text).replace(/\{(\w+)\}/g, (place, name) => values[name]);
const systemIsDark = matchMedia("(prefers-color-scheme: dark)");
const hasDark = CSS.supports("color", "light-dark(#000, #fff)");
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : systemIsDark.matches);

// Light and dark. A choice that agrees with the system is forgotten again.
const themeButton = document.querySelector("button.theme");

function showTheme() {
  const media = { dark: "all", light: "not all" }[root.dataset.theme];
  for (const source of document.querySelectorAll("picture > source")) {
    const wanted = media ?? "(prefers-color-scheme: dark)";
    if (source.media !== wanted) source.media = wanted;  // it chooses anew when set
  }
  themeButton.querySelector("span").textContent = isDark() ? _("Light") : _("Dark");
}

themeButton.hidden = !hasDark;
if (!hasDark) root.dataset.theme = "light";
themeButton.addEventListener("click", () => {
  const chosen = isDark() ? "light" : "dark";
  root.dataset.theme = (chosen === "dark") === systemIsDark.matches ? "" : chosen;
  try { localStorage.setItem("pytorch-by-hand-theme", root.dataset.theme); } catch { /* not kept */ }
  showTheme();
});
systemIsDark.addEventListener("change", showTheme);
let onScreen;  // while it prints, for paper is light
// Another tab may have chosen, or another page before the reader came back to this one.
function followChoice() {
  let chosen;
  try { chosen = localStorage.getItem("pytorch-by-hand-theme") ?? ""; } catch { return; }
  if (onScreen !== undefined) onScreen = chosen;
  else if (hasDark) root.dataset.theme = chosen;
  showTheme();
}
addEventListener("storage", followChoice);
addEventListener("pageshow", (event) => event.persisted && followChoice());
addEventListener("beforeprint", () => {
  onScreen = root.dataset.theme ?? "";
  root.dataset.theme = "light";
  showTheme();
});
addEventListener("afterprint", () => {
  root.dataset.theme = onScreen ?? "";
  onScreen = undefined;
  showTheme();
});
showTheme();

// A box that scrolls sideways can be reached with the keyboard; others are no stop.
const boxes = new ResizeObserver((entries) => {
  const wide = entries.map(({ target }) => target.scrollWidth > target.clientWidth);
  entries.forEach(({ target }, index) => {
    if (wide[index]) target.tabIndex = 0;
    else target.removeAttribute("tabindex");
  });
});
for (const box of document.querySelectorAll("pre, .scroll, .math, .cell_output")) {
  boxes.observe(box);
}

// Code can be copied, where book.css shows the button.
const canHover = matchMedia("(hover: hover)").matches;
for (const code of canHover ? document.querySelectorAll("main div.highlight") : []) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = _("Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(code.querySelector("pre").textContent);
      button.textContent = _("Copied");
    } catch {
      button.textContent = _("Not allowed");
    }
    setTimeout(() => { button.textContent = _("Copy"); }, 2000);
  });
  code.append(button);
}

// The page in the other language opens at the section that is being read.
document.querySelector("a.language")?.addEventListener("click", ({ currentTarget }) => {
  const read = [...document.querySelectorAll("main section[id]")].filter(
    (section) => section.getBoundingClientRect().top < innerHeight / 3,
  );
  const stays = scrollY === 0 || location.hash.includes("=");  // a run, with its settings
  currentTarget.hash = stays ? location.hash : read.at(-1)?.id ?? "";
  currentTarget.search = location.search;
});

// On a phone the table of contents closes when it has been used.
const contents = document.getElementById("contents");
contents.addEventListener("click", (event) => {
  if (!contents.hidePopover || !event.target.closest("a")) return;
  if (contents.matches(":popover-open")) contents.hidePopover();
});

// In a long table of contents the open chapter is in view.
function showHere() {
  contents.querySelector("li.current > a")?.scrollIntoView({ block: "nearest" });
}
if (matchMedia("(min-width: 70rem)").matches) showHere();  // else it is closed
contents.addEventListener("toggle", showHere);

// What the address names, also where a lone % in it stands for nothing.
function named() {
  const name = location.hash.slice(1);
  try { return decodeURIComponent(name); } catch { return name; }
}

// A link can lead into a fold, or to a section that has moved to another page.
function arrive() {
  const place = document.getElementById(named());
  const { moved } = document.body.dataset;
  if (!place && moved && location.hash) location.replace(moved + location.hash);
  const first = place?.querySelector(":scope > details.optional") ?? place;
  for (let fold = first?.closest("details"); fold; fold = fold.parentElement.closest("details")) {
    if (fold.open) continue;
    fold.open = true;
    place.scrollIntoView();
  }
}
addEventListener("hashchange", arrive);
arrive();

// Explorers (helpers/interactive.py): the controls choose one of the frames.
function showFrame(explorer) {
  let number = 0;
  for (const control of explorer.querySelectorAll(".slider input, .choice")) {
    const labels = control.dataset.labels?.split("|") ?? [...control.querySelectorAll("input")];
    const chosen = labels.findIndex((label, index) => label.checked ?? index === Number(control.value));
    number = number * labels.length + chosen;
    if (!control.dataset.labels) continue;
    control.setAttribute("aria-valuetext", labels[chosen]);
    control.nextElementSibling.textContent = labels[chosen];
  }
  const frames = [...explorer.querySelectorAll(".frame")];
  frames.forEach((frame, index) => { frame.hidden = index !== number; });
  const says = explorer.querySelector(".says");  // a frame that is text speaks for itself
  const text = frames[number].querySelector("img")?.alt;
  if (says && says.textContent !== text) says.textContent = text;
}

for (const explorer of document.querySelectorAll("form.explorer")) {
  const controls = explorer.querySelector(".controls");
  if (!controls) continue;
  controls.hidden = false;
  explorer.addEventListener("input", () => showFrame(explorer));
  explorer.addEventListener("submit", (event) => event.preventDefault());
  // All frames are fetched when the reader is about to move, and not before.
  const fetchAll = () => {
    for (const image of explorer.querySelectorAll("img")) image.loading = "eager";
  };
  for (const event of ["pointerenter", "focusin"]) {
    explorer.addEventListener(event, fetchAll, { once: true });
  }
  showFrame(explorer);
}
