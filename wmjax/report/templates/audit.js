"use strict";
// The heat map draws only the rows in view; sort, filter and chosen pair live in the address (#sort=key:3&show=match).
const OUTCOMES = ["not-applicable", "no-match", "inconclusive", "match"], MATCH = 3, ROW = 18, SPARE = 6;
const element = (id) => document.getElementById(id);
const data = JSON.parse(element("data").textContent);
const TYPES = { float32: Float32Array, uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array };
function unpack({ type, base64 }) {
  const text = atob(base64), bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i); // ten times as fast as Uint8Array.from
  return new TYPES[type](bytes.buffer);
}
const [outcomes, bits, queries, matches, family] = ["outcomes", "bits", "queries", "matches", "family"].map((name) => unpack(data[name]));
const N = data.models.length, K = data.keys.length, LIMIT = data.match_bits;
const curves = new Map(data.curves.map(([i, k, curve]) => [i * K + k, curve]));
const notes = new Map(data.notes.map(([i, k, lines]) => [i * K + k, lines]));
const view = element("view"), cells = element("cells"), overview = element("overview");

// Order: not applicable comes last; a match whose evidence has no bits comes first.
const UNMEASURED = [-Infinity, -1e30, -1e29, Infinity];
const strength = (at) => Number.isNaN(bits[at]) ? UNMEASURED[outcomes[at]] : bits[at];
const strongest = new Float64Array(N).fill(-Infinity), seen = new Uint8Array(N);
for (let i = 0, at = 0; i < N; i++) {
  for (let k = 0; k < K; k++, at++) {
    strongest[i] = Math.max(strongest[i], strength(at));
    seen[i] |= 1 << outcomes[at];
  }
}
const collator = new Intl.Collator("en", { numeric: true });
const falling = (value) => (a, b) => (value(b) > value(a)) - (value(b) < value(a)) || a - b;
const rising = (name) => (a, b) => collator.compare(name(a), name(b)) || a - b;

let rows = [], cellWidth = 16, colours = {}, hatch = null, pointed = null, state = null, summary = null;

function readAddress() {
  const asked = new URLSearchParams(location.hash.slice(1)), key = /^key:(\d+)$/.exec(asked.get("sort") || "");
  const sort = ["model", "family"].includes(asked.get("sort")) || (key && Number(key[1]) < K) ? asked.get("sort") : "strongest";
  const show = OUTCOMES.includes(asked.get("show")) ? asked.get("show") : "all";
  const pair = /^(\d+),(\d+)$/.exec(asked.get("pair") || "");
  const at = pair && pair[1] < N && pair[2] < K ? pair[1] * K + Number(pair[2]) : null;
  return { sort, show, find: asked.get("find") || "", at };
}

let pending = 0;
function writeAddress() {
  clearTimeout(pending); // browsers refuse many changes a second
  pending = setTimeout(() => {
    const parts = [`sort=${state.sort}`];
    if (state.show !== "all") parts.push(`show=${state.show}`);
    if (state.find) parts.push(`find=${encodeURIComponent(state.find)}`);
    if (state.at !== null) parts.push(`pair=${Math.floor(state.at / K)},${state.at % K}`);
    history.replaceState(null, "", "#" + parts.join("&"));
  }, 200);
}

function arrange() {
  const wanted = OUTCOMES.indexOf(state.show), find = state.find.toLowerCase();
  rows = Array.from({ length: N }, (_, i) => i).filter(
    (i) => (wanted < 0 || seen[i] & (1 << wanted)) && (!find || data.models[i].toLowerCase().includes(find)));
  const name = (i) => data.models[i], column = Number(state.sort.slice(4));
  rows.sort({
    model: rising(name),
    family: (a, b) => collator.compare(data.families[family[a]], data.families[family[b]]) || rising(name)(a, b),
    strongest: falling((i) => strongest[i]),
  }[state.sort] || falling((i) => strength(i * K + column)));
  for (const button of document.querySelectorAll("#head button")) button.setAttribute("aria-pressed", button.dataset.sort === state.sort);
  element("find").value = state.find;
  element("show").value = state.show;
  element("shown").textContent = rows.length === N ? `${N.toLocaleString("en")} models` : `${rows.length.toLocaleString("en")} of ${N.toLocaleString("en")} models`;
  summary = null;
  paint();
}

function readColours() {
  const style = getComputedStyle(document.documentElement);
  const rgb = (name) => [1, 3, 5].map((i) => parseInt(style.getPropertyValue(`--${name}`).trim().slice(i, i + 2), 16));
  colours = Object.fromEntries(["paper", "ink", "soft", "cold", "zero", "warm", "hot", "grey"].map((name) => [name, rgb(name)]));
  const tile = Object.assign(document.createElement("canvas"), { width: 6, height: 6 }), pen = tile.getContext("2d");
  pen.strokeStyle = css(colours.grey);
  pen.lineWidth = 0.8;
  for (const shift of [-6, 0, 6]) { pen.moveTo(shift, 6); pen.lineTo(shift + 6, 0); }
  pen.stroke();
  hatch = pen.createPattern(tile, "repeat");
}
const css = ([r, g, b]) => `rgb(${r},${g},${b})`;
const blend = (from, to, share) => from.map((c, i) => Math.round(c + (to[i] - c) * share));

function colour(value) {
  if (Number.isNaN(value)) return colours.zero;
  if (value >= LIMIT) return colours.hot;
  return value < 0 ? blend(colours.zero, colours.cold, Math.min(1, -value / LIMIT)) : blend(colours.zero, colours.warm, value / LIMIT);
}

function sized(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  Object.assign(canvas, { width: Math.ceil(width * ratio), height: Math.ceil(height * ratio) });
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  return pen;
}

function paintCell(pen, x, y, width, height, outcome, value, text) {
  const fill = Number.isNaN(value) && outcome === MATCH ? colours.hot : colour(value);
  pen.fillStyle = outcome === 0 ? hatch : css(fill);
  pen.fillRect(x, y, width - 1, height - 1);
  if (outcome === MATCH) {
    pen.strokeStyle = css(colours.ink);
    pen.lineWidth = 2;
    pen.strokeRect(x + 1, y + 1, width - 3, height - 3);
  } else if (outcome === 2) {
    pen.fillStyle = css(colours.ink);
    pen.beginPath();
    pen.moveTo(x + width - 7, y); pen.lineTo(x + width - 1, y); pen.lineTo(x + width - 1, y + 6);
    pen.fill();
  }
  if (text && outcome !== 0) {
    const [r, g, b] = fill;
    pen.fillStyle = 0.3 * r + 0.59 * g + 0.11 * b > 130 ? "#10151b" : "#fff";
    pen.fillText(text, x + (width - 1) / 2, y + height / 2 + 0.5);
  }
}

function paint() {
  const whole = rows.length * ROW, room = view.clientHeight - element("head").offsetHeight;
  element("body").style.height = `${whole}px`;
  const first = Math.max(0, Math.floor(view.scrollTop / ROW) - SPARE);
  const last = Math.min(rows.length, Math.ceil((view.scrollTop + Math.max(room, 660)) / ROW) + SPARE);
  element("layer").style.top = `${first * ROW}px`;
  element("labels").replaceChildren(...rows.slice(first, last).map(label));
  const pen = sized(cells, Math.max(1, K * cellWidth), Math.max(1, (last - first) * ROW));
  Object.assign(pen, { font: "11px system-ui, sans-serif", textAlign: "center", textBaseline: "middle" });
  for (let r = first; r < last; r++) {
    for (let k = 0; k < K; k++) {
      const at = rows[r] * K + k, text = cellWidth >= 34 ? brief(at) : "";
      paintCell(pen, k * cellWidth, (r - first) * ROW, cellWidth, ROW, outcomes[at], bits[at], text);
      if (at === (pointed ?? state.at)) cross(pen, k, r - first);
    }
  }
  Object.assign(cells.dataset, { first, row: ROW, cell: cellWidth, left: cells.getBoundingClientRect().left + scrollX, top: cells.getBoundingClientRect().top + scrollY });
  paintOverview(room);
}

const brief = (at) => Number.isNaN(bits[at]) ? "–" : String(Math.round(bits[at]) || 0).replace("-", "−");

function cross(pen, k, r) {
  pen.strokeStyle = css(colours.ink);
  pen.lineWidth = 1;
  pen.setLineDash([2, 2]);
  pen.strokeRect(k * cellWidth - 0.5, r * ROW - 0.5, cellWidth, ROW);
  pen.setLineDash([]);
}

function label(i) {
  const row = document.createElement("div"), value = strongest[i];
  row.className = i === Math.floor((pointed ?? state.at ?? -1) / K) ? "row here" : "row";
  row.dataset.model = i;
  for (const text of [data.models[i], data.families[family[i]], Math.abs(value) < 1e28 ? value.toFixed(1).replace("-", "−") : "–"]) {
    const cell = row.appendChild(document.createElement("span"));
    cell.textContent = text;
    cell.title = text;
  }
  row.lastChild.className = "n";
  return row;
}

function paintOverview(room) {
  overview.hidden = rows.length * ROW <= room + 1 || K === 0;
  if (overview.hidden) return;
  const width = K * Math.max(1, Math.floor(100 / K)), pen = sized(overview, width, room), share = room / (rows.length * ROW);
  summary ??= summarised(Math.min(room, rows.length));
  pen.imageSmoothingEnabled = false;
  pen.drawImage(summary, 0, 0, width, room);
  pen.strokeStyle = css(colours.ink);
  pen.strokeRect(0.5, view.scrollTop * share + 0.5, width - 1, Math.max(4, room * share) - 1);
}

// All rows in `height` lines, each the strongest evidence of its share of them.
function summarised(height) {
  const image = new ImageData(K, height);
  for (let y = 0; y < height; y++) {
    const from = Math.floor((y / height) * rows.length), to = Math.max(from + 1, Math.floor(((y + 1) / height) * rows.length));
    for (let k = 0; k < K; k++) {
      let best = -Infinity;
      for (let r = from; r < to; r++) best = Math.max(best, strength(rows[r] * K + k));
      const [r, g, b] = best === -Infinity ? colours.paper : colour(best < -1e28 ? NaN : best), pixel = 4 * (y * K + k);
      image.data[pixel] = r; image.data[pixel + 1] = g; image.data[pixel + 2] = b; image.data[pixel + 3] = 255;
    }
  }
  const canvas = Object.assign(document.createElement("canvas"), { width: K, height });
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

function describe() {
  const at = pointed ?? state.at;
  element("plot").replaceChildren();
  if (at === null) return element("pair").replaceChildren();
  const i = Math.floor(at / K), k = at % K, list = document.createElement("dl");
  const add = (term, text) => {
    list.appendChild(document.createElement("dt")).textContent = term;
    const value = list.appendChild(document.createElement("dd"));
    if (!Array.isArray(text)) return void (value.textContent = text);
    const items = value.appendChild(document.createElement("ul"));
    for (const line of text) items.appendChild(document.createElement("li")).textContent = line;
  };
  add("model", data.models[i]);
  add("family", data.families[family[i]]);
  add("key", data.keys[k].name);
  add("verdict", OUTCOMES[outcomes[at]]);
  if (outcomes[at] !== 0) {
    add("evidence", Number.isNaN(bits[at]) ? "not counted in bits" : `${bits[at].toFixed(1)} bits; ${LIMIT.toFixed(1)} make a match`);
    add("asked", `${queries[at]} of ${data.keys[k].triggers} triggers, ${matches[at]} ${data.keys[k].matches}`);
  }
  if (notes.has(at)) add("rests on", notes.get(at));
  element("pair").replaceChildren(list);
  plot(at);
}

function svg(name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return element("plot").appendChild(made);
}

function ticks(low, high) {
  const raw = Math.max(1, (high - low) / 5), power = 10 ** Math.floor(Math.log10(raw)), step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw);
  return Array.from({ length: Math.floor(high / step) - Math.ceil(low / step) + 1 }, (_, i) => (Math.ceil(low / step) + i) * step);
}

function plot(at) {
  const chosen = curves.get(at), left = 44, right = 610, top = 10, floor = 190;
  if (!chosen) return void svg("text", { x: left, y: 24 }, curves.size ? "No curve was kept for this pair." : "No curves were kept.");
  const others = [...curves.values()].slice(0, 60), drawn = [...others, chosen];
  const most = Math.max(...drawn.map((c) => c.length)), finite = drawn.flat().filter((b) => b !== null);
  const high = finite.reduce((a, b) => Math.max(a, b), LIMIT * 1.5), low = Math.max(-LIMIT, finite.reduce((a, b) => Math.min(a, b), 0));
  const x = (q) => left + (q / most) * (right - left), y = (b) => top + ((high - Math.max(b, low)) / (high - low)) * (floor - top);
  for (const tick of ticks(low, high)) {
    svg("path", { class: "axis", d: `M${left} ${y(tick)}H${right}` });
    svg("text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, tick);
  }
  for (const tick of ticks(0, most)) svg("text", { x: x(tick), y: floor + 15, "text-anchor": "middle" }, tick);
  svg("text", { x: (left + right) / 2, y: floor + 32, "text-anchor": "middle" }, "queries");
  svg("text", { x: 10, y: (top + floor) / 2, transform: `rotate(-90 10 ${(top + floor) / 2})`, "text-anchor": "middle" }, "evidence, bits");
  const point = (b, q) => b === null ? "" : `${x(q).toFixed(1)},${y(b).toFixed(1)}`;
  const line = (curve) => [0, ...curve].map(point).join(" ");
  for (const curve of others) svg("polyline", { class: "curve", points: line(curve) });
  svg("path", { class: "limit", d: `M${left} ${y(LIMIT)}H${right}` });
  svg("text", { x: right, y: y(LIMIT) - 5, "text-anchor": "end" }, `match, ${LIMIT.toFixed(1)} bits`);
  svg("polyline", { class: "chosen", points: line(chosen) });
  const end = chosen.findLastIndex((b) => b !== null);
  if (end >= 0) svg("circle", { class: "end", cx: x(end + 1), cy: y(chosen[end]), r: 3.5 });
}

function legend() {
  const pen = sized(element("scale"), 190, 34);
  Object.assign(pen, { font: "11px system-ui, sans-serif", textAlign: "center" });
  for (let x = 0; x < 130; x++) { pen.fillStyle = css(colour((x / 65 - 1) * LIMIT * 0.9999)); pen.fillRect(x + 15, 4, 1, 12); }
  pen.fillStyle = css(colours.hot);
  pen.fillRect(147, 4, 28, 12);
  pen.fillStyle = css(colours.ink);
  pen.fillRect(145, 1, 2, 18);
  pen.fillStyle = css(colours.soft);
  [[`−${LIMIT.toFixed(0)}`, 15], ["0", 80], [`${LIMIT.toFixed(1)} bits`, 148]].forEach(([text, x]) => pen.fillText(text, x, 30));
  for (const swatch of document.querySelectorAll(".swatch")) {
    const outcome = OUTCOMES.indexOf(swatch.dataset.kind);
    paintCell(sized(swatch, 16, 16), 0, 0, 17, 17, outcome, [NaN, -LIMIT, 0.3 * LIMIT, LIMIT][outcome], "");
  }
}

function choose(at, follow) {
  state.at = at;
  pointed = null;
  const place = follow ? rows.indexOf(Math.floor(at / K)) * ROW : -1, room = view.clientHeight - element("head").offsetHeight;
  if (place >= 0 && place < view.scrollTop) view.scrollTop = place;
  if (place >= 0 && place + ROW > view.scrollTop + room) view.scrollTop = place + ROW - room;
  paint();
  describe();
  writeAddress();
}

function under(event) {
  const box = cells.getBoundingClientRect(), k = Math.floor((event.clientX - box.left) / cellWidth);
  const i = rows[Number(cells.dataset.first) + Math.floor((event.clientY - box.top) / ROW)];
  return i === undefined || k < 0 || k >= K ? null : i * K + k;
}

function move(event) {
  const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], PageUp: [-25, 0], PageDown: [25, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
  if (!step || event.target !== view || !rows.length || !K) return;
  event.preventDefault();
  const clamp = (value, most) => Math.max(0, Math.min(most, value));
  const row = state.at === null ? -1 : rows.indexOf(Math.floor(state.at / K));
  const k = clamp((state.at ?? 0) % K + (row < 0 ? 0 : step[1]), K - 1);
  choose(rows[row < 0 ? 0 : clamp(row + step[0], rows.length - 1)] * K + k, true);
}

function fit() {
  const labels = element("labels").offsetWidth, spare = 130; // the overview and the scroll bar
  cellWidth = K ? Math.max(14, Math.min(44, Math.floor((element("frame").clientWidth - labels - spare) / K))) : 14;
  for (const button of element("columns").children) button.style.width = `${cellWidth}px`;
  element("body").style.width = `${labels + K * cellWidth}px`;
  readColours();
  legend();
  arrange();
}

function change(values) {
  Object.assign(state, values);
  view.scrollTop = 0;
  arrange();
  writeAddress();
}

function open() {
  state = readAddress();
  arrange();
  if (state.at === null && rows.length && K) {
    const best = falling((k) => strength(rows[0] * K + k)), keys = data.keys.map((_, k) => k).sort(best);
    state.at = rows[0] * K + keys[0];
    paint();
  }
  describe();
}

data.keys.forEach((key, k) => {
  const button = element("columns").appendChild(document.createElement("button"));
  Object.assign(button, { type: "button", textContent: key.name, title: `${key.name}${key.exact ? "" : " (no exact evidence)"}: sort by this key's evidence` });
  button.dataset.sort = `key:${k}`;
});
element("head").addEventListener("click", (event) => event.target.dataset.sort && change({ sort: event.target.dataset.sort }));
element("find").addEventListener("input", (event) => change({ find: event.target.value }));
element("show").addEventListener("change", (event) => change({ show: event.target.value }));
element("controls").addEventListener("submit", (event) => event.preventDefault());
let queued = false;
view.addEventListener("scroll", () => {
  if (queued) return;
  queued = true;
  requestAnimationFrame(() => { queued = false; paint(); });
});
view.addEventListener("keydown", move);
cells.addEventListener("mousemove", (event) => { const at = under(event); if (at !== pointed) { pointed = at; paint(); describe(); } });
cells.addEventListener("mouseleave", () => { pointed = null; paint(); describe(); });
cells.addEventListener("click", (event) => { const at = under(event); if (at !== null) choose(at, false); });
overview.addEventListener("click", (event) => { view.scrollTop = (event.offsetY / overview.clientHeight) * rows.length * ROW - view.clientHeight / 2; });
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-pair]");
  if (!link || !K) return;
  event.preventDefault();
  const [i, k] = link.dataset.pair.split(",").map(Number);
  if (!rows.includes(i)) change({ show: "all", find: "" });
  choose(i * K + k, true);
  element("map").scrollIntoView();
});
window.addEventListener("hashchange", open);
window.addEventListener("resize", fit);
for (const query of ["(prefers-color-scheme: dark)", "print"]) matchMedia(query).addEventListener("change", fit);
element("map").hidden = false;
state = readAddress();
fit();
open();
