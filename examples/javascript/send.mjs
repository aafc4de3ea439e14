// Sends readings from standard input (one JSON object a line: source, time, data) to an Event Hub, each with the id that every
// other replica gives it. HUB_CONNECTION_STRING names the hub, REPLICA this sender.
import { createInterface } from "node:readline/promises";
import { EventHubProducerClient } from "@azure/event-hubs";
import { nanoseconds, sourceTime } from "./reading_id.mjs";

const { HUB_CONNECTION_STRING, REPLICA } = process.env;

/** The id is made here, before anything is sent: a retry sends the same event. */
function event(line) {
  try {
    return eventOf(JSON.parse(line));
  } catch (error) {
    throw new Error(`${line}: ${error.message}`);
  }
}

function eventOf({ source, time, data }) {
  return {
    body: data,
    contentType: "application/json",
    properties: {
      cloudEvents_specversion: "1.0",
      cloudEvents_type: "reading",
      cloudEvents_source: source,
      cloudEvents_id: sourceTime(source, nanoseconds(time)),
      cloudEvents_time: time,
      cloudEvents_replica: REPLICA,
    },
  };
}

async function send(producer) {
  const options = { partitionKey: REPLICA }; // what a replica sends stays in order
  let batch = await producer.createBatch(options);
  for await (const line of createInterface({ input: process.stdin })) {
    const one = event(line);
    if (batch.tryAdd(one)) continue;
    if (batch.count > 0) await producer.sendBatch(batch);
    batch = await producer.createBatch(options);
    if (!batch.tryAdd(one)) throw new Error(`too large for one message: ${line}`);
  }
  if (batch.count > 0) await producer.sendBatch(batch);
}

const producer = new EventHubProducerClient(HUB_CONNECTION_STRING);
try {
  await send(producer);
} catch (error) {
  console.error(`not everything was sent: ${error.message}\nSend it again: the ids will be the same.`);
  process.exitCode = 1;
} finally {
  await producer.close();
}
