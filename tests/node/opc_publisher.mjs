// Sends readings to an event hub as OPC Publisher does, with the JavaScript SDK, and prints how many messages these were.
// Usage: node opc_publisher.mjs CONNECTION_STRING PARTITION MODE READINGS
// MODE: `strict` (2.9 with --strict, one message each), `batched` (2.9, gzip), `old` (2.8). READINGS: [{field, value, time}]
import { randomUUID } from "node:crypto";
import { gzipSync } from "node:zlib";
import { EventHubProducerClient } from "@azure/event-hubs";

const [connectionString, partitionId, mode, readings] = process.argv.slice(2);
const PUBSUB = "application/x-network-message-json-v1";
const SAMPLES = "application/x-monitored-item-json-v1";
let sequence = Math.floor(Math.random() * 1000);

const now = () => new Date().toISOString();
const chunks = (all, size) => all.flatMap((_, at) => (at % size ? [] : [all.slice(at, at + size)]));

function dataSetMessage(some) {
  const writer = mode === "strict" ? { DataSetWriterName: "press-1" } : { DataSetWriterId: "press-1" };
  const payload = {};
  for (const { field, value, time } of some) {
    payload[field] = { Value: value, SourceTimestamp: time, ServerTimestamp: now() };
  }
  return { SequenceNumber: sequence++, Timestamp: now(), MessageType: "ua-deltaframe", ...writer, Payload: payload };
}

function networkMessage(messages) {
  return {
    MessageId: randomUUID(),
    MessageType: "ua-data",
    PublisherId: `gw-${mode}`,
    DataSetWriterGroup: "press",
    Messages: messages,
  };
}

function sample({ field, value, time }) {
  return {
    NodeId: `nsu=urn:press;s=${field}`,
    EndpointUrl: `opc.tcp://${mode}:4840`,
    DisplayName: field,
    Value: { Value: value, SourceTimestamp: time },
  };
}

/** Fields of one name must not be in one data set. */
function dataSets(all, size) {
  return chunks(all, size).flatMap((some) =>
    some.reduce((sets, reading) => {
      const last = sets.at(-1);
      if (last && !last.some(({ field }) => field === reading.field)) last.push(reading);
      else sets.push([reading]);
      return sets;
    }, []),
  );
}

function event(body, schema) {
  if (mode === "old") {
    return {
      body: Buffer.from(JSON.stringify(body)),
      properties: { $$ContentType: schema, "iothub-message-schema": "application/json", $$ContentEncoding: "utf-8" },
    };
  }
  if (mode === "strict") {
    return { body, contentType: "application/json", properties: { $$MessageSchema: schema } };
  }
  return {
    body: gzipSync(JSON.stringify(body)),
    bodyType: "data",
    properties: { contentType: "application/json+gzip", contentEncoding: "utf-8" },
    applicationProperties: { $$MessageSchema: schema, $$ContentType: "application/json" },
  };
}

const all = JSON.parse(readings);
const metadata = { MessageId: randomUUID(), MessageType: "ua-metadata", MetaData: { Fields: [] }, DataSetWriterName: "press-1" };
const events = [event(metadata, PUBSUB)];
if (mode === "strict") {
  events.push(...chunks(dataSets(all, 4), 2).map((sets) => event(networkMessage(sets.map(dataSetMessage)), PUBSUB)));
  events.push(...all.map((reading) => event(sample(reading), SAMPLES)));
} else {
  const size = mode === "old" ? 3 : 7;
  for (const some of chunks(all, size)) {
    events.push(event(dataSets(some, size).map((one) => networkMessage([dataSetMessage(one)])), PUBSUB));
    events.push(event(some.map(sample), SAMPLES));
  }
}

const producer = new EventHubProducerClient(connectionString);
const batch = await producer.createBatch({ partitionId });
for (const one of events) {
  if (!batch.tryAdd(one)) throw new Error("the batch is full");
}
await producer.sendBatch(batch);
await producer.close();
console.log(JSON.stringify({ events: events.length }));
