// Where images come from: the phone's camera, a video or a photo.

import {isPlain} from "../pose/frame.js";
import {Trouble} from "../pose/trouble.js";

/** @typedef {"user" | "environment"} Facing */

// Without resizeMode, the image of an upright phone's camera would be cropped to a square.
const WANTED = {width: {ideal: 640}, height: {ideal: 480}, frameRate: {ideal: 30}, resizeMode: "none"};
const LONGEST_SIDE = 1600; // of a photo, in pixels; larger photos are scaled down
const CAMERA_TROUBLE = /** @type {Record<string, string>} */ ({
  NotAllowedError: "camera-denied",
  SecurityError: "camera-denied",
  NotFoundError: "no-camera",
  OverconstrainedError: "no-camera",
  NotReadableError: "camera-busy",
  AbortError: "camera-busy",
});
const UNREADABLE = {none: "unknown", camera: "camera-busy", video: "video-unreadable", photo: "photo-unreadable"};
const GRACE_MS = 2000; // how long a camera may be without images before the page says so

/** What the page looks at; `kind` is "none" until something is opened. */
export class Source {
  /** @type {"none" | "camera" | "video" | "photo"} */
  kind = "none";
  mirrored = false;
  name = "";
  /** @type {MediaStream | null} */
  #stream = null;
  #turn = 0; // changes at each `close`, so that a camera or photo that opens too late is dropped
  /** @type {(trouble: Trouble) => void} */
  onLost = () => {};
  /** Called when the system takes the camera for a while, and when it returns it. @type {(taken: boolean) => void} */
  onTaken = () => {};

  /**
   * @param {HTMLVideoElement} video
   * @param {HTMLCanvasElement} photo
   */
  constructor(video, photo) {
    this.video = video;
    this.photo = photo;
  }

  /** The element that shows the image. */
  get element() {
    return this.kind === "photo" ? this.photo : this.video;
  }

  /** @returns {import("../pose/crop.js").Size} of the current image; 0, 0 until there is one */
  get size() {
    return this.kind === "photo"
      ? [this.photo.height, this.photo.width]
      : [this.video.videoHeight, this.video.videoWidth];
  }

  /**
   * The current image; the caller closes it. If possible, it is the video's frame itself, because drawing the frame
   * takes this thread some milliseconds. Throws if the browser has no frame, which may happen occasionally.
   * @returns {Promise<ImageBitmap | VideoFrame>}
   */
  async grab() {
    if (this.kind !== "photo" && "rotation" in (globalThis.VideoFrame?.prototype ?? {})) {
      try {
        const frame = new VideoFrame(this.video);
        if (isPlain(frame)) return frame;
        frame.close();
      } catch {
        // no frame: draw the video instead
      }
    }
    return createImageBitmap(this.element);
  }

  /** @param {string} [detail] why there are no more images */
  lose(detail) {
    this.onLost(new Trouble(UNREADABLE[this.kind], detail));
  }

  /**
   * Opens the camera that faces this way, or the only one; throws Trouble.
   * @param {Facing} facing
   */
  async openCamera(facing) {
    this.close();
    const turn = this.#turn;
    if (!navigator.mediaDevices?.getUserMedia) throw new Trouble("insecure");
    const stream = await navigator.mediaDevices
      .getUserMedia({audio: false, video: {...WANTED, facingMode: facing}})
      .catch((error) => {
        const code = CAMERA_TROUBLE[error.name] ?? "camera-busy";
        throw new Trouble(code, code === "camera-busy" ? error.message : "");
      });
    if (turn !== this.#turn) {
      for (const track of stream.getTracks()) track.stop();
      return;
    }
    const [track] = stream.getVideoTracks();
    track.onended = () => this.lose();
    let taken = false;
    let grace = 0;
    track.onmute = () => {
      clearTimeout(grace);
      grace = setTimeout(() => {
        taken = turn === this.#turn;
        if (taken) this.onTaken(true);
      }, GRACE_MS);
    };
    track.onunmute = () => {
      clearTimeout(grace);
      if (taken) this.onTaken(false);
    };
    this.#stream = stream;
    this.mirrored = track.getSettings().facingMode === "user";
    this.name = track.label;
    this.video.srcObject = stream;
    this.kind = "camera";
    await this.#play();
  }

  /**
   * Opens a photo or a video; throws Trouble.
   * @param {File} file
   */
  async openFile(file) {
    this.close();
    this.mirrored = false;
    this.name = file.name;
    if (file.type.startsWith("video/")) {
      this.video.src = URL.createObjectURL(file);
      this.video.loop = true;
      this.kind = "video";
      await this.#play();
      return;
    }
    const turn = this.#turn;
    const picture = await createImageBitmap(file).catch(() => {
      throw new Trouble("photo-unreadable");
    });
    if (turn !== this.#turn) return picture.close();
    const scale = Math.min(1, LONGEST_SIDE / Math.max(picture.width, picture.height));
    this.photo.width = Math.round(picture.width * scale);
    this.photo.height = Math.round(picture.height * scale);
    this.photo.getContext("2d")?.drawImage(picture, 0, 0, this.photo.width, this.photo.height);
    picture.close();
    this.kind = "photo";
  }

  /** Closes the camera or file. */
  close() {
    this.#turn += 1;
    this.video.onerror = null;
    for (const track of this.#stream?.getTracks() ?? []) {
      track.onended = track.onmute = track.onunmute = null;
      track.stop();
    }
    this.#stream = null;
    if (this.video.src) URL.revokeObjectURL(this.video.src);
    this.video.srcObject = null;
    this.video.removeAttribute("src");
    this.video.load();
    this.kind = "none";
  }

  async #play() {
    const turn = this.#turn;
    const code = UNREADABLE[this.kind];
    let playing = false;
    const failed = new Promise((_, reject) => {
      this.video.onerror = () => (playing ? this.lose() : reject(new Trouble(code)));
    });
    const started = this.video.play().catch((error) => {
      if (turn === this.#turn) throw new Trouble(code, error.message);
    });
    await Promise.race([started, failed]);
    playing = true;
  }
}

/** The number of cameras; complete only after the user has allowed one. */
export async function countCameras() {
  const devices = (await navigator.mediaDevices?.enumerateDevices?.()) ?? [];
  return devices.filter(({kind}) => kind === "videoinput").length;
}
