// Package readingid gives a reading the id that docs/identity.md defines: the same on every replica, after every restart.
package readingid

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strconv"
)

const versionTag = "dedup-id:1"

// ID hashes the parts, each preceded by its length. The functions below give it the fields of each strategy.
func ID(source, strategy string, fields ...string) string {
	hash := sha256.New()
	for _, part := range append([]string{versionTag, source, strategy}, fields...) {
		hash.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part))))
		hash.Write([]byte(part))
	}
	return hex.EncodeToString(hash.Sum(nil)[:16])
}

// SourceTime is for servers that stamp a reading once for all subscribers; times are nanoseconds since 1970.
func SourceTime(source string, time int64) string {
	return ID(source, "source-time", decimal(time))
}

// SourceTimeAndValue is for gateways that repeat values, or give two values one time. The value is JSON.
func SourceTimeAndValue(source string, time int64, value []byte) (string, error) {
	decoded, err := decode(value)
	if err != nil {
		return "", err
	}
	text, err := write(decoded, asText)
	return ID(source, "source-time+value", decimal(time), text), err
}

// Sequence is for payloads with a counter, and an epoch (or "") that changes when the counter starts over.
func Sequence(source, epoch string, counter int64) string {
	return ID(source, "sequence", epoch, decimal(counter))
}

// Content is for events whose payload, which is JSON, contains their own time.
func Content(source string, payload []byte) (string, error) {
	value, err := decode(payload)
	if err != nil {
		return "", err
	}
	if hasLarge(value) {
		text, err := write(value, allDigits)
		return ID(source, "content", "all-digits:1", text), err
	}
	text, err := write(value, plain)
	return ID(source, "content", text), err
}

// TimeBucket is for sources whose server stamps each subscription separately: the nearest point of the source's own grid.
func TimeBucket(source string, time, interval, phase int64) string {
	doubled := 2*(time-phase) + interval
	bucket := doubled / (2 * interval)
	if doubled%(2*interval) < 0 {
		bucket-- // Go's division rounds towards zero
	}
	return ID(source, "time-bucket", decimal(interval), decimal(phase), decimal(bucket))
}

func decimal(number int64) string { return strconv.FormatInt(number, 10) }
