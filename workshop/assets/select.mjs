// A drop-down list. ipywidgets has one, but JupyterLab takes its arrow keys away.
// A front-end module in anywidget's form. `model` has label, options and value.

function render({ model, el }) {
  const select = document.createElement("select"), label = document.createElement("label");
  for (const option of model.get("options")) select.add(new Option(option));
  select.value = model.get("value");
  select.addEventListener("change", () => {
    model.set("value", select.value);
    model.save_changes();
  });
  label.append(`${model.get("label")} `, select);
  select.dataset.lmSuppressShortcuts = "true"; // leaves the arrow keys to it
  el.append(label);
}

export default { render };
