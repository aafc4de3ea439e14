// The id of a reading by docs/identity.md: the same on every replica, after every restart. Needs only Node's standard library.
import { createHash } from "node:crypto";

const VERSION_TAG = "dedup-id:1";
const DIGITS = /^-?\d+$/;

/** Hashes the parts, each preceded by its length. The functions below give it the fields of each strategy. */
export function readingId(source, strategy, fields) {
  const digest = createHash("sha256");
  for (const part of [VERSION_TAG, source, strategy, ...fields]) {
    const bytes = Buffer.from(part, "utf8");
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    digest.update(length).update(bytes);
  }
  return digest.digest("hex").slice(0, 32);
}

/** For servers that stamp a reading once for all subscribers. Times are nanoseconds since 1970, as a BigInt. */
export const sourceTime = (source, time) => readingId(source, "source-time", [String(time)]);

/** For gateways that repeat values, or give two values one time. Takes the value's JSON text: JSON.parse loses digits. */
export const sourceTimeAndValue = (source, time, json) =>
  readingId(source, "source-time+value", [
    String(time),
    canonical(JSON.parse(json, (_, value, context) => exact(value, context?.source))),
  ]);

/** For payloads with a counter, and an epoch (or "") that changes when the counter starts over. */
export const sequence = (source, epoch, counter) => readingId(source, "sequence", [epoch, String(counter)]);

/** For events whose payload contains their own time. Takes its JSON text, too. */
export function content(source, json) {
  let isLarge = false;
  const payload = JSON.parse(json, (_, value, context) => {
    if (!isBeyondDoubles(value)) return value;
    isLarge ||= DIGITS.test(context.source);
    return allDigits(value, context.source);
  });
  const fields = isLarge ? ["all-digits:1", canonical(payload)] : [canonical(JSON.parse(json))];
  return readingId(source, "content", fields);
}

/** For sources whose server stamps each subscription separately: the nearest point of the source's own grid, in BigInts. */
export function timeBucket(source, time, interval, phase = 0n) {
  const bucket = floorDivide(2n * (time - phase) + interval, 2n * interval);
  return readingId(source, "time-bucket", [String(interval), String(phase), String(bucket)]);
}

const floorDivide = (a, b) => a / b - (a % b !== 0n && a < 0n !== b < 0n ? 1n : 0n);

/** Nanoseconds of a time as RFC 3339 has it, which may have more digits than a Date holds. */
export function nanoseconds(time) {
  const [, whole, fraction = "", zone] = /^(.*:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)$/i.exec(time) ?? [];
  const milliseconds = Date.parse(`${whole}${zone}`);
  if (Number.isNaN(milliseconds)) throw new Error(`${time} is not a time with seconds and an offset`);
  return BigInt(milliseconds) * 1_000_000n + BigInt(fraction.slice(0, 9).padEnd(9, "0"));
}

// RFC 8785: members sorted by UTF-16 code units, which is how JavaScript compares; numbers and strings as JavaScript writes them.
function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (typeof value === "bigint") return String(value);
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const members = Object.keys(value)
    .sort()
    .map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`);
  return `{${members.join(",")}}`;
}

// Whole numbers that a double does not hold exactly become text.
const exact = (value, text) => (isBeyondDoubles(value) ? String(allDigits(value, text)) : value);
const isBeyondDoubles = (value) => typeof value === "number" && Number.isInteger(value) && !Number.isSafeInteger(value);
const allDigits = (value, text) => BigInt(DIGITS.test(text) ? text : value);
