// The page of a container while it runs: its log as it grows, and charts of what it uses.
"use strict";
(() => {
  const SAMPLES = 60;  // of a chart
  const MOST = 1 << 20;  // characters of a log that are kept in the page
  const AGAIN = 1000;  // milliseconds before another try to connect
  const log = document.getElementById("log");
  const charts = new Map();

  function draw(name, value, text) {
    const line = document.querySelector(`[data-line="${name}"]`);
    const values = charts.get(name) || [];
    charts.set(name, values);
    values.push(value);
    if (values.length > SAMPLES) values.shift();
    const top = Math.max(...values) * 1.1 || 1;
    line.setAttribute("points", values.map((each, at) => `${SAMPLES - values.length + at},${20 - 19 * each / top}`).join(" "));
    document.querySelector(`[data-value="${name}"]`).textContent = text;
  }

  function append(text, fresh) {
    const place = log.querySelector("code");
    if (!place) return;
    const box = place.parentElement;
    const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
    if (fresh) place.textContent = "";
    place.append(text);
    while (place.textContent.length > MOST && place.childNodes.length > 1) place.firstChild.remove();
    if (atEnd || fresh) box.scrollTop = box.scrollHeight;
  }

  async function refresh() {
    await htmx.ajax("GET", location.pathname, {target: "#state", select: "#state", swap: "outerHTML"});
    const state = document.getElementById("state");
    document.getElementById("running").hidden = !["running", "paused", "restarting"].includes(state.dataset.state);
  }

  function connect() {
    const address = new URL(log.dataset.live, location);
    address.protocol = "ws:";
    const socket = new WebSocket(address);
    let fresh = true;
    let gone = false;
    socket.onmessage = (event) => {
      const message = JSON.parse(event.data);
      if (message.log) {
        append(message.log, fresh);
        fresh = false;
      }
      for (const [name, [value, text]] of Object.entries(message.usage || {})) draw(name, value, text);
      if (message.changed) refresh();
      if (message.gone) {
        gone = true;
        document.getElementById("gone").textContent = "This container has been removed.";
      }
    };
    socket.onclose = () => gone || setTimeout(connect, AGAIN);
  }

  const box = log.querySelector("pre");
  if (box) box.scrollTop = box.scrollHeight;
  connect();
})();
