package readingid

import (
	"encoding/json"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"
)

type vector struct {
	Name, Source, Strategy, Rule, ID string
	Fields                           []string
	TimeNs                           string `json:"time_ns"`
	Data                             json.RawMessage
}

// Every golden vector has its id.
func TestVectors(t *testing.T) {
	text, err := os.ReadFile("../../../tests/vectors/reading_ids.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors struct{ IDs, Samples []vector }
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	for _, vector := range vectors.IDs {
		t.Run("ids: "+vector.Name, func(t *testing.T) {
			expect(t, vector.ID, ID(vector.Source, vector.Strategy, vector.Fields...))
		})
	}
	for _, sample := range vectors.Samples {
		t.Run("samples: "+sample.Name, func(t *testing.T) { expect(t, sample.ID, idOf(t, sample)) })
	}
}

func idOf(t *testing.T, sample vector) (id string) {
	time, err := strconv.ParseInt(sample.TimeNs, 10, 64)
	strategy, argument, _ := strings.Cut(sample.Rule, ":")
	switch strategy {
	case "source-time":
		id = SourceTime(sample.Source, time)
	case "source-time+value":
		id, err = SourceTimeAndValue(sample.Source, time, sample.Data)
	case "sequence":
		var payload struct {
			Epoch    string
			Sequence int64
		}
		err = json.Unmarshal(sample.Data, &payload)
		id = Sequence(sample.Source, payload.Epoch, payload.Sequence)
	case "content":
		id, err = Content(sample.Source, sample.Data)
	case "time-bucket":
		interval, phase, _ := strings.Cut(argument, "+")
		id = TimeBucket(sample.Source, time, nanoseconds(interval), nanoseconds(phase))
	}
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func nanoseconds(seconds string) int64 {
	value, _ := strconv.ParseFloat(seconds, 64)
	return int64(math.Round(value * 1e9))
}

func expect(t *testing.T, want, got string) {
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
