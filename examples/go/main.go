// Sends readings from standard input (one JSON object a line: source, time, data) to an Event Hub, each with the id that every
// other replica gives it. HUB_CONNECTION_STRING names the hub, REPLICA this sender.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"example.com/edge-sender/readingid"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
)

type reading struct {
	Source string
	Time   time.Time
	Data   json.RawMessage
}

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintf(os.Stderr, "not everything was sent: %v\nSend it again: the ids will be the same.\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	producer, err := azeventhubs.NewProducerClientFromConnectionString(os.Getenv("HUB_CONNECTION_STRING"), "", nil)
	if err != nil {
		return err
	}
	return errors.Join(send(ctx, producer, os.Getenv("REPLICA")), producer.Close(ctx))
}

func send(ctx context.Context, producer *azeventhubs.ProducerClient, replica string) error {
	// The replica is the partition key: what it sends stays in order.
	out := &sender{producer: producer, options: &azeventhubs.EventDataBatchOptions{PartitionKey: &replica}}
	if err := out.begin(ctx); err != nil {
		return err
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		one, err := event(lines.Bytes(), replica)
		if err != nil {
			return err
		}
		if err := out.add(ctx, one); err != nil {
			return err
		}
	}
	return errors.Join(lines.Err(), out.flush(ctx))
}

type sender struct {
	producer *azeventhubs.ProducerClient
	options  *azeventhubs.EventDataBatchOptions
	batch    *azeventhubs.EventDataBatch
}

func (s *sender) begin(ctx context.Context) (err error) {
	s.batch, err = s.producer.NewEventDataBatch(ctx, s.options)
	return err
}

func (s *sender) flush(ctx context.Context) error {
	if s.batch.NumEvents() == 0 {
		return nil
	}
	return s.producer.SendEventDataBatch(ctx, s.batch, nil)
}

func (s *sender) add(ctx context.Context, one *azeventhubs.EventData) error {
	err := s.batch.AddEventData(one, nil)
	if !errors.Is(err, azeventhubs.ErrEventDataTooLarge) || s.batch.NumEvents() == 0 {
		return err
	}
	if err := errors.Join(s.flush(ctx), s.begin(ctx)); err != nil {
		return err
	}
	return s.batch.AddEventData(one, nil)
}

// event makes the id before anything is sent: a retry sends the same event.
func event(line []byte, replica string) (*azeventhubs.EventData, error) {
	var one reading
	if err := json.Unmarshal(line, &one); err != nil {
		return nil, fmt.Errorf("%s: %w", line, err)
	}
	if year := one.Time.Year(); one.Source == "" || year < 1678 || year > 2261 {
		return nil, fmt.Errorf("%s: no source, or no time that nanoseconds since 1970 can tell", line)
	}
	contentType := "application/json"
	return &azeventhubs.EventData{
		Body:        one.Data,
		ContentType: &contentType,
		Properties: map[string]any{
			"cloudEvents_specversion": "1.0",
			"cloudEvents_type":        "reading",
			"cloudEvents_source":      one.Source,
			"cloudEvents_id":          readingid.SourceTime(one.Source, one.Time.UnixNano()),
			"cloudEvents_time":        one.Time.UTC().Format(time.RFC3339Nano),
			"cloudEvents_replica":     replica,
		},
	}, nil
}
