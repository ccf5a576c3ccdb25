// Figures: the text and runs of a point on hover and focus, arrow keys from point to point, and one configuration
// highlighted in every figure and table.
const points = [...document.querySelectorAll(".point")];
for (const point of points) {
  const title = point.querySelector("title"); // would show the browser's own tooltip as well
  point.setAttribute("aria-label", title.textContent);
  title.remove();
  point.setAttribute("tabindex", point.previousElementSibling ? "-1" : "0"); // Tab enters a figure once
}
const hover = document.body.appendChild(document.createElement("div"));
hover.id = "hover";
hover.hidden = true;
hover.setAttribute("aria-hidden", "true"); // the point's own label says the same
const MOST_IDS = 6;
function showPoint(point) {
  const ids = point.dataset.runs?.split(" ") ?? [];
  const others = ids.length + left(point) - MOST_IDS;
  const more = others > 0 ? ` and ${others} more` : "";
  const small = document.createElement("small");
  small.textContent = ids.length ? `runs ${ids.slice(0, MOST_IDS).map((id) => id.slice(0, 8)).join(", ")}${more}` : "";
  hover.replaceChildren(point.getAttribute("aria-label"), small);
  hover.hidden = false;
  place(hover, point.querySelector("path"));
}
for (const [enter, leave] of [["pointerover", "pointerout"], ["focusin", "focusout"]]) {
  document.addEventListener(enter, (event) => {
    const point = event.target.closest?.(".point");
    if (point) showPoint(point);
  });
  document.addEventListener(leave, (event) => { if (event.target.closest?.(".point")) hover.hidden = true; });
}
const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
document.addEventListener("keydown", (event) => {
  const point = document.activeElement?.closest(".point"), step = STEPS[event.key];
  if (event.key === "Escape") {
    panel.hidden = hover.hidden = true;
    pick("");
  } else if (point && step) {
    const all = [...point.parentElement.children];
    const next = all[(all.indexOf(point) + step + all.length) % all.length];
    point.setAttribute("tabindex", "-1");
    next.setAttribute("tabindex", "0");
    next.focus();
    event.preventDefault();
  }
});
const bar = document.body.appendChild(document.createElement("div"));
bar.id = "picked";
bar.hidden = true;
bar.setAttribute("role", "status");
const clear = document.createElement("button");
clear.type = "button";
clear.textContent = "Clear";
clear.addEventListener("click", () => pick(""));
function pick(key) {
  picked = key;
  const own = points.filter((point) => point.dataset.configuration);
  for (const element of [...own, ...document.querySelectorAll("tr[data-configuration]")]) {
    element.classList.toggle("picked", key !== "" && element.dataset.configuration === key);
  }
  bar.hidden = key === "";
  if (bar.hidden) return;
  const figures = new Set(own.map((point) => point.closest("figure")));
  const showing = new Set(own.filter((point) => point.classList.contains("picked")).map((point) => point.closest("figure")));
  bar.replaceChildren(`Configuration ${key}: in ${showing.size} of ${figures.size} figures`, clear);
}
document.addEventListener("click", (event) => {
  const point = event.target.closest(".point[data-configuration]");
  const row = event.target.closest("tr[data-configuration]");
  if (point) pick(point.dataset.configuration);
  else if (row && !event.target.closest("a, button") && !String(getSelection())) {
    pick(row.dataset.configuration === picked ? "" : row.dataset.configuration);
  }
});
// A link to a configuration picks it and shows its row, also where that is on a later page of its table.
function follow() {
  const id = decodeURIComponent(location.hash.slice(1)), table = tables.find((one) => one.section.id === "table-configurations");
  const row = id.startsWith("configuration-") ? table?.rows().find((one) => one.id === id) : null;
  if (!row) return;
  table.reveal(row);
  pick(row.dataset.configuration);
}
addEventListener("hashchange", follow);
document.addEventListener("click", (event) => {
  const link = event.target.closest('a[href^="#configuration-"]');
  if (link && link.getAttribute("href") === location.hash) follow();
});
follow();
