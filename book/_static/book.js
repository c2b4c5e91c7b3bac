// What the pages do beyond showing text. Everything works without it, too.
"use strict";

const root = document.documentElement;
const systemIsDark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : systemIsDark.matches);

// Light and dark. A choice that agrees with the system is forgotten again.
const themeButton = document.querySelector("button.theme");

function showTheme() {
  const media = { dark: "all", light: "not all" }[root.dataset.theme];
  for (const source of document.querySelectorAll("picture > source")) {
    source.media = media ?? "(prefers-color-scheme: dark)";
  }
  themeButton.querySelector("span").textContent = isDark() ? "Light" : "Dark";
}

themeButton.hidden = false;
themeButton.addEventListener("click", () => {
  const chosen = isDark() ? "light" : "dark";
  root.dataset.theme = (chosen === "dark") === systemIsDark.matches ? "" : chosen;
  try { localStorage.setItem("theme", root.dataset.theme); } catch { /* not kept */ }
  showTheme();
});
systemIsDark.addEventListener("change", showTheme);
showTheme();

// A box that scrolls sideways can be reached with the keyboard; others are no stop.
const boxes = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
    else target.removeAttribute("tabindex");
  }
});
for (const box of document.querySelectorAll("pre, .scroll, .math, .cell_output")) {
  boxes.observe(box);
}

// Code can be copied.
for (const code of document.querySelectorAll("main div.highlight")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(code.querySelector("pre").textContent);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not allowed";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  code.append(button);
}

// On a phone the table of contents closes when it has been used.
const contents = document.getElementById("contents");
contents.addEventListener("click", (event) => {
  if (event.target.closest("a") && contents.matches(":popover-open")) contents.hidePopover();
});

// In a long table of contents the open chapter is in view.
contents.querySelector("li.current > a")?.scrollIntoView({ block: "nearest" });
