/* Search runs in a worker, which browsers refuse to start from file://. There its script runs in a hidden frame. */
if (location.protocol === "file:") {
  window.Worker = class FrameWorker extends EventTarget {
    constructor(url) {
      super()
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      this.loaded = new Promise((resolve) => {
        const start = () => {
          const inside = this.frame.contentWindow
          inside.importScripts = (...urls) => urls.reduce((before, each) => before.then(() => load(inside, each)), Promise.resolve())
          inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }))
          load(inside, url).then(resolve)
        }
        document.body ? (document.body.append(this.frame), start())
          : addEventListener("DOMContentLoaded", () => { document.body.append(this.frame); start() })
      })
    }
    postMessage(data) {
      this.loaded.then(() => this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data })))
    }
    terminate() { this.frame.remove() }
  }
  const load = (inside, url) => new Promise((resolve, reject) => {
    const script = inside.document.createElement("script")
    script.src = new URL(url, location.href)
    script.onload = resolve
    script.onerror = reject
    inside.document.head.append(script)
  })
}
