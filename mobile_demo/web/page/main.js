// The page: what is shown, and what each control does.

import {Rates} from "../pose/rates.js";
import {Trouble} from "../pose/trouble.js";
import {button, canvas, dialog, element, input, write} from "./dom.js";
import {Engine} from "./engine.js";
import {Loop} from "./loop.js";
import {keepOffline} from "./offline.js";
import {Overlay} from "./overlay.js";
import {readSettings, rememberedFacing, rememberFacing} from "./settings.js";
import {countCameras, Source} from "./source.js";
import {fail, mend, setState, showMessage, showNotice, state} from "./status.js";
import {View3d} from "./view3d.js";
import {NOTICES, wordsFor} from "./words.js";

/** @typedef {import("./inference.js").ModelSource} ModelSource */
/** @typedef {import("./loop.js").Latest} Latest */
/** @typedef {import("../pose/metadata.js").Model} Model */

const SERVED = {url: "/model/pose.tflite"};
const RATES_EVERY_MS = 500;

const settings = readSettings();
const video = /** @type {HTMLVideoElement} */ (element("video"));
const source = new Source(video, canvas("photo"));
const overlay = new Overlay(canvas("overlay"));
const view = new View3d(canvas("view3d"), element("turn"));
const rates = new Rates();

/** @type {Engine | null} */
let engine = null;
/** @type {Latest | null} */
let latest = null;
let facing = rememberedFacing();
let paused = false;
let loads = 0;
let ratesShown = 0;

const loop = new Loop(source, settings, {
  draw(result, model) {
    overlay.draw(model, result, result.picture, source.mirrored);
    if (result.pose_3d) view.show(model, result.pose_3d, source.mirrored);
  },
  result(result) {
    latest = result;
    const now = performance.now();
    rates.add(now, result.latency_ms, result.inference_ms);
    if (now - ratesShown > RATES_EVERY_MS) showRates(now);
    globalThis.dispatchEvent(new Event("pose"));
  },
  picture() {},
  error(error) {
    loop.stop();
    fail("model", error, () => loadModel(SERVED));
  },
});

Object.assign(globalThis, {
  poseDemo: {
    get latest() {
      return latest;
    },
    stats: () => ({
      ...rates.get(),
      threads: engine?.threads,
      build: engine?.build,
      load_ms: engine?.loadMs,
      webgpu: engine?.trial,
      source: source.kind,
    }),
  },
});

/** Runs where there are a model and a picture, and nothing else holds it up. */
function proceed() {
  if (!engine || source.kind === "none" || document.hidden) return;
  showMessage("");
  source.element.classList.toggle("mirrored", source.mirrored);
  video.hidden = source.kind === "photo";
  canvas("photo").hidden = source.kind !== "photo";
  element("flat").hidden = engine.model?.hasPose ?? true;
  button("pause").disabled = source.kind === "photo";
  setState(paused ? "paused" : "running");
  if (!paused) loop.start();
}

/** @param {number} now */
function showRates(now) {
  ratesShown = now;
  const {frames_per_second, latency_ms} = rates.get();
  const still = source.kind === "photo" || Number.isNaN(frames_per_second);
  write("rates", still ? "" : `${frames_per_second.toFixed(1)} fps · ${latency_ms.toFixed(0)} ms`);
}

/**
 * Loads a model beside the one that runs, which goes on until then, and after a failure.
 * @param {ModelSource} wanted
 */
async function loadModel(wanted) {
  loads += 1;
  const load = loads;
  mend("model");
  try {
    const loaded = await Engine.start(wanted, settings, (text, share) => {
      if (load === loads) showMessage(text, share);
    });
    if (load !== loads) return loaded.close();
    engine?.close();
    engine = loaded;
    latest = null;
    rates.reset();
    view.clear();
    overlay.clear();
    loop.use(engine);
    if (loaded.threadsHang) showNotice(NOTICES.threadsHang);
    else if (loaded.threads === 1 && settings.threads > 1) showNotice(NOTICES.oneThread);
    proceed();
    keepOffline(loaded.build);
  } catch (error) {
    if (load !== loads) return;
    showMessage("");
    if (engine && error instanceof Trouble)
      showNotice(`${wordsFor(error.code).title}. ${error.detail} ${NOTICES.modelKept}`);
    else fail("model", error, () => loadModel(wanted));
  }
}

/**
 * @param {() => Promise<void>} open
 */
async function openSource(open) {
  loop.stop();
  overlay.clear();
  view.clear();
  rates.reset();
  write("rates", "");
  paused = false;
  mend("source");
  setState("loading");
  try {
    await open();
    proceed();
  } catch (error) {
    fail("source", error, () => openSource(open));
  }
  button("flip").disabled = source.kind === "camera" && (await countCameras()) < 2;
}

const openCamera = () => openSource(() => source.openCamera(facing));

/** Lets go of the camera while nobody looks. */
function onVisibility() {
  if (document.hidden) {
    if (state() === "error") return;
    loop.stop();
    setState("hidden");
    if (source.kind === "camera") source.close();
    else video.pause();
  } else if (state() === "hidden") {
    if (source.kind === "none") openCamera();
    else {
      if (source.kind === "video" && !paused) video.play();
      proceed();
    }
  }
}

function togglePause() {
  paused = !paused;
  if (paused) {
    loop.stop();
    video.pause();
    setState("paused");
  } else {
    video.play();
    proceed();
  }
}

function connectControls() {
  button("pause").onclick = togglePause;
  button("flip").onclick = () => {
    if (source.kind === "camera") facing = facing === "user" ? "environment" : "user";
    rememberFacing(facing);
    openCamera();
  };
  for (const id of ["file", "trouble-file"]) button(id).onclick = () => input("file-input").click();
  for (const id of ["model", "trouble-model"]) button(id).onclick = () => input("model-input").click();
  button("more").onclick = () => dialog("settings").showModal();
  button("settings-close").onclick = () => dialog("settings").close();
  button("notice-close").onclick = () => showNotice("");
  button("served").onclick = () => {
    dialog("settings").close();
    loadModel(SERVED);
  };
  input("smooth").checked = settings.smooth;
  input("smooth").onchange = () => {
    settings.smooth = input("smooth").checked;
    proceed();
  };
  input("file-input").onchange = () => {
    const file = input("file-input").files?.[0];
    if (file) openSource(() => source.openFile(file));
    input("file-input").value = "";
  };
  input("model-input").onchange = () => {
    const files = [...(input("model-input").files ?? [])];
    const file = files.find(({name}) => !name.endsWith(".json"));
    dialog("settings").close();
    if (file) loadModel({file, sidecar: files.find(({name}) => name.endsWith(".json")) ?? null});
    input("model-input").value = "";
  };
  document.addEventListener("visibilitychange", onVisibility);
}

function start() {
  setState("loading");
  if (!("OffscreenCanvas" in globalThis) || !("createImageBitmap" in globalThis)) {
    fail("model", new Trouble("browser-old"), () => location.reload());
    return;
  }
  connectControls();
  source.onLost = (trouble) => {
    loop.stop();
    fail("source", trouble, openCamera);
  };
  showMessage("Loading the model", 0);
  loadModel(SERVED);
  openCamera();
}

start();
