// Speaks to hubs through the SDK for Java and prints what it saw as one JSON line.
// Usage: EventHubs CONNECTION_STRING CONSUMER_GROUP PARTITION EVENT_COUNT BUSY_CONNECTION_STRING

import com.azure.core.amqp.AmqpRetryOptions;
import com.azure.core.amqp.exception.AmqpException;
import com.azure.messaging.eventhubs.EventData;
import com.azure.messaging.eventhubs.EventDataBatch;
import com.azure.messaging.eventhubs.EventHubClientBuilder;
import com.azure.messaging.eventhubs.EventHubConsumerAsyncClient;
import com.azure.messaging.eventhubs.EventHubProducerClient;
import com.azure.messaging.eventhubs.EventHubProperties;
import com.azure.messaging.eventhubs.PartitionProperties;
import com.azure.messaging.eventhubs.models.CreateBatchOptions;
import com.azure.messaging.eventhubs.models.EventPosition;
import com.azure.messaging.eventhubs.models.PartitionEvent;
import com.azure.messaging.eventhubs.models.ReceiveOptions;
import com.azure.messaging.eventhubs.models.SendOptions;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import reactor.core.Exceptions;

public final class EventHubs {
    private static final Duration DEADLINE = Duration.ofSeconds(30);

    private final String hub;
    private final String group;
    private final String partition;

    private EventHubs(String hub, String group, String partition) {
        this.hub = hub;
        this.group = group;
        this.partition = partition;
    }

    public static void main(String[] arguments) throws Exception {
        EventHubs peer = new EventHubs(arguments[0], arguments[1], arguments[2]);
        Map<String, Object> saw = new LinkedHashMap<>();
        peer.sendAndRead(Integer.parseInt(arguments[3]), saw);
        saw.put("refusals", peer.refusals(arguments[4]));
        System.out.println(new ObjectMapper().writeValueAsString(saw));
        System.exit(0); // the SDK's threads are not waited for
    }

    private static EventHubClientBuilder builder(String connectionString, String group) {
        AmqpRetryOptions once = new AmqpRetryOptions().setMaxRetries(0).setTryTimeout(DEADLINE);
        return new EventHubClientBuilder().connectionString(connectionString).consumerGroup(group).retryOptions(once);
    }

    private void sendAndRead(int count, Map<String, Object> saw) {
        try (EventHubProducerClient producer = builder(hub, group).buildProducerClient()) {
            EventDataBatch batch = producer.createBatch(new CreateBatchOptions().setPartitionId(partition));
            for (int number = 0; number < count; number++) {
                EventData event = new EventData("java-" + number).setMessageId("java-" + number);
                event.getProperties().put("number", number);
                event.getProperties().put("text", "ä");
                batch.tryAdd(event);
            }
            producer.send(batch);
            EventHubProperties properties = producer.getEventHubProperties();
            saw.put("name", properties.getName());
            saw.put("partitionIds", properties.getPartitionIds().stream().toList());
            PartitionProperties state = producer.getPartitionProperties(partition);
            saw.put("last", state.getLastEnqueuedSequenceNumber());
            saw.put("isEmpty", state.isEmpty());
        }
        saw.put("fromStart", read(hub, group, partition, EventPosition.earliest(), count));
        saw.put("afterNumber", read(hub, group, partition, EventPosition.fromSequenceNumber(0), count - 1));
    }

    private static List<Object> read(String hub, String group, String partition, EventPosition from, int count) {
        List<Object> events = new ArrayList<>();
        try (EventHubConsumerAsyncClient consumer = builder(hub, group).buildAsyncConsumerClient()) {
            consumer.receiveFromPartition(partition, from).take(count).map(PartitionEvent::getData)
                .map(event -> Map.of("body", event.getBodyAsString(), "sequenceNumber", event.getSequenceNumber(),
                    "messageId", event.getMessageId(), "properties", event.getProperties()))
                .doOnNext(events::add).blockLast(DEADLINE);
        }
        return events;
    }

    /** The condition with which each of these is refused, by what is wrong with it. */
    private Map<String, String> refusals(String busy) throws InterruptedException {
        Map<String, String> seen = new LinkedHashMap<>();
        String unknown = hub.replace("EntityPath=telemetry", "EntityPath=nope");
        String wrongKey = hub.replaceAll("SharedAccessKey=[^;]*", "SharedAccessKey=d3Jvbmc=");
        String sendOnly = hub.replaceAll("SharedAccessKeyName=[^;]*", "SharedAccessKeyName=SendOnly");
        EventPosition start = EventPosition.earliest();
        seen.put("unknown hub", refusal(() -> read(unknown, group, "0", start, 1)));
        seen.put("wrong key", refusal(() -> read(wrongKey, group, "0", start, 1)));
        seen.put("missing right", refusal(() -> read(sendOnly, group, "0", start, 1)));
        seen.put("unknown group", refusal(() -> read(hub, "nobody", "0", start, 1)));
        seen.put("unknown partition", refusal(() -> read(hub, group, "9", start, 1)));
        seen.put("beyond the end", refusal(() -> read(hub, group, "0", EventPosition.fromSequenceNumber(7), 1)));
        seen.put("too large", refusal(() -> send(hub, "x".repeat(300_000))));
        seen.put("taken by another", taken());
        seen.put("too many readers", crowd());
        seen.put("too fast", refusal(() -> send(busy, "x")));
        return seen;
    }

    private static String refusal(Runnable action) {
        try {
            action.run();
            return "none";
        } catch (RuntimeException error) {
            return condition(error);
        }
    }

    private static String condition(Throwable error) {
        for (Throwable cause = Exceptions.unwrap(error); cause != null; cause = cause.getCause()) {
            if (cause instanceof AmqpException amqp && amqp.getErrorCondition() != null) {
                return amqp.getErrorCondition().getErrorCondition();
            }
        }
        return error.toString();
    }

    private void send(String to, String body) {
        try (EventHubProducerClient producer = builder(to, group).buildProducerClient()) {
            producer.send(List.of(new EventData(body)), new SendOptions().setPartitionId("0"));
        }
    }

    /** What the first of two readers with owner levels is told, when the second one takes its place. */
    private String taken() throws InterruptedException {
        try (EventHubConsumerAsyncClient consumer = builder(hub, group).buildAsyncConsumerClient();
             EventHubConsumerAsyncClient other = builder(hub, group).buildAsyncConsumerClient()) {
            Readers readers = new Readers(1);
            readers.add(consumer, partition, new ReceiveOptions().setOwnerLevel(1L));
            readers.haveBegun();
            new Readers(1).add(other, partition, new ReceiveOptions().setOwnerLevel(2L));
            return readers.firstRefusal();
        }
    }

    /** What the sixth reader of a partition is told. */
    private String crowd() throws InterruptedException {
        try (EventHubConsumerAsyncClient consumer = builder(hub, "$Default").buildAsyncConsumerClient()) {
            Readers readers = new Readers(5);
            for (int number = 0; number < 5; number++) {
                readers.add(consumer, partition, new ReceiveOptions());
            }
            readers.haveBegun();
            Readers sixth = new Readers(1);
            sixth.add(consumer, partition, new ReceiveOptions());
            return sixth.firstRefusal();
        }
    }

    /** Readers of a partition that has events, so that it shows when they have begun. */
    private static final class Readers {
        private final CountDownLatch refused = new CountDownLatch(1);
        private final CountDownLatch begun;
        private final Map<Integer, Boolean> known = new ConcurrentHashMap<>();
        private volatile String refusal = "none";

        Readers(int count) {
            begun = new CountDownLatch(count);
        }

        void add(EventHubConsumerAsyncClient consumer, String partition, ReceiveOptions options) {
            int number = known.size();
            known.put(number, false);
            consumer.receiveFromPartition(partition, EventPosition.earliest(), options).subscribe(
                event -> {
                    if (Boolean.FALSE.equals(known.put(number, true))) {
                        begun.countDown();
                    }
                },
                error -> {
                    refusal = condition(error);
                    refused.countDown();
                });
        }

        void haveBegun() throws InterruptedException {
            begun.await(DEADLINE.toSeconds(), TimeUnit.SECONDS);
        }

        String firstRefusal() throws InterruptedException {
            refused.await(DEADLINE.toSeconds(), TimeUnit.SECONDS);
            return refusal;
        }
    }
}
