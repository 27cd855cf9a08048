// Keeps the screen on while the page runs, if the browser can.

/** @type {Promise<WakeLockSentinel | undefined>} */
let lock = Promise.resolve(undefined);

/** @param {boolean} wanted */
export function keepAwake(wanted) {
  lock = lock.then(async (held) => {
    if (!wanted) return void (await held?.release().catch(() => {}));
    if (held && !held.released) return held; // the lock is lost when the page is hidden
    return navigator.wakeLock?.request("screen").catch(() => undefined);
  });
}
