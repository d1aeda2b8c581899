// A confusion matrix whose cells are buttons. A front-end module in anywidget's form.
// `model` has labels, table (a row of counts for each correct class) and cell, the indices of the
// correct and the predicted class that were clicked last.

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function render({ model, el }) {
  const labels = model.get("labels"), size = labels.length, cells = [];

  function choose(index) {
    cells.forEach((cell, i) => {
      cell.tabIndex = i === index ? 0 : -1; // Tab reaches one cell, the arrow keys the others
      cell.setAttribute("aria-pressed", i === index);
    });
    const chosen = [Math.floor(index / size), index % size];
    if (String(model.get("cell")) === String(chosen)) return;
    model.set("cell", chosen);
    model.save_changes();
  }

  function cellOf(count, i, j, total) {
    const cell = element("button", { type: "button", class: i === j ? "ma-right" : "ma-wrong",
      style: `--part: ${count / Math.max(1, total)}`, title: `${labels[i]} predicted as ${labels[j]}`,
      "aria-label": `${labels[i]} predicted as ${labels[j]}: ${count}` }, count || "·");
    const index = cells.push(cell) - 1;
    cell.addEventListener("click", () => choose(index));
    return element("td", {}, cell);
  }

  const head = element("tr", {}, element("th", { scope: "col" }, "correct ↓ predicted →"));
  for (const label of labels) head.append(element("th", { scope: "col" }, element("span", {}, label)));
  const body = element("tbody");
  model.get("table").forEach((counts, i) => {
    const total = counts.reduce((a, b) => a + b);
    const row = counts.map((count, j) => cellOf(count, i, j, total));
    body.append(element("tr", {}, element("th", { scope: "row" }, labels[i]), ...row));
  });
  const moves = { ArrowUp: -size, ArrowDown: size, ArrowLeft: -1, ArrowRight: 1 };
  body.addEventListener("keydown", event => {
    const next = cells[cells.indexOf(event.target) + moves[event.key]];
    if (!next) return;
    event.preventDefault();
    next.focus();
    next.click();
  });
  const [correct, predicted] = model.get("cell");
  choose(correct * size + predicted);
  // JupyterLab leaves the keys to what is in this element
  el.append(element("div", { class: "ma-matrix", "data-lm-suppress-shortcuts": "true" },
    element("table", {}, element("caption", {}, model.get("caption")),
      element("thead", {}, head), body)));
}

export default { render };
