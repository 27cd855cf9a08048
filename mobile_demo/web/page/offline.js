// Caches the page for use without the server, if the browser trusts the address.

/** @typedef {"no" | "kept" | "failed" | "untrusted"} Kept */

/**
 * @param {string} build of the runtime that this browser runs
 * @returns {Promise<Kept>}
 */
export async function keepOffline(build) {
  if (!navigator.serviceWorker) return "no";
  try {
    const {active, installing} = await navigator.serviceWorker.register(`/service_worker.js?build=${build}`);
    const {ready} = navigator.serviceWorker; // never resolves if the first service worker fails
    if (active || !installing) return await ready.then(() => "kept");
    return await new Promise((resolve) => {
      ready.then(() => resolve("kept"));
      installing.onstatechange = () => installing.state === "redundant" && resolve("failed");
    });
  } catch {
    return "untrusted"; // accepting a certificate warning does not allow service workers
  }
}
