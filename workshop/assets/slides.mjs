// A slider that moves through ready-made pictures, such as the frames of a film.
// A front-end module in anywidget's form. `model` has pictures (SVG), names, words, label and index.

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function render({ model, el }) {
  const [pictures, names, words] = ["pictures", "names", "words"].map(name => model.get(name));
  const last = pictures.length - 1;
  const slider = element("input", { type: "range", min: 0, max: last, class: "sl-slider" });
  const back = element("button", { type: "button", class: "sl-back" }, "◀ previous");
  const forward = element("button", { type: "button", class: "sl-next" }, "next ▶");
  const name = element("b"), unseen = element("span", { class: "fx-unseen" });
  const picture = element("div", { class: "sl-picture" });

  function show() {
    const index = model.get("index");
    slider.value = index;
    slider.setAttribute("aria-valuetext", names[index]);
    name.textContent = names[index];
    unseen.textContent = `: ${words[index]}`;
    picture.innerHTML = pictures[index];
  }

  function go(index) {
    model.set("index", Math.min(Math.max(index, 0), last));
    model.save_changes();
    show();
  }

  slider.addEventListener("input", () => go(Number(slider.value)));
  slider.addEventListener("keydown", event => { // JupyterLab takes some arrow keys away
    const at = model.get("index");
    const moves = { ArrowRight: at + 1, ArrowUp: at + 1, ArrowLeft: at - 1, ArrowDown: at - 1,
      Home: 0, End: last };
    if (!(event.key in moves)) return;
    event.preventDefault();
    go(moves[event.key]);
  });
  back.addEventListener("click", () => go(model.get("index") - 1));
  forward.addEventListener("click", () => go(model.get("index") + 1));
  model.on("change:index", show);
  const controls = element("div", { class: "sl-controls" },
    element("label", {}, `${model.get("label")} `, slider), back, forward);
  // JupyterLab leaves the keys to what is in this element
  el.append(element("div", { class: "fx-widget picture-slides", "data-lm-suppress-shortcuts": "true" },
    controls, element("p", { role: "status", class: "sl-words" }, name, unseen), picture));
  show();
}

export default { render };
