package main

import (
	"context"
	"errors"
	"regexp"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/go-amqp"
)

var once = azeventhubs.RetryOptions{MaxRetries: -1}

// refusals tells by what the SDK names each refusal: its own code, or else the condition of the service.
func refusals(ctx context.Context, hub string, group string, partition string, busy string) map[string]string {
	unknown := strings.Replace(hub, "EntityPath=telemetry", "EntityPath=nope", 1)
	wrongKey := regexp.MustCompile(`SharedAccessKey=[^;]*`).ReplaceAllString(hub, "SharedAccessKey=d3Jvbmc=")
	sendOnly := regexp.MustCompile(`SharedAccessKeyName=[^;]*`).ReplaceAllString(hub, "SharedAccessKeyName=SendOnly")
	seventh := int64(7)
	return map[string]string{
		"unknown hub":       code(read(ctx, unknown, group, "0", azeventhubs.StartPosition{})),
		"wrong key":         code(read(ctx, wrongKey, group, "0", azeventhubs.StartPosition{})),
		"missing right":     code(read(ctx, sendOnly, group, "0", azeventhubs.StartPosition{})),
		"unknown group":     code(read(ctx, hub, "nobody", "0", azeventhubs.StartPosition{})),
		"unknown partition": code(read(ctx, hub, group, "9", azeventhubs.StartPosition{})),
		"beyond the end":    code(read(ctx, hub, group, "0", azeventhubs.StartPosition{SequenceNumber: &seventh})),
		"taken by another":  code(taken(ctx, hub, group, partition)),
		"too many readers":  code(crowd(ctx, hub, partition)),
		"too fast":          code(sendOne(ctx, busy)),
	}
}

func code(err error) string {
	var own *azeventhubs.Error
	if errors.As(err, &own) {
		return string(own.Code)
	}
	var link *amqp.LinkError
	if errors.As(err, &link) && link.RemoteErr != nil {
		return string(link.RemoteErr.Condition)
	}
	var refused *amqp.Error
	if errors.As(err, &refused) {
		return string(refused.Condition)
	}
	if err != nil {
		return err.Error()
	}
	return "none"
}

func consumerOf(hub string, group string) *azeventhubs.ConsumerClient {
	client, err := azeventhubs.NewConsumerClientFromConnectionString(
		hub, "", group, &azeventhubs.ConsumerClientOptions{RetryOptions: once},
	)
	check(err)
	return client
}

func read(ctx context.Context, hub string, group string, partition string, start azeventhubs.StartPosition) error {
	consumer := consumerOf(hub, group)
	defer consumer.Close(ctx)
	return receiveOne(ctx, consumer, partition, &azeventhubs.PartitionClientOptions{StartPosition: start})
}

func receiveOne(
	ctx context.Context, consumer *azeventhubs.ConsumerClient, partition string, options *azeventhubs.PartitionClientOptions,
) error {
	client, err := consumer.NewPartitionClient(partition, options)
	check(err)
	_, err = client.ReceiveEvents(ctx, 1, nil)
	return err
}

// taken is what the first of two readers with owner levels is told, when the second one takes its place.
func taken(ctx context.Context, hub string, group string, partition string) error {
	consumer := consumerOf(hub, group)
	defer consumer.Close(ctx)
	start, low, high := true, int64(1), int64(2)
	from := azeventhubs.StartPosition{Earliest: &start}
	first, err := consumer.NewPartitionClient(partition, &azeventhubs.PartitionClientOptions{StartPosition: from, OwnerLevel: &low})
	check(err)
	_, err = first.ReceiveEvents(ctx, 1, nil)
	check(err)
	check(receiveOne(ctx, consumer, partition, &azeventhubs.PartitionClientOptions{StartPosition: from, OwnerLevel: &high}))
	for err == nil {
		_, err = first.ReceiveEvents(ctx, 1, nil)
	}
	return err
}

// crowd is what the sixth reader of a partition is told.
func crowd(ctx context.Context, hub string, partition string) error {
	consumer := consumerOf(hub, "$Default")
	defer consumer.Close(ctx)
	start := true
	for {
		options := &azeventhubs.PartitionClientOptions{StartPosition: azeventhubs.StartPosition{Earliest: &start}}
		if err := receiveOne(ctx, consumer, partition, options); err != nil {
			return err
		}
	}
}

func sendOne(ctx context.Context, hub string) error {
	producer, err := azeventhubs.NewProducerClientFromConnectionString(
		hub, "", &azeventhubs.ProducerClientOptions{RetryOptions: once},
	)
	check(err)
	defer producer.Close(ctx)
	batch, err := producer.NewEventDataBatch(ctx, nil)
	if err != nil {
		return err
	}
	check(batch.AddEventData(&azeventhubs.EventData{Body: []byte("x")}, nil))
	return producer.SendEventDataBatch(ctx, batch, nil)
}
