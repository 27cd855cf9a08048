// A classic worker: the runtime calls importScripts, which module workers do not have. All other code is in modules.
import("./page/inference.js").then(
  ({serve}) => serve(self),
  (error) => self.postMessage({type: "trouble", code: "runtime-failed", detail: String(error)}),
);
