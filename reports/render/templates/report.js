"use strict";
// Tables: a page of rows at a time, sorted by a column, and only those that hold the words searched for.
const PAGE = 50;
const MOST_IN_PRINT = 400;
const numbers = new Intl.NumberFormat("en");
class PagedTable {
  constructor(section) {
    this.section = section;
    this.body = section.querySelector("tbody");
    this.rest = section.querySelector("script.rows");
    this.built = [...this.body.rows];
    this.size = this.built.length + Number(this.rest?.dataset.rows ?? 0);
    this.order = null; // the rows that match the search, in the order of the sorted column
    this.first = 0;
    if (this.size > PAGE) this.addPager();
  }
  // Rows after the first page are text until somebody asks for them: a page with thousands of rows opens at once.
  rows() {
    if (this.rest) {
      const holder = document.createElement("template");
      holder.innerHTML = `<table><tbody>${this.rest.textContent}</tbody></table>`;
      this.built.push(...holder.content.querySelector("tbody").rows);
      this.rest.remove();
      this.rest = null;
    }
    return this.built;
  }
  show(first, count = PAGE) {
    const order = this.order ?? (this.order = this.rows());
    this.first = Math.max(0, Math.min(first, order.length - 1));
    const shown = order.slice(this.first, this.first + count).map(completed);
    for (const row of shown) row.classList.toggle("picked", row.dataset.configuration === picked && picked !== "");
    this.body.replaceChildren(...shown);
    this.tell(order.length);
  }
  sort(index, down) {
    const value = (row) => row.cells[index].dataset.value ?? row.cells[index].textContent;
    const compare = (a, b) => {
      const x = value(a), y = value(b);
      if (x === "" || y === "") return (x === "") - (y === "");
      const byNumber = Number(x) - Number(y);
      return (Number.isNaN(byNumber) ? x.localeCompare(y) : byNumber) * (down ? -1 : 1);
    };
    this.built = [...this.rows()].sort(compare);
    this.search(this.words ?? []);
  }
  search(words) {
    this.words = words;
    this.order = words.length ? this.rows().filter((row) => words.every((word) => textOf(row).includes(word))) : null;
    this.show(0);
    return words.length ? this.order.length : this.size;
  }
  reveal(row) {
    if (this.words?.length) this.search([]);
    this.show(Math.floor(this.rows().indexOf(row) / PAGE) * PAGE);
    row.scrollIntoView({ block: "center" });
  }
  addPager() {
    const pager = this.section.querySelector(".pages") ?? document.createElement("p");
    pager.className = "pages";
    const button = (text, step) => {
      const made = document.createElement("button");
      made.type = "button";
      made.textContent = text;
      made.addEventListener("click", () => this.show(this.first + step));
      return made;
    };
    this.back = button("Previous", -PAGE);
    this.next = button("Next", PAGE);
    this.told = document.createElement("output");
    pager.replaceChildren(this.back, this.told, this.next);
    this.section.querySelector(".scroll").after(pager);
    this.tell(this.size);
  }
  tell(count) {
    if (!this.told) return;
    const last = Math.min(this.first + PAGE, count);
    const all = count === this.size ? "" : ` found, of ${numbers.format(this.size)}`;
    this.told.textContent = count ? `Rows ${this.first + 1} to ${last} of ${numbers.format(count)}${all}` : "No row found";
    this.back.disabled = this.first === 0;
    this.next.disabled = last >= count;
  }
}
// A row after the first page names its runs once, and its links get them when it is shown.
function completed(row) {
  const { href, runs, more } = row.dataset;
  if (!href) return row;
  const count = runs.split(" ").length + Number(more ?? 0);
  for (const link of row.querySelectorAll("a:not([href])")) {
    link.setAttribute("href", href);
    link.dataset.runs = runs;
    if (more) link.dataset.more = more;
    link.title = count === 1 ? `run ${runs}` : `${count} runs`;
  }
  delete row.dataset.href;
  return row;
}
let picked = ""; // the configuration that is highlighted
const texts = new WeakMap();
function textOf(row) {
  if (!texts.has(row)) {
    const ids = [row, ...row.querySelectorAll("[data-runs]")].map((own) => own.dataset.runs ?? "");
    texts.set(row, [row.textContent, ...new Set(ids)].join(" ").toLowerCase());
  }
  return texts.get(row);
}
const tables = [...document.querySelectorAll("section.table")].map((section) => new PagedTable(section));
const total = tables.reduce((sum, table) => sum + table.size, 0);
document.addEventListener("click", (event) => {
  const button = event.target.closest("th button");
  if (!button) return;
  const head = button.parentElement, down = head.getAttribute("aria-sort") === "ascending";
  for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  tables.find((table) => table.section.contains(head)).sort(head.cellIndex, down);
});
const found = document.getElementById("found"), invitation = found.textContent;
let waiting = 0;
document.getElementById("search").addEventListener("input", (event) => {
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    const count = tables.reduce((sum, table) => sum + table.search(words), 0);
    found.textContent = words.length ? `${numbers.format(count)} of ${numbers.format(total)} rows` : invitation;
  }, 120);
});
addEventListener("beforeprint", () => tables.forEach((table) => table.size > PAGE && table.show(0, MOST_IN_PRINT)));
addEventListener("afterprint", () => tables.forEach((table) => table.size > PAGE && table.show(0)));
// A number that is a mean over several runs opens the list of them; without this script it leads to the first.
const panel = document.getElementById("runs");
const left = (link) => Number(link.dataset.more ?? 0); // runs that the page does not name
function listRuns(link, ids) {
  const entries = ids.map((id) => {
    const entry = document.createElement("a");
    entry.href = link.getAttribute("href").replace(/[^/]*$/, id);
    entry.textContent = `run ${id}`;
    return entry;
  });
  if (left(link)) entries.push(`and ${numbers.format(left(link))} more: see the table of runs`);
  panel.replaceChildren(...entries);
  panel.hidden = false;
  place(panel, link);
}
function place(box, beside) {
  const at = beside.getBoundingClientRect();
  const left = Math.min(at.left, document.documentElement.clientWidth - box.offsetWidth - 12);
  box.style.left = `${Math.max(8, left) + scrollX}px`;
  box.style.top = `${at.bottom + 6 + scrollY}px`;
}
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-runs]");
  panel.hidden = true;
  const ids = link ? link.dataset.runs.split(" ") : [];
  if (ids.length < 2 && !link?.matches(".point")) return;
  event.preventDefault();
  listRuns(link, ids);
});
