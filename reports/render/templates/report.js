"use strict";
// Sort a table by a column: numbers by value, text by letters, empty cells always last.
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const head = button.parentElement, body = head.closest("table").tBodies[0], index = head.cellIndex;
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const value = (row) => row.cells[index].dataset.value;
    const order = (a, b) => {
      const x = value(a), y = value(b);
      if (x === "" || y === "") return (x === "") - (y === "");
      const byNumber = Number(x) - Number(y);
      return (Number.isNaN(byNumber) ? x.localeCompare(y) : byNumber) * (down ? -1 : 1);
    };
    body.append(...[...body.rows].sort(order));
  });
}
// Show the rows of every table that hold all the words searched for; a row also matches by its run ids.
const rows = [...document.querySelectorAll("section.table tbody tr")].map((row) => {
  const ids = [...row.querySelectorAll("[data-runs]")].map((link) => link.dataset.runs);
  return [row, [row.textContent, ...ids].join(" ").toLowerCase()];
});
document.getElementById("search").addEventListener("input", (event) => {
  const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const [row, text] of rows) {
    row.hidden = !words.every((word) => text.includes(word));
    count += row.hidden ? 0 : 1;
  }
  document.getElementById("found").textContent = words.length ? `${count} of ${rows.length} rows` : "Every number links to its runs.";
});
// A number that is a mean over several runs opens the list of them; without this script it leads to the first.
const panel = document.getElementById("runs");
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-runs]");
  panel.hidden = true;
  const ids = link ? link.dataset.runs.split(" ") : [];
  if (ids.length < 2) return;
  event.preventDefault();
  panel.replaceChildren(...ids.map((id) => {
    const entry = document.createElement("a");
    entry.href = link.getAttribute("href").replace(/[^/]*$/, id);
    entry.textContent = `run ${id}`;
    return entry;
  }));
  panel.hidden = false;
  const box = link.getBoundingClientRect();
  const left = Math.min(box.left, document.documentElement.clientWidth - panel.offsetWidth - 12);
  panel.style.left = `${Math.max(8, left) + window.scrollX}px`;
  panel.style.top = `${box.bottom + 6 + window.scrollY}px`;
});
document.addEventListener("keydown", (event) => { if (event.key === "Escape") panel.hidden = true; });
