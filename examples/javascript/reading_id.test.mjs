// Every golden vector (tests/vectors/reading_ids.json) has its id. Run it with `npm test`.
import assert from "node:assert";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import * as ids from "./reading_id.mjs";

const text = readFileSync(new URL("../../tests/vectors/reading_ids.json", import.meta.url), "utf8");
const vectors = JSON.parse(text);
const written = JSON.parse(text, (_, value, context) => (typeof value === "number" ? JSON.rawJSON(context.source) : value));

for (const { name, source, strategy, fields, id } of vectors.ids) {
  test(`ids: ${name}`, () => assert.strictEqual(ids.readingId(source, strategy, fields), id));
}

for (const [index, sample] of vectors.samples.entries()) {
  const data = JSON.stringify(written.samples[index].data);
  test(`samples: ${sample.name}`, () => assert.strictEqual(idOf(sample, data), sample.id));
}

function idOf({ rule, source, time_ns, data }, json) {
  const [strategy, argument = ""] = rule.split(":");
  switch (strategy) {
    case "source-time":
      return ids.sourceTime(source, time_ns);
    case "source-time+value":
      return ids.sourceTimeAndValue(source, time_ns, json);
    case "sequence":
      return ids.sequence(source, data.epoch ?? "", data.sequence);
    case "content":
      return ids.content(source, json);
    case "time-bucket":
      return ids.timeBucket(source, BigInt(time_ns), ...argument.split("+").map((seconds) => BigInt(seconds * 1e9)));
  }
}
