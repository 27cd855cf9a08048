// Keeps the page for when the server is away, where the browser trusts the address.

/** @typedef {"no" | "kept" | "untrusted"} Kept */

/**
 * @param {string} build of the runtime that this browser runs
 * @returns {Promise<Kept>}
 */
export async function keepOffline(build) {
  if (!navigator.serviceWorker) return "no";
  try {
    await navigator.serviceWorker.register(`/service_worker.js?build=${build}`);
    await navigator.serviceWorker.ready;
    return "kept";
  } catch {
    return "untrusted"; // a certificate that was clicked through will not do
  }
}
