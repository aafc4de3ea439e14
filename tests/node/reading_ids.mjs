// Reading ids by docs/identity.md, with nothing but Node's standard library: reads the golden vectors' file and prints the id of each
// vector by its name, as one JSON line.
// Usage: node reading_ids.mjs VECTORS.json
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

const MARK = "\u0000large";
const VERSION_TAG = "dedup-id:1";
const NS_PER_SECOND = 1_000_000_000;

function readingId(source, strategy, fields) {
  const digest = createHash("sha256");
  for (const part of [VERSION_TAG, source, strategy, ...fields]) {
    const bytes = Buffer.from(part, "utf8");
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    digest.update(length).update(bytes);
  }
  return digest.digest("hex").slice(0, 32);
}

// RFC 8785: members sorted by UTF-16 code units, which is how JavaScript compares; numbers and strings as JavaScript writes them.
function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (typeof value === "bigint") return String(value);
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const members = Object.keys(value).sort().map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`);
  return `{${members.join(",")}}`;
}

// Whole numbers that a double does not hold exactly become text. `source` is the number's own text, which JSON.parse loses.
function large(value, source) {
  if (typeof value !== "number" || !Number.isInteger(value) || Math.abs(value) <= Number.MAX_SAFE_INTEGER) return value;
  return /^-?\d+$/.test(source) ? String(BigInt(source)) : String(BigInt(value));
}

// Whole numbers that are written without an exponent or a fraction, and that no double holds exactly.
const isLarge = (value, source) => typeof value === "number" && /^-?\d+$/.test(source) && !Number.isSafeInteger(value);

// All digits of whole numbers that a double does not hold exactly.
function digits(value, source) {
  const text = large(value, source);
  return text === value ? value : BigInt(text);
}

const floorDivide = (a, b) => a / b - (a % b !== 0n && a < 0n !== b < 0n ? 1n : 0n);
const nanoseconds = (seconds) => BigInt(Math.round(Number(seconds || 0) * NS_PER_SECOND));

function fieldsOf(strategy, argument, sample) {
  const time = sample.time_ns === null ? null : BigInt(sample.time_ns);
  switch (strategy) {
    case "source-time":
      return [String(time)];
    case "source-time+value":
      return [String(time), canonical(sample.exact)];
    case "sequence":
      return [String(sample.data.epoch ?? ""), String(sample.data.sequence)];
    case "content":
      return sample.has_large ? ["all-digits:1", canonical(sample.digits)] : [canonical(sample.data)];
    case "time-bucket": {
      const [interval, phase] = argument.split("+").map(nanoseconds);
      const shift = phase ?? 0n;
      const bucket = floorDivide(2n * (time - shift) + interval, 2n * interval);
      return [String(interval), String(shift), String(bucket)];
    }
    default:
      throw new Error(`unknown strategy ${strategy}`);
  }
}

// The first rule whose pattern matches: `*` stands for any text, a rule without pattern for all sources.
function ruleOf(rules, source) {
  for (const item of rules.split(",").map((part) => part.trim())) {
    const equals = item.lastIndexOf("=");
    const pattern = equals < 0 ? "*" : item.slice(0, equals);
    const expression = pattern.split("*").map((text) => text.replace(/[.+?^${}()|[\]\\]/g, "\\$&")).join(".*");
    if (new RegExp(`^${expression}$`, "s").test(source)) return item.slice(equals + 1).split(":");
  }
  throw new Error(`no rule for ${source}`);
}

const text = readFileSync(process.argv[2], "utf8");
const vectors = JSON.parse(text);
const exact = JSON.parse(text, (name, value, context) => large(value, context?.source));
const allDigits = JSON.parse(text, (name, value, context) => digits(value, context?.source));
const marked = JSON.parse(text, (name, value, context) => (isLarge(value, context?.source) ? MARK : value));
const ids = {};
for (const { name, source, strategy, fields } of vectors.ids) ids[`ids: ${name}`] = readingId(source, strategy, fields);
for (const [index, sample] of vectors.samples.entries()) {
  sample.exact = exact.samples[index].data;
  sample.digits = allDigits.samples[index].data;
  sample.has_large = JSON.stringify(marked.samples[index].data).includes(JSON.stringify(MARK));
  const [strategy, argument] = ruleOf(sample.rule, sample.source);
  ids[`samples: ${sample.name}`] = readingId(sample.source, strategy, fieldsOf(strategy, argument, sample));
}
console.log(JSON.stringify(ids));
