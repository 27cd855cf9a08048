// A video's frame: whether its pixels can be taken as they are.

// Eight bits a channel and nothing to see through: what `copyTo` turns into RGB in every browser that has it.
const FORMATS = ["I420", "I422", "I444", "NV12", "RGBA", "RGBX", "BGRA", "BGRX"];

/**
 * What of a WebCodecs VideoFrame is asked; browsers that do not say how a frame is turned have no `rotation`.
 * @typedef {{format: string | null, rotation?: number, flip?: boolean, displayWidth: number, displayHeight: number,
 *   visibleRect: {width: number, height: number} | null}} FrameForm
 */

/**
 * Whether the frame's own pixels are the picture that is seen: neither turned, mirrored nor stretched.
 * @param {FrameForm} frame
 */
export function isPlain({format, rotation, flip, displayWidth, displayHeight, visibleRect}) {
  const whole = visibleRect?.width === displayWidth && visibleRect.height === displayHeight;
  return FORMATS.includes(format ?? "") && rotation === 0 && flip === false && whole;
}
