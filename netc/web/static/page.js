// The page: a picture comes from a file, a drawing, a camera or an address; the classes come back as bars.
"use strict";

const at = (id) => document.getElementById(id);
let net = { gray: true, width: 28, height: 28, addresses: false, layers: [], most_bytes: 1 << 24 };

function say(message) {
  at("error").textContent = message;
  at("error").hidden = !message;
}

function show(answer) {
  const rows = answer.classes.map(({ name, score }) => {
    const row = document.createElement("li");
    const [label, number, bar] = ["span", "span", "div"].map((tag) => document.createElement(tag));
    label.textContent = name;
    number.textContent = score.toFixed(4);
    bar.className = "bar";
    bar.style.width = `${Math.max(0, Math.min(1, score)) * 100}%`;
    row.append(label, number, bar);
    return row;
  });
  at("classes").replaceChildren(...rows);
  const others = answer.together > 1 ? `, with ${answer.together - 1} other pictures` : "";
  at("time").textContent = `${answer.milliseconds} ms${others}`;
  at("channels").replaceChildren(...(answer.channels || []).map((address, number) => {
    const picture = document.createElement("img");
    picture.src = address;
    picture.alt = `channel ${number}`;
    return picture;
  }));
}

// Each call has a number: an answer that comes after a later call is dropped.
let last = 0;
async function classify(body, extra = {}) {
  const number = ++last;
  const words = new URLSearchParams(extra);
  if (at("layer").value) words.set("layer", at("layer").value);
  say("");
  if (body && body.size > net.most_bytes) {
    say(`the picture has ${body.size.toLocaleString("en")} bytes, at most ${net.most_bytes.toLocaleString("en")} are taken`);
    return;
  }
  try {
    const got = await fetch(`classify?${words}`, { method: "POST", body });
    const answer = await got.json();
    if (number !== last) return;
    if (got.ok) show(answer);
    else { show({ classes: [], milliseconds: 0, together: 1 }); at("time").textContent = ""; say(answer.error); }
  } catch (error) {
    if (number === last) say("the server does not answer");
  }
}

let again = () => {};
function picture(blob) {
  URL.revokeObjectURL(at("shown").src);
  at("shown").src = URL.createObjectURL(blob);
  at("shown").hidden = false;
  again = () => classify(blob);
  again();
}

// A drawing as digits of MNIST are: white on black, its box of 20 / 28 of the side, its mass in the middle.
function centred(pad) {
  const { width, height } = pad;
  const pixels = pad.getContext("2d").getImageData(0, 0, width, height).data;
  let [left, top, right, bottom, mass, x, y] = [width, height, -1, -1, 0, 0, 0];
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const value = pixels[4 * (row * width + column)];
      if (value < 32) continue;
      left = Math.min(left, column); right = Math.max(right, column);
      top = Math.min(top, row); bottom = Math.max(bottom, row);
      mass += value; x += value * column; y += value * row;
    }
  }
  if (right < 0) return null;
  const out = document.createElement("canvas");
  out.width = out.height = 280;
  const paint = out.getContext("2d");
  paint.fillStyle = "#000";
  paint.fillRect(0, 0, 280, 280);
  const scale = 200 / Math.max(right - left + 1, bottom - top + 1);
  paint.drawImage(pad, left, top, right - left + 1, bottom - top + 1,
    140 - (x / mass - left) * scale, 140 - (y / mass - top) * scale, (right - left + 1) * scale, (bottom - top + 1) * scale);
  return out;
}

function prepareDrawing() {
  const pad = at("pad"), paint = pad.getContext("2d", { willReadFrequently: true });
  const clear = () => { paint.fillStyle = "#000"; paint.fillRect(0, 0, pad.width, pad.height); };
  const place = (event) => {
    const box = pad.getBoundingClientRect();
    return [(event.clientX - box.left) * pad.width / box.width, (event.clientY - box.top) * pad.height / box.height];
  };
  let from = null;
  clear();
  Object.assign(paint, { lineWidth: 22, lineCap: "round", lineJoin: "round", strokeStyle: "#fff" });
  pad.addEventListener("pointerdown", (event) => { from = place(event); pad.setPointerCapture(event.pointerId); });
  pad.addEventListener("pointerup", () => { from = null; });
  pad.addEventListener("pointermove", (event) => {
    if (!from) return;
    const to = place(event);
    paint.beginPath(); paint.moveTo(...from); paint.lineTo(...to); paint.stroke();
    from = to;
  });
  at("draw-clear").addEventListener("click", clear);
  at("draw-send").addEventListener("click", () => {
    const drawing = centred(pad);
    if (drawing) drawing.toBlob((blob) => { at("shown").hidden = true; again = () => classify(blob); again(); });
    else say("draw something first");
  });
}

let stream = null;
async function camera(on) {
  if (!on) {
    if (stream) stream.getTracks().forEach((track) => track.stop());
    stream = null;
    return;
  }
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640 } });
    at("video").srcObject = stream;
  } catch (error) {
    say("there is no camera, or it may not be used");
  }
}

function prepareWays() {
  const tabs = [...document.querySelectorAll("[role=tab]")];
  for (const tab of tabs) {
    tab.addEventListener("click", () => {
      for (const other of tabs) {
        other.setAttribute("aria-selected", String(other === tab));
        at(other.dataset.way).hidden = other !== tab;
      }
      say("");
      camera(tab.dataset.way === "camera");
    });
  }
  at("chosen").addEventListener("change", () => { if (at("chosen").files[0]) picture(at("chosen").files[0]); });
  at("drop").addEventListener("dragover", (event) => { event.preventDefault(); at("drop").classList.add("over"); });
  at("drop").addEventListener("dragleave", () => at("drop").classList.remove("over"));
  at("drop").addEventListener("drop", (event) => {
    event.preventDefault();
    at("drop").classList.remove("over");
    if (event.dataTransfer.files[0]) picture(event.dataTransfer.files[0]);
  });
  at("camera-send").addEventListener("click", () => {
    const shot = document.createElement("canvas"), video = at("video");
    if (!video.videoWidth) { say("the camera shows nothing yet"); return; }
    shot.width = video.videoWidth; shot.height = video.videoHeight;
    shot.getContext("2d").drawImage(video, 0, 0);
    shot.toBlob(picture, "image/jpeg");
  });
  at("address-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const address = at("address-text").value;
    at("shown").hidden = true;
    again = () => classify(null, { address });
    again();
  });
  at("layer").addEventListener("change", () => again());
}

async function begin() {
  prepareWays();
  prepareDrawing();
  net = await (await fetch("info")).json();
  document.title = at("name").textContent = net.name;
  at("about").textContent = `${net.gray ? "gray" : "colour"} pictures of ${net.height} x ${net.width}`;
  document.querySelector("[data-way=address]").hidden = !net.addresses;
  for (const name of net.layers) at("layer").append(new Option(name, name));
  if (net.gray) document.querySelector("[data-way=draw]").click();
  document.body.dataset.ready = "yes";
}
begin();
