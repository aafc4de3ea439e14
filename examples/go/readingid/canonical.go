package readingid

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"unicode/utf16"
)

const maxSafeInteger = 1<<53 - 1

var digits = regexp.MustCompile(`^-?\d+$`)

// form says how whole numbers are written that a double does not hold exactly.
type form int

const (
	plain     form = iota // as RFC 8785 says
	asText                // as text
	allDigits             // as a number of all its digits
)

func decode(text []byte) (any, error) {
	decoder := json.NewDecoder(strings.NewReader(string(text)))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, err
	}
	if decoder.More() {
		return nil, fmt.Errorf("something stands behind the JSON value")
	}
	return value, nil
}

// hasLarge tells whether there is a whole number, without fraction and exponent, that a double does not hold exactly.
func hasLarge(value any) bool {
	switch value := value.(type) {
	case map[string]any:
		return slices.ContainsFunc(slices.Collect(maps.Values(value)), hasLarge)
	case []any:
		return slices.ContainsFunc(value, hasLarge)
	case json.Number:
		number, _ := value.Float64()
		return digits.MatchString(value.String()) && math.Abs(number) > maxSafeInteger
	default:
		return false
	}
}

func write(value any, form form) (string, error) {
	switch value := value.(type) {
	case map[string]any:
		return writeAll("{}", slices.SortedFunc(maps.Keys(value), byUTF16), func(name string) (string, error) {
			text, err := write(value[name], form)
			return quote(name) + ":" + text, err
		})
	case []any:
		return writeAll("[]", value, func(element any) (string, error) { return write(element, form) })
	case json.Number:
		return number(value, form)
	case string:
		return quote(value), nil
	case nil:
		return "null", nil
	default:
		return fmt.Sprint(value), nil // true or false
	}
}

func writeAll[T any](brackets string, items []T, write func(T) (string, error)) (string, error) {
	texts := make([]string, len(items))
	for index, item := range items {
		text, err := write(item)
		if err != nil {
			return "", err
		}
		texts[index] = text
	}
	return brackets[:1] + strings.Join(texts, ",") + brackets[1:], nil
}

func byUTF16(a, b string) int {
	return slices.Compare(utf16.Encode([]rune(a)), utf16.Encode([]rune(b)))
}

func number(text json.Number, form form) (string, error) {
	value, err := text.Float64()
	if err != nil {
		return "", err
	}
	if form != plain && value == math.Trunc(value) && math.Abs(value) > maxSafeInteger {
		whole, _ := big.NewFloat(value).Int(nil)
		if digits.MatchString(text.String()) {
			whole.SetString(text.String(), 10)
		}
		if form == asText {
			return quote(whole.String()), nil
		}
		return whole.String(), nil
	}
	if value == 0 {
		return "0", nil // not -0
	}
	written, err := json.Marshal(value) // as ECMAScript writes a double
	return string(written), err
}

var short = map[rune]string{'"': `\"`, '\\': `\\`, '\b': `\b`, '\f': `\f`, '\n': `\n`, '\r': `\r`, '\t': `\t`}

func quote(text string) string {
	var out strings.Builder
	for _, character := range text {
		if escaped, found := short[character]; found {
			out.WriteString(escaped)
		} else if character < ' ' {
			fmt.Fprintf(&out, `\u%04x`, character)
		} else {
			out.WriteRune(character)
		}
	}
	return `"` + out.String() + `"`
}
