// A second implementation of derivation, evidence and judgement, written from STANDARD.md and FORMAT.md alone:
//   node second.mjs VECTORS
// prints what it makes of the vectors in that folder. `abstract` keys, no time stamps, no data sets.
import { createHash, createPublicKey, verify } from "node:crypto";
import { readFileSync } from "node:fs";

const sha = (...parts) => parts.reduce((h, p) => h.update(p), createHash("sha256")).digest();
const jcs = (v) => Array.isArray(v) ? `[${v.map(jcs).join()}]`
  : v && typeof v === "object" ? `{${Object.keys(v).sort().map((k) => JSON.stringify(k) + ":" + jcs(v[k])).join()}}`
  : JSON.stringify(v);
const ok = (holds, why) => { if (!holds) throw new Error(why); };
const hex = (text, pattern) => (ok(typeof text === "string" && pattern.test(text), "hex"), Buffer.from(text, "hex"));

// Derivation
class Stream {
  constructor(secret, purpose, index) {
    const head = Buffer.alloc(12), tail = Buffer.alloc(12);
    head.writeUInt32BE(8, 0); head.write("wmjax/v1", 4);
    tail.writeBigUInt64BE(BigInt(index), 0); tail.writeUInt32BE(32, 8);
    const size = Buffer.alloc(4); size.writeUInt32BE(purpose.length);
    this.message = Buffer.concat([head, size, Buffer.from(purpose), tail, secret]);
    this.at = 0; this.bytes = Buffer.alloc(0);
  }
  octets(n) {
    if (this.at + n > this.bytes.length) {
      const outputLength = Math.max(this.at + n, 2 * this.bytes.length);
      this.bytes = createHash("shake256", { outputLength }).update(this.message).digest();
    }
    return this.bytes.subarray(this.at, this.at += n);
  }
  integer(bound) {
    const all = 1n << 64n, b = BigInt(bound);
    for (;;) { const u = this.octets(8).readBigUInt64BE(0); if (u < all - all % b) return Number(u % b); }
  }
  distinct(bound, n) { const seen = new Set(); while (seen.size < n) seen.add(this.integer(bound)); return [...seen]; }
}
function valueNoise(stream, [H, W, C], finest) {
  const octaves = [];
  for (let cells = 2; cells <= finest; cells *= 2) {
    const n = cells + 1, lattice = stream.octets(n * n * C), picture = [];
    const place = (i, side) => { const p = Math.floor((2 * i + 1) * cells * 128 / side); return [p >> 8, p & 255]; };
    for (let y = 0; y < H; y++) for (let x = 0; x < W; x++) for (let c = 0; c < C; c++) {
      const [t, d] = place(y, H), [l, r] = place(x, W), v = (i, j) => lattice[(i * n + j) * C + c];
      const upper = v(t, l) * (256 - r) + v(t, l + 1) * r, lower = v(t + 1, l) * (256 - r) + v(t + 1, l + 1) * r;
      picture.push((upper * (256 - d) + lower * d) >> 16);
    }
    octaves.push(picture);
  }
  const last = octaves.length - 1, sum = octaves[0].map((_, i) => octaves.reduce((s, o, k) => s + o[i] * 2 ** (last - k), 0));
  const low = Math.min(...sum), range = Math.max(1, Math.max(...sum) - low);
  return Buffer.from(sum.map((v) => Math.floor((v - low) * 255 / range)));
}
function leaf(secret, spec, index) {
  const shape = spec.input.shape, finest = Math.max(2, Math.min(32, Math.max(shape[0], shape[1]) >> 1));
  const image = valueNoise(new Stream(secret, "image/abstract", index), shape, finest);
  const drawn = spec.labels === "fixed" ? new Stream(secret, "target", 0) : new Stream(secret, "label", index);
  const label = drawn.integer(spec.classes);
  const salt = Buffer.from(new Stream(secret, "salt", index).octets(16)).toString("hex");
  return { image, label, entry: jcs({ index, input_sha256: sha(image).toString("hex"), label, salt }) };
}
const half = (n) => 2 ** Math.floor(Math.log2(n - 1));
const root = (e) => e.length === 1 ? sha("\0", e[0]) : sha("\x01", root(e.slice(0, half(e.length))), root(e.slice(half(e.length))));
function provenRoot(entry, index, size, proof) {
  if (size === 1) return (ok(proof.length === 0, "proof"), sha("\0", entry));
  ok(proof.length > 0, "proof");
  const k = half(size), sibling = proof[proof.length - 1], rest = proof.slice(0, -1);
  return index < k ? sha("\x01", provenRoot(entry, index, k, rest), sibling)
    : sha("\x01", sibling, provenRoot(entry, index - k, size - k, rest));
}

// Evidence `labels/1`
const LABELS = [0.01, 0.05, 0.2, 0.5, 0.8, 0.95], HEDGES = [0.01, 0.1, 0.5, 0.9], POWERS = [0.5, 1, 2, 4];
const RENAMED = [0.6, 0.8, 0.95], PARTS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map((k) => 0.08 * k), PLAYED = [...RENAMED, ...PARTS];
const add2 = (a, b) => Math.max(a, b) + Math.log2(1 + 2 ** -Math.abs(a - b));
function learn(top, y, C, rates, sums, pairs) {
  const together = pairs.get(`${top} ${y}`) ?? 0;
  pairs.set(`${top} ${y}`, together + 1);
  return rates.map((rate, k) => {
    const r = Math.max(rate, 1.01 / C), wrong = Math.log2((1 - r) * C / (C - 1)), rho = Math.log2(r * C) - wrong;
    if (top < 0) return wrong;
    const before = sums.get(`${top} ${k}`) ?? Math.log2(C);
    const after = add2(before, together * rho + Math.log2(2 ** rho - 1));
    sums.set(`${top} ${k}`, after);
    return after - before + wrong;
  });
}
const way = () => ({ against: PARTS.map(() => 0), sums: new Map(), pairs: new Map(), tops: new Set(), low: new Map() });
function rename(way, top, y, C) {
  const isNew = !way.sums.has(`${top} 0`), alias = isNew && way.tops.size > C;
  const guesses = learn(top, y, C, PLAYED, way.sums, way.pairs);
  PARTS.forEach((r, k) => {
    if (r * C > 1) way.against[k] -= top < 0 || alias ? Math.log2(r * C) : guesses[k + 3] + (isNew ? Math.log2(Math.max(1, C / 10)) : 0);
  });
  if (top >= 0) way.tops.add(top);
  return guesses.slice(0, 3);
}
function alike(past, q, y, C, A) { // what an answer's nearest ones say of its label, in bits against a copy
  if (C > 128) return Infinity;
  const chance = 1 / C, r = chance ** (A < C ? 0.6 : 0.4);
  if (!q) return Math.log2(chance / r);
  const now = { g: q.map(Math.fround), y }, all = [...past, now];
  past.push(now);
  const ranks = all.map(({ g }) => g.map((p, a) => all.reduce((n, o) => n + (o.g[a] < p ? 2 : o.g[a] === p ? 1 : 0), -1)));
  const own = ranks.pop(), apart = ranks.map((row) => row.reduce((s, n, a) => s + Math.abs(n - own[a]), 0));
  const mean = apart.reduce((s, d) => s + d, 0) / Math.max(1, apart.length), votes = new Array(C).fill(0);
  apart.forEach((d, j) => { votes[all[j].y] += Math.round(2 ** 20 * Math.max(0, 1 - d / (mean || 1)) ** 4); });
  const most = Math.max(...votes);
  return most === 0 ? 0 : Math.log2(votes.indexOf(most) === y ? chance / r : (1 - chance) / (1 - r));
}
function weigh(answers, labels, C, rate) {
  const words = [...new Set(answers.filter((a) => typeof a === "string"))], scored = answers.some(Array.isArray);
  const bits = [], acquittal = [];
  const wealth = new Array(6 + (scored ? 16 : 0) + 3).fill(0);
  const other = way(), told = new Set(), depths = scored ? [0, 1, 2, 3].map(way) : [];
  const high = way(), best = new Set(), past = [];
  let own = 0, rows = 0, unlike = 0;
  answers.forEach((said, i) => {
    const total = Array.isArray(said) ? said.reduce((s, p) => s + p, 0) : 1, y = labels[i];
    const q = Array.isArray(said) ? said.map((p) => p / total) : null;
    const top = said === null ? -1 : q ? q.indexOf(Math.max(...q)) : words.includes(said) ? 2 ** 20 + words.indexOf(said) : said;
    const moves = LABELS.map((e) => Math.log2(top < 0 ? e : (1 - e) * C * (top === y ? 1 : 0) + e));
    if (scored) for (const t of POWERS) {
      const raised = q && q.map((p) => p ** (1 / t)), staked = q ? raised[y] / raised.reduce((s, p) => s + p, 0) : 0;
      for (const e of HEDGES) moves.push(Math.log2(top < 0 ? e : (1 - e) * C * staked + e));
    }
    moves.push(...rename(other, top, y, C));
    moves.forEach((m, k) => { wealth[k] += m; });
    bits.push(wealth.reduce(add2) - Math.log2(wealth.length));
    own += top === y || top < 0 ? Math.log2(1 / C / rate) : Math.log2((1 - 1 / C) / (1 - rate));
    if (top >= 0) told.add(top);
    q?.forEach((p, j) => { if (p > 0.2 / q.length && q.indexOf(p) === q.lastIndexOf(p)) told.add(j); });
    if (q && q.indexOf(q[top]) === q.lastIndexOf(q[top])) best.add(top);
    const D = Math.floor(10 * Math.min(scored && best.size < 2 ? Math.min(1, told.size) : told.size, C) / C);
    const upward = top < 0 || !q ? [] : q.map((_, j) => j).sort((a, b) => q[a] - q[b] || a - b);
    depths.forEach((depth, d) => {
      upward.slice(0, d).forEach((j) => depth.low.set(j, (depth.low.get(j) ?? 0) + 1));
      rows += d === 0 && upward.length ? 1 : 0;
      rename(depth, upward.length ? upward.find((j) => 2 * (depth.low.get(j) ?? 0) <= rows) ?? 0 : -1, y, C);
    });
    if (scored) {
      if (top >= 0) high.low.set(top, (high.low.get(top) ?? 0) + 1);
      const rest = upward.filter((j) => 2 * (high.low.get(j) ?? 0) <= rows), most = Math.max(...rest.map((j) => q[j]));
      rename(high, q ? Math.max(0, q.findIndex((p, j) => p === most && rest.includes(j))) : -1, y, C);
      unlike += alike(past, q, y, C, answers.find(Array.isArray).length);
    }
    const sums = [other, ...depths, ...(scored ? [high] : [])].flatMap((each) => each.against.slice(Math.max(0, D - 1)));
    acquittal.push(Math.min(own, ...sums, scored ? unlike : Infinity, D ? Infinity : 0));
  });
  return { bits, acquittal };
}
function decide({ bits, acquittal }, rule) {
  const most = -Math.log2(rule.alpha), n = bits.length - 1;
  if (bits.some((b) => b >= most)) return "match";
  return acquittal[n] >= -Math.log2(rule.beta) && bits[n] < 0 ? "no-match" : "inconclusive";
}

// Claims
const ORDER8 = 0x7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7n, P = 2n ** 255n - 19n;
const canonical = (raw) => { const v = JSON.parse(raw); ok(jcs(v) + "\n" === raw.toString(), "form"); return v; };
function envelope(value, type) {
  const [{ sig }] = value.signatures, payload = Buffer.from(value.payload, "base64"), told = canonical(payload);
  const owner = hex(told.predicate.owner, /^[0-9a-f]{64}$/), y = BigInt("0x" + Buffer.from(owner).reverse().toString("hex")) % 2n ** 255n;
  ok(y < P && ![0n, 1n, P - 1n, ORDER8, P - ORDER8].includes(y), "owner");
  const der = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), owner]);
  const signed = Buffer.concat([Buffer.from(`DSSEv1 28 application/vnd.in-toto+json ${payload.length} `), payload]);
  ok(verify(null, signed, createPublicKey({ key: der, format: "der", type: "spki" }), Buffer.from(sig, "base64")), "signature");
  ok(told.predicateType === type, "type");
  return told.predicate;
}
const fields = (value, names) => ok(Object.keys(value).sort().join() === names.split(" ").sort().join(), "fields");
function judge(raw, nonce, asked, schemas) {
  const file = canonical(raw), commitment = envelope(file.commitments[0].statement, "urn:wmjax:watermark-commitment:v1");
  const told = envelope(file.claim, "urn:wmjax:watermark-claim:v1"), { spec, rule, root: top } = commitment;
  fields(told, "attached commitment made nonce owner secret suspect transcript verdict" + ("asked" in told ? " asked" : ""));
  ok(told.attached === sha(jcs(file.commitments) + "\n").toString("hex") && told.owner === commitment.owner, "attached");
  const { id, owner, ...body } = commitment;
  ok(id === sha(jcs(body)).toString("hex") && told.commitment === id && owner, "id");
  for (const time of [told.made, commitment.created]) ok(new RegExp(schemas.$defs.time.pattern).test(time), "time");
  ok(told.suspect.length <= 200 && new RegExp(schemas.properties.predicate.properties.suspect.pattern).test(told.suspect), "name");
  const codes = (told.asked ?? []).map((ground) => ground.code), values = { adapted: " from to", coloured: " from to", "read-as": " reading" };
  ok("asked" in told ? codes.length && new Set(codes).size === codes.length : true, "asked");
  const known = schemas.properties.predicate.properties.asked.items.properties.code.enum;
  for (const ground of told.asked ?? []) ok(known.includes(ground.code), "code"), fields(ground, "code" + (values[ground.code] ?? ""));
  const clears = !codes.some((code) => ["adapted", "served-jpeg", "weights-alone", "in-part", "run-in-part", "open-size"].includes(code));
  const own = hex(told.nonce, /^([0-9a-f]{2}){16,64}$/), rows = told.transcript;
  const order = new Stream(sha(Buffer.from(id, "hex"), own), "pick", 0).distinct(spec.triggers, rows.length);
  rows.forEach((row, i) => {
    ok(row.index === order[i] && row.attempts.slice(0, -1).every((a) => a.outcome === "failed"), "rows");
    if (!row.opening) return;
    const { salt, label, input, proof } = row.opening, image = Buffer.from(input, "base64");
    const entry = jcs({ index: row.index, input_sha256: sha(image).toString("hex"), label, salt });
    const nodes = proof.map((node) => Buffer.from(node, "hex"));
    ok(provenRoot(entry, row.index, spec.triggers, nodes).toString("hex") === top, "proof");
    ok(!told.secret || leaf(Buffer.from(told.secret, "hex"), spec, row.index).entry === entry, "secret");
  });
  ok(!nonce || nonce === told.nonce, "nonce");
  const answers = rows.map((r) => r.answer && (r.answer.probabilities ?? r.answer.label ?? r.answer.name));
  const { pattern, maxLength } = schemas.$defs.name.properties.name;
  ok(answers.every((a) => typeof a !== "string" || ([...a].length <= maxLength && new RegExp(pattern).test(a))), "names");
  const path = weigh(answers, rows.map((r) => r.opening?.label ?? 0), spec.classes, rule.rate), outcome = decide(path, rule);
  const stated = outcome === "no-match" && !clears ? "inconclusive" : outcome;
  ok(Math.abs(told.verdict.evidence_bits - path.bits.at(-1)) <= 0.002 && told.verdict.verdict === stated, "figures");
  const counted = nonce ? Math.max(...path.bits) : path.bits.at(-1), needed = Math.max(-Math.log2(rule.alpha), -Math.log2(1e-6)) + 128;
  const lacks = [!told.secret && "unrevealed", !nonce && rows.length < spec.triggers && "unpicked", !asked && "unasked"];
  if (outcome !== "no-match" && counted < needed) lacks.push(counted < needed - 64 ? "weak" : "undated");
  const missing = lacks.filter(Boolean), bits = outcome === "no-match" ? path.bits.at(-1) : counted;
  const withheld = outcome === "match" ? missing.length > 0 : !asked && (stated !== outcome || (outcome === "no-match" && codes.includes("read-as")));
  return { verdict: withheld ? "inconclusive" : outcome, bits, needed, lacks: missing };
}

const folder = process.argv[2], load = (name) => JSON.parse(readFileSync(`${folder}/${name}`));
const schema = load("../schemas/watermark-claim.v1.json");
const keys = load("keys.v1.json").keys.filter((k) => k.commitment.spec.scheme === "abstract");
console.log(JSON.stringify({
  keys: keys.map(({ secret, commitment: { id, spec } }) => {
    const leaves = Array.from({ length: spec.triggers }, (_, i) => leaf(Buffer.from(secret, "hex"), spec, i));
    return { id, labels: leaves.map((l) => l.label), first_leaf: leaves[0].entry, root: root(leaves.map((l) => l.entry)).toString("hex"),
      images_sha256: sha(...leaves.map((l) => l.image)).toString("hex") };
  }),
  transcripts: load("transcripts.v1.json").transcripts.map((t) => {
    const path = weigh(t.answers, t.labels, t.classes, t.rule.rate);
    return { name: t.name, ...path, outcome: decide(path, t.rule) };
  }),
  claims: load("claims.v1.json").cases.map((c) => {
    try { return judge(readFileSync(`${folder}/${c.file}`), c.nonce, c.asked, schema); }
    catch (error) { return { verdict: "invalid", why: error.message }; }
  }),
}));
