// Keeps a page up to date: takes the parts that the server has built and changes only what differs, so that focus,
// selection, scrolling and opened details stay. Without this script the page reads the same, as of its loading.
"use strict";
(() => {
  const main = document.querySelector("main[data-events]");
  const state = document.getElementById("state");
  const search = document.getElementById("q");
  let stream = null;
  let again = 0;
  let skew = main ? Date.now() / 1000 - Number(main.dataset.now) : 0;

  const keyOf = (node) => (node.nodeType === 1 ? node.id || node.dataset.key || "" : "");

  function morph(old, fresh) {
    if (old.nodeType !== 1) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    // Whether details are open is the reader's choice.
    const kept = (name) => name === "open" && old.nodeName === "DETAILS";
    for (const { name, value } of fresh.attributes) {
      if (!kept(name) && old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    for (const { name } of [...old.attributes]) {
      if (!kept(name) && !fresh.hasAttribute(name)) old.removeAttribute(name);
    }
    morphChildren(old, fresh);
  }

  function morphChildren(old, fresh) {
    const known = new Map();
    for (const child of old.children) if (keyOf(child)) known.set(keyOf(child), child);
    const wanted = new Set([...fresh.childNodes].map(keyOf));
    const skipGone = (node) => {
      while (node && keyOf(node) && !wanted.has(keyOf(node))) {
        const gone = node;
        node = node.nextSibling;
        gone.remove();
      }
      return node;
    };
    let at = old.firstChild;
    for (const next of [...fresh.childNodes]) {
      at = skipGone(at);
      const key = keyOf(next);
      const match = key ? known.get(key) : at && !keyOf(at) ? at : null;
      if (match && match.nodeName === next.nodeName) {
        if (match === at) at = at.nextSibling;
        else old.insertBefore(match, at);
        morph(match, next);
      } else {
        old.insertBefore(next, at);
      }
    }
    while (at) {
      const gone = at;
      at = at.nextSibling;
      gone.remove();
    }
  }

  function show(name, html) {
    const part = document.getElementById(name);
    if (!part || !part.hasAttribute("data-part")) return;
    const fresh = document.createElement("template");
    fresh.innerHTML = html; // built and escaped by the server; scripts in it would not run, and the policy forbids them
    const focused = part.contains(document.activeElement) ? document.activeElement : null;
    const pane = part.querySelector("[data-follow]");
    const atEnd = pane && pane.scrollHeight - pane.scrollTop - pane.clientHeight < 8;
    morphChildren(part, fresh.content);
    if (focused && document.activeElement !== focused) {
      if (focused.isConnected) focused.focus({ preventScroll: true });
      else part.focus({ preventScroll: true }); // its row is gone: stay where it was
    }
    const follow = part.querySelector("[data-follow]");
    if (follow && (atEnd || !pane)) follow.scrollTop = follow.scrollHeight;
    const title = part.querySelector("[data-title]");
    if (title) document.title = title.dataset.title;
  }

  // As duration() in pipeloom/data/rates.py.
  function duration(seconds) {
    if (seconds <= 0) return "0 s";
    for (const [unit, size, limit] of [["µs", 1e-6, 999.5], ["ms", 1e-3, 999.5], ["s", 1, 59.5]]) {
      const number = seconds / size;
      if (number < limit) return number.toFixed(number < 9.95 ? 1 : 0) + " " + unit;
    }
    const whole = Math.round(seconds);
    const two = (number) => String(number).padStart(2, "0");
    const minutes = Math.floor(whole / 60);
    const hours = Math.floor(minutes / 60);
    if (minutes < 60) return minutes + ":" + two(whole % 60);
    if (hours < 48) return hours + ":" + two(minutes % 60) + ":" + two(whole % 60);
    return Math.floor(hours / 24) + " d " + (hours % 24) + " h";
  }

  function tick() {
    if (!stream || stream.readyState !== EventSource.OPEN) return; // what is not known to run does not age
    const now = Date.now() / 1000 - skew;
    for (const clock of main.querySelectorAll("[data-since]")) {
      const text = duration(now - Number(clock.dataset.since));
      if (clock.textContent !== text) clock.textContent = text;
    }
  }

  function say(name, text) {
    if (state.dataset.state === name) return;
    state.dataset.state = name;
    state.textContent = text;
  }

  function connect() {
    clearTimeout(again);
    if (stream || document.hidden) return;
    stream = new EventSource(main.dataset.events);
    stream.onopen = () => say("live", "live");
    stream.onmessage = (event) => {
      const { part, html, now } = JSON.parse(event.data);
      skew = Date.now() / 1000 - now;
      show(part, html);
    };
    stream.onerror = () => {
      say("lost", "connection lost, trying again");
      if (stream && stream.readyState === EventSource.CLOSED) {
        // A refusal, such as too many viewers: the browser gives up, we do not.
        stream = null;
        again = setTimeout(connect, 3000);
      }
    };
  }

  // A hidden tab lets go of its connection: a browser opens only six to one server.
  function disconnect() {
    clearTimeout(again);
    if (stream) stream.close();
    stream = null;
  }

  if (main && state) {
    document.addEventListener("visibilitychange", () => (document.hidden ? disconnect() : connect()));
    addEventListener("pagehide", disconnect);
    addEventListener("pageshow", connect);
    setInterval(tick, 500);
    const pane = main.querySelector("[data-follow]");
    if (pane) pane.scrollTop = pane.scrollHeight;
    connect();
  }

  addEventListener("keydown", (event) => {
    const typing = event.target.closest && event.target.closest("input, textarea, select, [contenteditable]");
    if (event.key === "/" && search && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      search.focus();
      search.select();
    }
  });
})();
