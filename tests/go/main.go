// Speaks to a hub through the Go SDK and prints what it saw as one JSON line.
// Usage: event-hubs CONNECTION_STRING CONSUMER_GROUP PARTITION EVENT_COUNT BUSY_CONNECTION_STRING
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
)

const deadline = 60 * time.Second

type event struct {
	Body           string
	SequenceNumber int64
	MessageID      *string
	Properties     map[string]any
}

type seen struct {
	Hub         azeventhubs.EventHubProperties
	State       azeventhubs.PartitionProperties
	FromStart   []event
	AfterNumber []event
	Refusals    map[string]string
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	count, err := strconv.Atoi(os.Args[4])
	check(err)
	producer, err := azeventhubs.NewProducerClientFromConnectionString(os.Args[1], "", nil)
	check(err)
	consumer, err := azeventhubs.NewConsumerClientFromConnectionString(os.Args[1], "", os.Args[2], nil)
	check(err)
	var saw seen
	send(ctx, producer, os.Args[3], count)
	saw.Hub, err = producer.GetEventHubProperties(ctx, nil)
	check(err)
	saw.State, err = producer.GetPartitionProperties(ctx, os.Args[3], nil)
	check(err)
	start, zero := true, int64(0)
	saw.FromStart = receive(ctx, consumer, os.Args[3], count, azeventhubs.StartPosition{Earliest: &start})
	saw.AfterNumber = receive(ctx, consumer, os.Args[3], count-1, azeventhubs.StartPosition{SequenceNumber: &zero})
	check(producer.Close(ctx))
	check(consumer.Close(ctx))
	saw.Refusals = refusals(ctx, os.Args[1], os.Args[2], os.Args[3], os.Args[5])
	check(json.NewEncoder(os.Stdout).Encode(saw))
}

func send(ctx context.Context, producer *azeventhubs.ProducerClient, partition string, count int) {
	batch, err := producer.NewEventDataBatch(ctx, &azeventhubs.EventDataBatchOptions{PartitionID: &partition})
	check(err)
	for number := range count {
		id := fmt.Sprintf("go-%d", number)
		properties := map[string]any{"number": number, "text": "ä"}
		check(batch.AddEventData(&azeventhubs.EventData{Body: []byte(id), MessageID: &id, Properties: properties}, nil))
	}
	check(producer.SendEventDataBatch(ctx, batch, nil))
}

func receive(
	ctx context.Context, consumer *azeventhubs.ConsumerClient, partition string, count int, start azeventhubs.StartPosition,
) []event {
	client, err := consumer.NewPartitionClient(partition, &azeventhubs.PartitionClientOptions{StartPosition: start})
	check(err)
	defer client.Close(ctx)
	received, err := client.ReceiveEvents(ctx, count, nil)
	check(err)
	events := make([]event, 0, count)
	for _, one := range received {
		events = append(events, event{string(one.Body), one.SequenceNumber, one.MessageID, one.Properties})
	}
	return events
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
