// Speaks to a hub through the JavaScript SDK and prints what it saw as one JSON line.
// Usage: node event_hubs.mjs CONNECTION_STRING CONSUMER_GROUP PARTITION EVENT_COUNT
import { EventHubConsumerClient, EventHubProducerClient, earliestEventPosition } from "@azure/event-hubs";

const [connectionString, consumerGroup, partitionId, count] = process.argv.slice(2);

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
console.log(JSON.stringify({ partitionIds: properties.partitionIds, name: properties.name, state, events }));
