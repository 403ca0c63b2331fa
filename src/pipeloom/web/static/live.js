// Keeps a page up to date: takes the parts that the server has built and changes only what differs, so that focus,
// selection, scrolling and opened details are kept. A row that the reader is using does not move, even after it has
// ended. Without this script, the page shows the same content as of when it was loaded.
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
    // Only the reader opens and closes details.
    const kept = (name) => name === "open" && old.nodeName === "DETAILS";
    for (const { name, value } of fresh.attributes) {
      if (!kept(name) && old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    for (const { name } of [...old.attributes]) {
      if (!kept(name) && !fresh.hasAttribute(name)) old.removeAttribute(name);
    }
    morphChildren(old, fresh);
  }

  // Whether the reader is using a node: it has the focus, is open, is selected, or (rows only) is under the pointer.
  function holds(node) {
    if (node.nodeType !== 1) return false;
    const picked = getSelection();
    return (
      node.contains(document.activeElement) ||
      node.querySelector("details[open]") !== null ||
      node.matches("details[open]") ||
      (keyOf(node) !== "" && node.matches(":hover")) ||
      (!picked.isCollapsed && (node.contains(picked.anchorNode) || node.contains(picked.focusNode)))
    );
  }

  // Pair the new content with the existing rows. A held row keeps its place in the list, even if it has ended and is no
  // longer in the new content, so that the Tab key always advances through the list, however fast other rows change.
  function arranged(old, fresh) {
    const news = new Map(fresh.filter(keyOf).map((node) => [keyOf(node), node]));
    const held = new Map();
    [...old.children].forEach((row, place) => {
      if (keyOf(row) && holds(row)) held.set(place, row);
    });
    if (!held.size) return fresh.map((next) => ({ next }));
    const keys = new Set([...held.values()].map(keyOf));
    const others = fresh.filter((node) => !keys.has(keyOf(node)));
    const wanted = [];
    while (others.length || held.size) {
      const place = held.has(wanted.length) || !others.length ? Math.min(...held.keys()) : -1;
      if (place < 0) {
        wanted.push({ next: others.shift() });
      } else {
        const row = held.get(place);
        held.delete(place);
        wanted.push({ row, next: news.get(keyOf(row)) || null });
      }
    }
    return wanted;
  }

  let holding = false; // a row was kept that the server no longer shows, or shows elsewhere

  function keep(node) {
    node.dataset.over = "";
    holding = true;
  }

  function morphChildren(old, freshParent) {
    const fresh = [...freshParent.childNodes];
    const known = new Map();
    for (const child of old.children) if (keyOf(child)) known.set(keyOf(child), child);
    const wanted = arranged(old, fresh);
    const staying = new Set(wanted.map(({ row, next }) => keyOf(row || next)));
    let at = old.firstChild;
    const skipGone = () => {
      while (at && keyOf(at) && !staying.has(keyOf(at))) {
        const gone = at;
        at = at.nextSibling;
        gone.remove();
      }
    };
    wanted.forEach(({ row, next }, place) => {
      skipGone();
      if (row) {
        while (at !== row) {
          const other = at; // the row itself is never moved, which would lose the focus
          at = at.nextSibling;
          old.insertBefore(other, row.nextSibling);
        }
        at = at.nextSibling;
        if (!next) return keep(row);
        if (fresh[place] !== next) holding = true;
        return morph(row, next);
      }
      const key = keyOf(next);
      const match = key ? known.get(key) : at && !keyOf(at) ? at : null;
      if (match && match.nodeName === next.nodeName) {
        if (match === at) at = at.nextSibling;
        else old.insertBefore(match, at);
        morph(match, next);
      } else {
        old.insertBefore(next, at);
      }
    });
    while (at) {
      const gone = at;
      at = at.nextSibling;
      if (holds(gone)) keep(gone);
      else gone.remove();
    }
  }

  const latest = new Map(); // the newest HTML of each part
  const unsettled = new Set(); // parts that keep a row for the reader

  function show(name, html) {
    const part = document.getElementById(name);
    if (!part || !part.hasAttribute("data-part")) return;
    const fresh = document.createElement("template");
    fresh.innerHTML = html; // built and escaped by the server; scripts in it would not run, and the policy forbids them
    const focused = part.contains(document.activeElement) ? document.activeElement : null;
    const pane = part.querySelector("[data-follow]");
    const atEnd = pane && pane.scrollHeight - pane.scrollTop - pane.clientHeight < 8;
    latest.set(name, html);
    holding = false;
    morphChildren(part, fresh.content);
    if (holding) unsettled.add(name);
    else unsettled.delete(name);
    if (focused && document.activeElement !== focused) {
      if (focused.isConnected) focused.focus({ preventScroll: true });
      else part.focus({ preventScroll: true });
    }
    const follow = part.querySelector("[data-follow]");
    if (follow && (atEnd || !pane)) follow.scrollTop = follow.scrollHeight;
    const title = part.querySelector("[data-title]");
    if (title) document.title = title.dataset.title;
  }

  // Once the reader has moved on, rows that were kept for them can be removed.
  let settling = 0;
  function settle() {
    if (!unsettled.size) return;
    clearTimeout(settling);
    settling = setTimeout(() => [...unsettled].forEach((name) => show(name, latest.get(name))), 250);
  }
  for (const turn of ["focusout", "toggle", "pointerout", "selectionchange"]) document.addEventListener(turn, settle, true);

  // The same as duration() in pipeloom/data/rates.py.
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
    if (!stream || stream.readyState !== EventSource.OPEN) return; // without a connection, times stand still
    const now = Date.now() / 1000 - skew;
    for (const clock of main.querySelectorAll("[data-since]")) {
      const text = duration(now - Number(clock.dataset.since));
      if (clock.textContent !== text && !clock.closest("[data-over]")) clock.textContent = text;
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
      say("lost", "connection lost, reconnecting");
      if (stream && stream.readyState === EventSource.CLOSED) {
        // A refusal, such as too many viewers: the browser gives up, so this script retries.
        stream = null;
        again = setTimeout(connect, 3000);
      }
    };
  }

  // A hidden tab closes its connection: a browser opens only six to one server.
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
