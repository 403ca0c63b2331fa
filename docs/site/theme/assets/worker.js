/* The search of the site runs in a worker. From disk, browsers start none; there, it runs in a hidden frame. */
if (location.protocol === "file:") {
  window.Worker = class {
    constructor(url) {
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.append(frame)
      const inside = frame.contentWindow
      inside.postMessage = sent => {
        const data = structuredClone(sent) // as between threads: neither side sees what the other changes
        setTimeout(() => this.onmessage?.(new MessageEvent("message", { data })))
      }
      const script = inside.document.createElement("script")
      this.ready = new Promise((resolve, reject) => {
        script.onload = resolve
        script.onerror = reject
      })
      this.ready.catch(error => this.onerror?.(error))
      script.src = new URL(url, location).href
      inside.document.body.append(script)
      this.frame = frame
    }

    postMessage(sent) {
      const data = structuredClone(sent)
      this.ready.then(() => this.frame.contentWindow?.dispatchEvent(new MessageEvent("message", { data })))
    }

    addEventListener(kind, heard) {
      this["on" + kind] = heard
    }

    removeEventListener(kind) {
      this["on" + kind] = null
    }

    terminate() {
      this.frame.remove()
    }
  }
}
