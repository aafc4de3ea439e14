// Speaks to a hub through the JavaScript SDK and prints what it saw as one JSON line.
// Usage: node event_hubs.mjs CONNECTION_STRING CONSUMER_GROUP PARTITION EVENT_COUNT BUSY_CONNECTION_STRING
import {
  EventHubBufferedProducerClient,
  EventHubConsumerClient,
  EventHubProducerClient,
  earliestEventPosition,
} from "@azure/event-hubs";

const [connectionString, consumerGroup, partitionId, count, busy] = process.argv.slice(2);
const once = { retryOptions: { maxRetries: 0 } };

const producer = new EventHubProducerClient(connectionString);
const properties = await producer.getEventHubProperties();
const batch = await producer.createBatch({ partitionId });
for (let i = 0; i < Number(count); i++) {
  batch.tryAdd({ body: { i }, contentType: "application/json", messageId: `js-${i}`, properties: { number: i, text: "ä" } });
}
await producer.sendBatch(batch);
await producer.sendBatch([{ body: Buffer.from([0, 255, 1]) }], { partitionId });
const state = await producer.getPartitionProperties(partitionId);
await producer.close();

const consumer = new EventHubConsumerClient(consumerGroup, connectionString);
const events = await new Promise((resolve, reject) => {
  const seen = [];
  const subscription = consumer.subscribe(
    partitionId,
    {
      processEvents: async (received) => {
        for (const event of received) {
          seen.push({
            body: Buffer.isBuffer(event.body) ? [...event.body] : event.body,
            sequenceNumber: event.sequenceNumber,
            messageId: event.messageId,
            contentType: event.contentType,
            properties: event.properties,
            systemProperties: event.systemProperties,
          });
        }
        if (seen.length > state.lastEnqueuedSequenceNumber) {
          await subscription.close();
          resolve(seen);
        }
      },
      processError: async (error) => reject(error),
    },
    { startPosition: earliestEventPosition },
  );
});
await consumer.close();

// --- what is refused, by the code that the SDK gives it

async function codeOf(action) {
  try {
    await action();
    return "none";
  } catch (error) {
    return error.code ?? String(error);
  }
}

// Rejects with the reader's first error, after calling `begun` with its first events.
function reading(client, partition, options = {}, begun = () => {}) {
  return new Promise((_, reject) => {
    const handlers = { processEvents: async (received) => received.length && begun(), processError: async (error) => reject(error) };
    client.subscribe(partition, handlers, { startPosition: earliestEventPosition, maxWaitTimeInSeconds: 1, ...options });
  });
}

async function refusedReader(from, group, partition, options) {
  const client = new EventHubConsumerClient(group, from, once);
  return codeOf(() => reading(client, partition, options)).finally(() => client.close());
}

// What the first of two readers with owner levels is told, when the second one takes its place.
async function taken() {
  const client = new EventHubConsumerClient(consumerGroup, connectionString, once);
  let failed;
  await new Promise((resolve) => {
    failed = codeOf(() => reading(client, partitionId, { ownerLevel: 1 }, resolve));
  });
  const other = new EventHubConsumerClient(consumerGroup, connectionString, once);
  reading(other, partitionId, { ownerLevel: 2 }).catch(() => {});
  const code = await failed;
  await Promise.all([client.close(), other.close()]);
  return code;
}

// What the sixth reader of a partition is told.
async function crowd() {
  const clients = Array.from({ length: 6 }, () => new EventHubConsumerClient("$Default", connectionString, once));
  for (const client of clients.slice(0, 5)) {
    await new Promise((resolve) => reading(client, partitionId, {}, resolve).catch(() => {}));
  }
  const code = await codeOf(() => reading(clients[5], partitionId));
  await Promise.all(clients.map((client) => client.close()));
  return code;
}

async function sending(to, body) {
  const client = new EventHubProducerClient(to, once);
  return codeOf(() => client.sendBatch([{ body }], { partitionId: "0" })).finally(() => client.close());
}

// The buffered client tries for ever what is refused for ever, so it is asked last, and not closed.
function idempotent() {
  return new Promise((resolve) => {
    const client = new EventHubBufferedProducerClient(connectionString, {
      ...once,
      enableIdempotentRetries: true,
      maxWaitTimeInMs: 100,
      onSendEventsErrorHandler: async ({ error }) => resolve(error.code ?? String(error)),
      onSendEventsSuccessHandler: async () => resolve("none"),
    });
    client.enqueueEvent({ body: "x" }, { partitionId: "0" });
  });
}

const points = {
  "unknown hub": () => refusedReader(connectionString.replace("EntityPath=telemetry", "EntityPath=nope"), consumerGroup, "0"),
  "wrong key": () => refusedReader(connectionString.replace(/SharedAccessKey=[^;]*/, "SharedAccessKey=d3Jvbmc="), consumerGroup, "0"),
  "missing right": () => refusedReader(
    connectionString.replace(/SharedAccessKeyName=[^;]*/, "SharedAccessKeyName=SendOnly"),
    consumerGroup,
    "0",
  ),
  "unknown group": () => refusedReader(connectionString, "nobody", "0"),
  "unknown partition": () => refusedReader(connectionString, consumerGroup, "9"),
  "beyond the end": () => refusedReader(connectionString, consumerGroup, "0", { startPosition: { sequenceNumber: 7 } }),
  "too large": () => sending(connectionString, "x".repeat(300_000)),
  "taken by another": () => taken(),
  "too many readers": () => crowd(),
  "too fast": () => sending(busy, "x"),
  "idempotent sender": () => idempotent(),
};
const refusals = {};
for (const [name, point] of Object.entries(points)) {
  refusals[name] = await point();
}
console.log(JSON.stringify({ partitionIds: properties.partitionIds, name: properties.name, state, events, refusals }));
process.exit(0); // some clients are still at work
