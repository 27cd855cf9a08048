// Caches the page for use without the server. Each version has its own cache, so that a visit never mixes two versions.
// The model is requested at each visit, and the latest one is cached.
//
// Registered as /service_worker.js?build=threaded, which names the build of the runtime that this browser runs.

{
  /** @type {any} */
  const worker = self;
  const PREFIX = "pose-demo-";
  const MODEL_CACHE = "pose-demo-model";
  const MODEL = ["pose", "finder"].flatMap((name) => [`/model/${name}.tflite`, `/model/${name}.tflite.json`]);
  const COMPLETE = "/complete"; // added to a cache last
  const build = new URL(worker.location.href).searchParams.get("build") ?? "";
  const runtime = `litert_wasm_${build ? `${build}_` : ""}internal`;
  const RUNTIME = ["litert.js", "wasm_utils.js", `${runtime}.js`, `${runtime}.wasm`].map((name) => `/runtime/${name}`);
  const PATIENCE_MS = 3000; // for /assets.json to arrive, and the answer for a model that is cached

  worker.addEventListener("install", (/** @type {any} */ event) => {
    event.waitUntil(
      Promise.all([update(), ...MODEL.map((path) => fetchModel(path))]).then(([name]) => {
        if (!name) throw new Error("cannot reach the server");
        return worker.skipWaiting();
      }),
    );
  });

  worker.addEventListener("activate", (/** @type {any} */ event) => event.waitUntil(worker.clients.claim()));

  worker.addEventListener("fetch", (/** @type {any} */ event) => {
    const {request} = event;
    const {origin, pathname} = new URL(request.url);
    if (request.method !== "GET" || origin !== worker.location.origin) return;
    if (request.mode === "navigate" && pathname === "/") event.respondWith(navigate(request));
    else if (MODEL.includes(pathname)) event.respondWith(fetchModel(pathname, event));
    else if (!["/assets.json", "/ca.pem"].includes(pathname)) event.respondWith(fromCache(request, pathname));
  });

  /** @param {Request} request */
  async function navigate(request) {
    await update();
    return fromCache(request, "/");
  }

  /**
   * Caches the server's version if it is new. Returns the name of its cache, or else of a complete one.
   * @returns {Promise<string | undefined>}
   */
  async function update() {
    try {
      const answer = await fetch("/assets.json", {cache: "no-cache", signal: AbortSignal.timeout(PATIENCE_MS)});
      if (!answer.ok) throw new Error(`${answer.status}`);
      const {version, files} = await answer.json();
      const name = PREFIX + version;
      const cache = await caches.open(name);
      const wanted = [...files, ...RUNTIME];
      const missing = (await Promise.all(wanted.map((path) => cache.match(path)))).some((found) => !found);
      if (missing || !(await cache.match(COMPLETE))) {
        await cache.addAll(wanted.map((path) => new Request(path, {cache: "no-cache"})));
        await cache.put(COMPLETE, new Response(String(Date.now())));
      }
      for (const other of await versions()) if (other !== name) await caches.delete(other);
      return name;
    } catch {
      return newest();
    }
  }

  async function versions() {
    return (await caches.keys()).filter((name) => name.startsWith(PREFIX) && name !== MODEL_CACHE);
  }

  /** The name of a complete cache, if there is one. */
  async function newest() {
    for (const name of await versions()) if (await (await caches.open(name)).match(COMPLETE)) return name;
  }

  /**
   * @param {Request} request
   * @param {string} pathname
   */
  async function fromCache(request, pathname) {
    const name = await newest();
    const found = name && (await (await caches.open(name)).match(pathname));
    return found || fetch(request);
  }

  /**
   * The model from the server, or else from the cache. Without a cached model, it waits as long as the server takes.
   * @param {string} pathname
   * @param {any} [event] of the page's request, which gets its response before that is cached
   */
  async function fetchModel(pathname, event) {
    const cache = await caches.open(MODEL_CACHE);
    const kept = await cache.match(pathname);
    const request = event?.request ?? new Request(pathname, {cache: "no-cache"});
    const stop = new AbortController();
    const limit = kept && setTimeout(() => stop.abort(), PATIENCE_MS);
    request.signal.addEventListener("abort", () => stop.abort()); // the page was closed
    try {
      const answer = await fetch(request, {signal: stop.signal});
      clearTimeout(limit);
      const tag = answer.headers.get("ETag");
      if (answer.ok && tag !== kept?.headers.get("ETag")) {
        const put = cache.put(pathname, answer.clone());
        if (event) event.waitUntil(put.catch(() => cache.delete(pathname)));
        else await put;
      }
      return answer;
    } catch (error) {
      if (kept) return kept;
      throw error;
    }
  }
}
