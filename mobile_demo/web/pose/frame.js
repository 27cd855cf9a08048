// Whether a video frame's pixels can be copied as they are.

// Eight bits per channel without transparency: every browser with `copyTo` converts these to RGB.
const FORMATS = ["I420", "I422", "I444", "NV12", "RGBA", "RGBX", "BGRA", "BGRX"];

/**
 * The parts of a WebCodecs VideoFrame used here. Some browsers have no `rotation`.
 * @typedef {{format: string | null, rotation?: number, flip?: boolean, displayWidth: number, displayHeight: number,
 *   visibleRect: {width: number, height: number} | null}} FrameForm
 */

/**
 * Whether the frame's pixels are the visible image: not rotated, mirrored or stretched.
 * @param {FrameForm} frame
 */
export function isPlain({format, rotation, flip, displayWidth, displayHeight, visibleRect}) {
  const whole = visibleRect?.width === displayWidth && visibleRect.height === displayHeight;
  return FORMATS.includes(format ?? "") && rotation === 0 && flip === false && whole;
}
