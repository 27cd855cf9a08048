// Where pictures come from: a camera, a video or a photo of the phone.

import {isPlain} from "../pose/frame.js";
import {Trouble} from "../pose/trouble.js";

/** @typedef {"user" | "environment"} Facing */

// Without the last, an upright camera's picture would be cut to a square.
const WANTED = {width: {ideal: 640}, height: {ideal: 480}, frameRate: {ideal: 30}, resizeMode: "none"};
const LONGEST_SIDE = 1600; // of a photo as it is kept
const CAMERA_TROUBLE = /** @type {Record<string, string>} */ ({
  NotAllowedError: "camera-denied",
  SecurityError: "camera-denied",
  NotFoundError: "no-camera",
  OverconstrainedError: "no-camera",
  NotReadableError: "camera-busy",
  AbortError: "camera-busy",
});

/** What the page looks at: `kind` "none" until something is opened. */
export class Source {
  /** @type {"none" | "camera" | "video" | "photo"} */
  kind = "none";
  mirrored = false;
  name = "";
  /** @type {MediaStream | null} */
  #stream = null;
  #turn = 0; // counts what was opened, so that a camera that comes too late is closed again
  /** @type {(trouble: Trouble) => void} */
  onLost = () => {};

  /**
   * @param {HTMLVideoElement} video
   * @param {HTMLCanvasElement} photo
   */
  constructor(video, photo) {
    this.video = video;
    this.photo = photo;
  }

  /** What is drawn: the element that holds the picture. */
  get element() {
    return this.kind === "photo" ? this.photo : this.video;
  }

  /** @returns {import("../pose/crop.js").Size} of the present picture; 0, 0 until there is one */
  get size() {
    return this.kind === "photo"
      ? [this.photo.height, this.photo.width]
      : [this.video.videoHeight, this.video.videoWidth];
  }

  /**
   * The present picture, for someone else to close. A video's frame is only pointed at where that will do: to draw it
   * takes this thread some milliseconds.
   * @returns {Promise<ImageBitmap | VideoFrame>}
   */
  async grab() {
    if (this.kind !== "photo" && "VideoFrame" in globalThis) {
      const frame = new VideoFrame(this.video);
      if (isPlain(frame)) return frame;
      frame.close();
    }
    return createImageBitmap(this.element);
  }

  /**
   * Opens the camera of that side, or the only one; throws Trouble.
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
    track.onended = () => this.onLost(new Trouble("camera-busy"));
    this.#stream = stream;
    this.mirrored = track.getSettings().facingMode === "user";
    this.name = track.label;
    this.video.srcObject = stream;
    this.kind = "camera";
    await this.#play("camera-busy");
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
      await this.#play("video-unreadable");
      return;
    }
    const picture = await createImageBitmap(file).catch(() => {
      throw new Trouble("photo-unreadable");
    });
    const scale = Math.min(1, LONGEST_SIDE / Math.max(picture.width, picture.height));
    this.photo.width = Math.round(picture.width * scale);
    this.photo.height = Math.round(picture.height * scale);
    this.photo.getContext("2d")?.drawImage(picture, 0, 0, this.photo.width, this.photo.height);
    picture.close();
    this.kind = "photo";
  }

  /** Lets go of the camera or file. */
  close() {
    this.#turn += 1;
    this.video.onerror = null;
    for (const track of this.#stream?.getTracks() ?? []) {
      track.onended = null;
      track.stop();
    }
    this.#stream = null;
    if (this.video.src) URL.revokeObjectURL(this.video.src);
    this.video.srcObject = null;
    this.video.removeAttribute("src");
    this.video.load();
    this.kind = "none";
  }

  /** @param {string} code of the trouble where it does not play */
  async #play(code) {
    const turn = this.#turn;
    let playing = false;
    const failed = new Promise((_, reject) => {
      this.video.onerror = () => (playing ? this.onLost(new Trouble(code)) : reject(new Trouble(code)));
    });
    const started = this.video.play().catch((error) => {
      if (turn === this.#turn) throw new Trouble(code, error.message);
    });
    await Promise.race([started, failed]);
    playing = true;
  }
}

/** How many cameras there are, once one was allowed. */
export async function countCameras() {
  const devices = (await navigator.mediaDevices?.enumerateDevices?.()) ?? [];
  return devices.filter(({kind}) => kind === "videoinput").length;
}
