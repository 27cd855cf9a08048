// The facts in the settings dialog: image, model, speed, and whether the page works offline.

import {element} from "./dom.js";

const KEPT = {
  kept: "yes, works without the server",
  untrusted: "no, this phone does not trust the certificate",
  failed: "no, some files did not load; open the page again",
  no: "no, this browser or address does not allow it",
};

/** @param {import("./demo.js").Demo} demo */
export function showFacts(demo) {
  const {engine, source} = demo;
  const {frames_per_second, latency_ms, inference_ms} = demo.rates.get();
  const milliseconds = (/** @type {number} */ value) => (Number.isNaN(value) ? "–" : `${value.toFixed(0)} ms`);
  /** @type {[string, string][]} */
  const facts = [
    [
      "Image",
      source.kind === "none" ? "none" : `${source.name || source.kind}, ${[...source.size].reverse().join(" × ")}`,
    ],
  ];
  if (engine?.model) {
    const {model, threads, trial} = engine;
    const [height, width] = model.inputSize;
    facts.unshift([
      "Model",
      `${model.run || "unnamed"}, ${model.skeleton.name}, ${width} × ${height}, ${weights(model.quantization)}`,
    ]);
    facts.push(["Runs on", trial?.kept ? "GPU" : `CPU, ${threads} ${threads === 1 ? "thread" : "threads"}`]);
    if (trial && !trial.kept) facts.push(["GPU", `not used: ${trial.reason}`]);
    facts.push(["Speed", `${Number.isNaN(frames_per_second) ? "–" : frames_per_second.toFixed(1)} results per second`]);
    facts.push(["Delay", `${milliseconds(latency_ms)}, including ${milliseconds(inference_ms)} for the model`]);
  }
  facts.push(["Offline", KEPT[demo.offline]]);
  element("facts").replaceChildren(
    ...facts.flatMap(([name, value]) => {
      const [term, description] = [document.createElement("dt"), document.createElement("dd")];
      [term.textContent, description.textContent] = [name, value];
      return [term, description];
    }),
  );
}

/** @param {string} quantization */
function weights(quantization) {
  return quantization === "none" ? "float32" : quantization;
}
