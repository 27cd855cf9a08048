// Connects each control to the demo, and shows the demo's state in it.

import {SERVED} from "./demo.js";
import {button, dialog, element, input, write} from "./dom.js";
import {showFacts} from "./facts.js";
import {showNotice} from "./status.js";

/** @param {import("./demo.js").Demo} demo */
export function connect(demo) {
  button("pause").onclick = () => demo.togglePause();
  button("flip").onclick = () => demo.flip();
  button("record").onclick = () => demo.record();
  button("measure").onclick = () => measure(demo);
  button("more").onclick = () => {
    showFacts(demo);
    dialog("settings").showModal();
  };
  for (const id of ["file", "trouble-file"]) button(id).onclick = () => input("file-input").click();
  for (const id of ["model", "trouble-model"]) button(id).onclick = () => input("model-input").click();
  button("notice-close").onclick = () => showNotice("");
  button("settings-close").onclick = () => dialog("settings").close();
  button("served").onclick = () => {
    dialog("settings").close();
    demo.loadModel(SERVED);
  };
  input("smooth").checked = demo.settings.smooth;
  input("smooth").onchange = () => demo.setSmooth(input("smooth").checked);
  input("file-input").onchange = () => {
    const [file] = takeFiles("file-input");
    if (file) demo.openFile(file);
  };
  input("model-input").onchange = () => {
    const files = takeFiles("model-input");
    const finder = files.find(({name}) => name === "finder.tflite") ?? null;
    const file = files.find((found) => found !== finder && !found.name.endsWith(".json"));
    const sidecar = files.find(({name}) => name.endsWith(".json")) ?? null;
    dialog("settings").close();
    if (file) demo.loadModel({file, sidecar, finder});
    else if (sidecar || finder) showNotice("Choose the .tflite file as well.");
  };
  demo.onChange = () => show(demo);
  show(demo);
}

/** @param {import("./demo.js").Demo} demo */
function show(demo) {
  const {source, recorder} = demo;
  const photo = source.kind === "photo";
  const ready = Boolean(demo.engine) && source.kind !== "none";
  button("pause").disabled = !ready || photo;
  button("flip").disabled = source.kind === "camera" && demo.cameras < 2;
  button("record").disabled = !recorder && (!ready || demo.paused);
  button("record").setAttribute("aria-pressed", String(Boolean(recorder)));
  write("record-label", photo ? "Save" : recorder ? "Stop" : "Record");
  if (dialog("settings").open) showFacts(demo);
}

/**
 * Shows or hides the numbers beside the 3D view.
 * @param {import("./demo.js").Demo} demo
 */
function measure(demo) {
  const shown = document.body.classList.toggle("measuring");
  element("numbers").hidden = !shown;
  button("measure").setAttribute("aria-pressed", String(shown));
  if (demo.latest) demo.numbers.show(demo.latest, true);
}

/**
 * Returns the chosen files and clears the choice, so that the same files can be chosen again.
 * @param {string} id
 */
function takeFiles(id) {
  const files = [...(input(id).files ?? [])];
  input(id).value = "";
  return files;
}
