// The search page: looks into SEARCH_INDEX (searchindex.js, by booksite_search.py).
"use strict";

const MOST_RESULTS = 40;
const STOP_WORDS = new Set(
  "a an and are as at be by for from how i in is it its my of on or so that the to was what when why with".split(" "),
);

const normal = (text) => text.normalize("NFKC").toLowerCase().replace(/\s+/g, " ").trim();

// Words are found by their beginning: "drops" finds "drop", "dropped", "dropping".
function stem(word) {
  if (/\d/.test(word) || word.length < 4) return word;
  const short = word.replace(/(?:ies|ing|ed|([sxz]|ch|sh)es|([^s])s)$/, "$1$2");
  return short.length < 3 ? word : short;
}

// Where a word begins; Safari before 16.4 knows no lookbehind.
let BEGINNING = "(?<![\\p{L}\\p{N}])";
try { RegExp(BEGINNING, "u"); } catch { BEGINNING = "\\b"; }

// The terms of a query, each as a pattern. Chinese is written without spaces, so
// a run of it is found wherever it stands; one that stands nowhere, by its pairs.
function termsOf(query) {
  const found = normal(query).match(/\p{Script=Han}+|(?:(?!\p{Script=Han})[\p{L}\p{N}_.-])*(?!\p{Script=Han})[\p{L}\p{N}_]/gu) ?? [];
  const words = found.flatMap((word) =>
    !/\p{Script=Han}{3}/u.test(word) || SECTIONS.some(({ title, names, text }) => [title, ...names, text].some((part) => part.includes(word)))
      ? [word] : [...word].slice(1).map((letter, index) => word[index] + letter));
  const chosen = words.filter((word) => !STOP_WORDS.has(word));
  return (chosen.length ? chosen : words).map((word) => {
    const letters = stem(word).replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
    return new RegExp(/\p{Script=Han}/u.test(word) ? letters : `${BEGINNING}${letters}\\p{L}*`, "giu");
  });
}

const has = (text, term) => text.search(term) >= 0;

// How well a section answers: the number of terms in it, then a score.
function rate(section, query, terms) {
  const { page, title, names, text } = section;
  let matched = 0;
  let score = 0;
  for (const term of terms) {
    const points =
      (has(title, term) ? 10 : 0) + (names.some((name) => has(name, term)) ? 6 : 0) +
      Math.min(4, (text.match(term) ?? []).length);
    if (points || has(page, term)) matched += 1;
    score += points + (has(page, term) ? 2 : 0);
  }
  const all = (part) => terms.every((term) => has(part, term));
  if (all(title)) score += 45;
  if (names.some(all)) score += 40;
  if (normal(title).includes(query)) score += 10;
  if (normal(text).includes(query)) score += 5;
  // The glossary's entries come first: they have Chinese names as well.
  if ([title, ...names].some((name) => normal(name) === query)) score += names.length ? 150 : 100;
  return { section, matched, score };
}

function search(words) {
  const query = normal(words);
  const terms = termsOf(query);
  if (!terms.length) return { terms, results: [] };
  const rated = SECTIONS.map((section) => rate(section, query, terms));
  // All terms have to be there; if they are nowhere together, most of them.
  const most = Math.max(...rated.map(({ matched }) => matched));
  const results = most < terms.length / 2 ? [] : rated.filter(({ matched, score }) => score && matched === most);
  // A Chinese name finds what is written about its English term, too.
  for (const { section } of results.filter(({ score }) => score > 100)) {
    if (!/\p{Script=Han}/u.test(query)) break;
    const english = termsOf(section.title);
    for (const other of SECTIONS.map((part) => rate(part, normal(section.title), english))) {
      const known = results.some((result) => result.section === other.section);
      if (other.matched === english.length && other.score >= 10 && !known) {
        results.push({ ...other, score: other.score / 100 });
        if (!terms.some((term) => term.source === english[0].source)) terms.push(...english);
      }
    }
  }
  results.sort((one, other) => other.score - one.score);
  return { terms, results };
}

// The words around the first place where a term stands; the terms are marked.
function excerpt({ names, text }, terms) {
  const named = names.find((name) => terms.filter((term) => has(name, term)).length > terms.length / 2);
  const source = named ? `${named}. ${text}` : text;
  const first = Math.min(...terms.map((term) => source.search(term)).filter((place) => place >= 0));
  const space = source.indexOf(" ", first - 60);
  const start = first < 60 || first === Infinity ? 0 : space >= 0 && space < first ? space + 1 : first - 30;
  const part = source.slice(start, start + 220);
  const box = document.createElement("p");
  box.className = "context";
  box.append(start ? "…" : "");
  const marks = terms.flatMap((term) => [...part.matchAll(term)].map((hit) => [hit.index, hit[0].length]));
  let end = 0;
  for (const [place, length] of marks.sort((one, other) => one[0] - other[0])) {
    if (place < end) continue;
    const mark = document.createElement("mark");
    mark.textContent = part.slice(place, place + length);
    box.append(part.slice(end, place), mark);
    end = place + length;
  }
  box.append(part.slice(end), start + 220 < source.length ? "…" : "");
  return box;
}

function show(words) {
  const { terms, results } = search(words);
  const list = document.createElement("ul");
  list.className = "search";
  for (const { section } of results.slice(0, MOST_RESULTS)) {
    const link = document.createElement("a");
    link.href = section.link;
    link.textContent = section.title === section.page ? section.page : `${section.page} › ${section.title}`;
    const item = document.createElement("li");
    item.append(link, excerpt(section, terms));
    list.append(item);
  }
  document.getElementById("search-results").replaceChildren(list);
  document.getElementById("search-progress").textContent =
    (results.length === 0 ? _("Nothing found for “{words}”.", { words })
    : results.length === 1 ? _("Found in 1 section.")
    : _("Found in {n} sections.", { n: results.length }))
    + (results.length > MOST_RESULTS ? _(" These are the best {n}.", { n: MOST_RESULTS }) : "");
}

const SECTIONS = SEARCH_INDEX.flatMap(([link, page, sections]) =>
  sections.map(([anchor, title, names, text], index) => ({
    link: index ? `${link}#${anchor}` : link, page, title, names, text,
  })),
);

const words = new URLSearchParams(location.search).get("q")?.trim();
if (words) {
  for (const input of document.querySelectorAll("input[name=q]")) input.value = words;
  show(words);
}
