// The terminal in the page of a container. xterm.js is loaded when one is opened.
"use strict";
(() => {
  const nonce = document.currentScript.nonce;
  const form = document.getElementById("shell");
  const place = document.getElementById("terminal");
  const close = document.getElementById("close");
  const ended = document.getElementById("ended");
  let loading = null;

  // xterm.js makes style sheets, which the policy of this site allows to those alone that know the page's nonce.
  const make = document.createElement;
  document.createElement = function (name, ...rest) {
    const made = make.call(this, name, ...rest);
    if (name === "style") made.nonce = nonce;
    return made;
  };

  function fetched(name) {
    return new Promise((resolve, reject) => {
      const script = document.createElement(name.endsWith(".css") ? "link" : "script");
      if (name.endsWith(".css")) [script.rel, script.href] = ["stylesheet", name];
      else script.src = name;
      [script.onload, script.onerror] = [resolve, reject];
      document.head.append(script);
    });
  }

  function load() {
    loading = loading || (async () => {
      await Promise.all([fetched("/static/xterm.css"), fetched("/static/xterm.js")]);
      await fetched("/static/addon-fit.js");
    })();
    return loading;
  }

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  async function open() {
    ended.textContent = "";
    form.querySelector("button").disabled = true;
    await load();
    place.hidden = false;
    close.hidden = false;
    document.getElementById("leave").hidden = false;
    const theme = {background: colour("--ground"), foreground: colour("--text"), cursor: colour("--text")};
    const terminal = new Terminal({theme, screenReaderMode: true, fontFamily: "ui-monospace, monospace", fontSize: 14});
    const fit = new FitAddon.FitAddon();
    terminal.loadAddon(fit);
    terminal.open(place);
    fit.fit();
    const address = new URL(form.dataset.address, location);
    address.protocol = "ws:";
    address.searchParams.set("command", document.getElementById("command").value);
    address.searchParams.set("rows", terminal.rows);
    address.searchParams.set("columns", terminal.cols);
    const socket = new WebSocket(address);
    socket.binaryType = "arraybuffer";
    const bytes = new TextEncoder();
    const say = (data) => socket.readyState === WebSocket.OPEN && socket.send(data);
    terminal.onData((text) => say(bytes.encode(text)));
    terminal.onBinary((text) => say(Uint8Array.from(text, (letter) => letter.charCodeAt(0))));
    terminal.onResize(({rows, cols}) => say(JSON.stringify({rows, columns: cols})));
    terminal.attachCustomKeyEventHandler((event) => {
      if (!(event.ctrlKey && event.altKey && event.code === "KeyX")) return true;
      close.focus();
      return false;
    });
    const sized = () => fit.fit();
    addEventListener("resize", sized);
    close.onclick = () => socket.close();
    let last = "The terminal was closed.";
    socket.onmessage = ({data}) => {
      if (typeof data !== "string") return terminal.write(new Uint8Array(data));
      const message = JSON.parse(data);
      if ("problem" in message) last = message.problem;
      else if (message.code !== null) last = `The program has ended with exit code ${message.code}.`;
    };
    socket.onclose = () => {
      removeEventListener("resize", sized);
      terminal.dispose();
      place.hidden = close.hidden = document.getElementById("leave").hidden = true;
      form.querySelector("button").disabled = false;
      ended.textContent = last;
    };
    terminal.focus();
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    open();
  });
})();
