package adversary_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/agwgo/agw/tokensource"
)

// An output collects whatever a program could print, log or export.
type output struct {
	mu      sync.Mutex
	texts   map[string]string // where it was first seen, by text
	textLog lockedBuffer
	jsonLog lockedBuffer
}

func newOutput() *output { return &output{texts: map[string]string{}} }

// A lockedBuffer is a buffer for several goroutines.
type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) text() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

// allLevels is a level below all others.
const allLevels = slog.Level(-100)

// logger logs everything as text and as JSON.
func (o *output) logger() *slog.Logger {
	opts := &slog.HandlerOptions{Level: allLevels}
	return slog.New(slog.NewMultiHandler(slog.NewTextHandler(&o.textLog, opts), slog.NewJSONHandler(&o.jsonLog, opts)))
}

func (o *output) addText(where, text string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, known := o.texts[text]; !known {
		o.texts[text] = where
	}
}

// addEvent is a hook for events.
func (o *output) addEvent(ev tokensource.Event) {
	o.addText("event", fmt.Sprintf("%v %+v %#v", ev, ev, ev))
	o.addError("error of event "+string(ev.Kind), ev.Err)
}

// addValue adds everything that v prints as, also with verbs that do not fit: with those,
// package fmt follows pointers that it does not follow otherwise.
func (o *output) addValue(where string, v any) {
	for _, verb := range []string{"%s", "%d", "%t"} {
		o.addText(where+" "+verb, fmt.Sprintf(verb, v))
	}
	o.addValueInUse(where, v)
}

// addValueInUse adds what v prints as with verbs that fit. It is for values of net/http
// that others are using.
func (o *output) addValueInUse(where string, v any) {
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		o.addText(where+" "+verb, fmt.Sprintf(verb, v))
	}
	if b, err := json.Marshal(v); err == nil {
		o.addText(where+" as JSON", string(b))
	} else {
		o.addText(where+" as JSON", err.Error())
	}
	o.logger().Log(context.Background(), allLevels, where, "value", v)
}

// addError adds everything that err and each error within it print as, and all strings that
// can be reached from them.
func (o *output) addError(where string, err error) {
	if err == nil {
		return
	}
	o.addValue(fmt.Sprintf("%s (%T)", where, err), err)
	o.addStrings(where+" within", reflect.ValueOf(err), 12, map[uintptr]bool{})
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		o.addError(where, e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			o.addError(where, err)
		}
	}
}

// addStrings adds the strings within v, as a debugger would find them.
func (o *output) addStrings(where string, v reflect.Value, depth int, seen map[uintptr]bool) {
	if depth == 0 {
		return
	}
	switch v.Kind() {
	case reflect.String:
		o.addText(where, v.String())
	case reflect.Interface:
		o.addStrings(where, v.Elem(), depth, seen)
	case reflect.Pointer:
		if !v.IsNil() && !seen[v.Pointer()] {
			seen[v.Pointer()] = true
			o.addStrings(where, v.Elem(), depth-1, seen)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			o.addStrings(where+"."+v.Type().Field(i).Name, v.Field(i), depth-1, seen)
		}
	case reflect.Slice, reflect.Array:
		if v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8 {
			o.addText(where, string(v.Bytes()))
			return
		}
		for i := range v.Len() {
			o.addStrings(where, v.Index(i), depth-1, seen)
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			o.addStrings(where, it.Key(), depth-1, seen)
			o.addStrings(where, it.Value(), depth-1, seen)
		}
	}
}

// check fails the test if anything that came out of a case shows a part of a secret.
func (o *output) check(t *testing.T, name string, s *secrets) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	for text, where := range o.texts {
		if secret, part, found := s.find(text); found {
			t.Errorf("%s: %s shows %q, a part of a secret (%s):\n%.1000s", name, where, part, secret, text)
		}
	}
	for _, log := range []*lockedBuffer{&o.textLog, &o.jsonLog} {
		for line := range strings.Lines(log.text()) {
			if secret, part, found := s.find(line); found {
				t.Errorf("%s: a log shows %q, a part of a secret (%s):\n%.1000s", name, part, secret, line)
			}
		}
	}
}
