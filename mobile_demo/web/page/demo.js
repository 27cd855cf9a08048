// The whole demo: a model, a source of images, and what is shown of both.

import {Rates} from "../pose/rates.js";
import {Trouble} from "../pose/trouble.js";
import {canvas, element, write} from "./dom.js";
import {Engine} from "./engine.js";
import {Loop, SEARCHES} from "./loop.js";
import {Numbers} from "./numbers.js";
import {keepOffline} from "./offline.js";
import {Overlay} from "./overlay.js";
import {LONGEST_S, Recorder} from "./recorder.js";
import {savePhoto, saveRecording} from "./saving.js";
import {readSettings, rememberedFacing, rememberFacing} from "./settings.js";
import {countCameras, Source} from "./source.js";
import {fail, recover, setState, showMessage, showNotice} from "./status.js";
import {View3d} from "./view3d.js";
import {NOTICES, wordsFor} from "./words.js";

/** @typedef {import("./model_file.js").ModelSource} ModelSource */
/** @typedef {import("./loop.js").Latest} Latest */

export const SERVED = {url: "/model/pose.tflite", finder: "/model/finder.tflite"};
const RATES_EVERY_MS = 500;

export class Demo {
  settings = readSettings();
  source = new Source(/** @type {HTMLVideoElement} */ (element("video")), canvas("photo"));
  overlay = new Overlay(canvas("overlay"));
  view = new View3d(canvas("view3d"), element("turn"));
  numbers = new Numbers();
  rates = new Rates();
  /** @type {Engine | null} */
  engine = null;
  /** @type {Latest | null} */
  latest = null;
  /** @type {Recorder | null} */
  recorder = null;
  /** @type {import("./offline.js").Kept} */
  offline = "no";
  cameras = 0;
  paused = false;
  facing = rememberedFacing();
  /** Called when the controls may have to change. */
  onChange = () => {};

  /** @type {ModelSource} */
  #model = SERVED;
  #loads = 0;
  #opens = 0;
  #ratesShown = 0;
  #lost = 0; // results in a row without a person
  #cameraReleased = false;

  constructor() {
    this.loop = new Loop(this.source, this.settings, {
      draw: (latest, model) => {
        this.overlay.draw(model, latest, latest.picture, this.source.mirrored);
        this.#lost = latest.lost ? this.#lost + 1 : 0;
        if (this.#lost >= SEARCHES) this.view.clear();
        else if (latest.pose_3d && !latest.lost) this.view.show(model, latest.pose_3d, this.source.mirrored);
        this.numbers.show(latest, this.still);
      },
      result: (latest) => this.#take(latest),
      picture: () => this.recorder?.picture(),
      error: (error) => {
        this.#stop();
        fail("model", error, () => this.loadModel(this.#model));
      },
    });
    this.overlay.canvas.onclick = (event) => {
      const {engine, latest, source} = this;
      if (engine?.finder && latest) {
        this.loop.choose(this.overlay.locate(event, latest.picture, source.mirrored), this.still);
      }
    };
    this.source.onLost = (trouble) => {
      this.#stop();
      fail("source", trouble, () => this.openCamera());
    };
    this.source.onTaken = (taken) => {
      showNotice(taken ? NOTICES.cameraTaken : "");
      if (!taken) this.openCamera();
    };
    this.source.video.onpause = () => this.#play(); // paused by the system, unless the user did it
    document.addEventListener("visibilitychange", () => this.#onVisibility());
  }

  /** Whether the image does not change: a photo or a paused source. */
  get still() {
    return this.paused || this.source.kind === "photo";
  }

  /**
   * Loads a model. The current model runs until the new one is ready, and stays if loading fails.
   * @param {ModelSource} wanted
   */
  async loadModel(wanted) {
    this.#loads += 1;
    const load = this.#loads;
    recover("model");
    showMessage("Loading the model", 0);
    try {
      const loaded = await Engine.start(wanted, this.settings, (text, share) => {
        if (load === this.#loads) showMessage(text, share);
      });
      if (load !== this.#loads) return loaded.close();
      this.#model = wanted;
      this.#exchange(loaded);
      keepOffline(loaded.build).then((kept) => {
        this.offline = kept;
        this.onChange();
      });
    } catch (error) {
      if (load !== this.#loads) return;
      showMessage("");
      if (this.engine && error instanceof Trouble) {
        showNotice(`${wordsFor(error.code).title}. ${error.detail} ${NOTICES.modelKept}`);
      } else fail("model", error, () => this.loadModel(wanted));
    }
  }

  openCamera() {
    return this.#open(() => this.source.openCamera(this.facing), "Try again");
  }

  /** @param {File} file a photo or a video */
  openFile(file) {
    return this.#open(() => this.source.openFile(file), "Back to the camera");
  }

  /** Switches between front and back camera; from a photo or video, back to the camera. */
  flip() {
    if (this.source.kind === "camera") this.facing = this.facing === "user" ? "environment" : "user";
    rememberFacing(this.facing);
    return this.openCamera();
  }

  togglePause() {
    this.paused = !this.paused;
    this.recorder?.pause(this.paused);
    if (this.paused) {
      this.loop.stop();
      this.source.video.pause();
      setState("paused");
    } else {
      this.#play();
      this.#proceed();
    }
    this.onChange();
  }

  /** @param {boolean} smooth */
  setSmooth(smooth) {
    this.settings.smooth = smooth;
    this.#proceed();
  }

  /** Starts or ends a recording; saves a photo. */
  async record() {
    if (this.recorder) return this.#endRecording();
    const {engine, source, latest} = this;
    if (!engine?.model || !latest) return;
    if (source.kind === "photo") return savePhoto(source, engine.model, latest);
    this.recorder = new Recorder(source, engine.model, () => showNotice(NOTICES.noVideo));
    this.onChange();
  }

  /** @param {Engine} engine the new one */
  #exchange(engine) {
    this.#endRecording();
    this.engine?.close();
    this.engine = engine;
    engine.onHang = () => {
      this.engine = null;
      this.settings.accelerator = "wasm";
      this.loadModel(this.#model);
    };
    engine.onNoFinder = ({code, detail}) => showNotice(`${NOTICES.finderUnusable} ${detail || wordsFor(code).title}`);
    this.#forget();
    this.loop.use(engine);
    if (engine.model) this.numbers.use(engine.model);
    if (engine.threadsHang) showNotice(NOTICES.threadsHang);
    else if (engine.threads === 1 && this.settings.threads > 1) showNotice(NOTICES.oneThread);
    this.#proceed();
    if (this.source.kind === "none") showMessage("Waiting for the camera");
  }

  /**
   * @param {() => Promise<void>} open
   * @param {string} label of the button that may fix a failure
   */
  async #open(open, label) {
    this.#opens += 1;
    const opened = this.#opens;
    this.#stop();
    this.#forget();
    this.paused = false;
    this.#cameraReleased = false;
    recover("source");
    setState("loading");
    try {
      await open();
      if (opened === this.#opens && document.hidden) this.#letGo();
      if (opened === this.#opens) this.#proceed();
    } catch (error) {
      if (opened === this.#opens) fail("source", error, () => this.openCamera(), label);
    }
    this.cameras = await countCameras();
    this.onChange();
  }

  /** Runs if there are a model and an image and the page is visible. */
  #proceed() {
    if (!this.engine?.model || this.source.kind === "none" || document.hidden) return;
    const photo = this.source.kind === "photo";
    showMessage("");
    this.source.element.classList.toggle("mirrored", this.source.mirrored);
    this.source.video.hidden = photo;
    this.source.photo.hidden = !photo;
    element("flat").hidden = this.engine.model.hasPose;
    setState(this.paused ? "paused" : "running");
    this.loop.start(this.still);
    this.onChange();
  }

  /** @param {Latest} latest */
  #take(latest) {
    this.latest = latest;
    const now = performance.now();
    this.rates.add(now, latest.latency_ms, latest.inference_ms);
    if (now - this.#ratesShown > RATES_EVERY_MS || this.still) this.#showRates(now);
    const live = latest.person_score === 0 ? "Step into view." : "Looking for a person. Show the whole body.";
    const nobody = this.still ? "No person found in this photo." : live;
    write("search", this.#lost >= SEARCHES ? nobody : "");
    this.recorder?.result(latest);
    if (this.recorder && this.recorder.joints.lengthS > LONGEST_S) {
      showNotice(NOTICES.recordingLong);
      this.#endRecording();
    }
    globalThis.dispatchEvent(new Event("pose"));
  }

  /** @param {number} now */
  #showRates(now) {
    this.#ratesShown = now;
    const {frames_per_second, latency_ms} = this.rates.get();
    const known = !this.still && !Number.isNaN(frames_per_second);
    write("rates", known ? `${frames_per_second.toFixed(1)} fps · ${latency_ms.toFixed(0)} ms` : "");
    const seconds = Math.floor(this.recorder?.joints.lengthS ?? 0);
    const clock = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
    write("recording", this.recorder ? `● ${clock}` : "");
  }

  async #endRecording() {
    const recorder = this.recorder;
    if (!recorder) return;
    this.recorder = null;
    this.#showRates(performance.now());
    this.onChange();
    await saveRecording(recorder);
  }

  #forget() {
    this.latest = null;
    this.loop.forget();
    this.rates.reset();
    this.#showRates(performance.now());
    this.#lost = 0;
    write("search", "");
    this.overlay.clear();
    this.view.clear();
  }

  #stop() {
    this.loop.stop();
    this.#endRecording();
  }

  #play() {
    const moves = ["camera", "video"].includes(this.source.kind);
    if (moves && !this.paused && !document.hidden) this.source.video.play().catch(() => {});
  }

  /** Releases the camera while the page is hidden; pauses a video. */
  #letGo() {
    if (this.source.kind === "camera") {
      this.source.close();
      this.#cameraReleased = true;
    } else this.source.video.pause();
  }

  #onVisibility() {
    if (document.hidden) {
      this.#stop();
      this.#letGo();
      setState("hidden");
    } else if (this.#cameraReleased) this.openCamera();
    else {
      this.#play();
      setState("loading");
      this.#proceed();
    }
  }
}
