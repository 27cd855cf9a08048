// Keeps the screen on while the page runs, where the browser can.

/** @type {Promise<WakeLockSentinel | undefined>} */
let lock = Promise.resolve(undefined);

/** @param {boolean} wanted */
export function keepAwake(wanted) {
  lock = lock.then(async (held) => {
    if (!wanted) return void (await held?.release().catch(() => {}));
    if (held && !held.released) return held; // a page that was hidden has lost it
    return navigator.wakeLock?.request("screen").catch(() => undefined);
  });
}
