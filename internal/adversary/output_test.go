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
	mu    sync.Mutex
	texts map[string]string // where it was first seen, by text
	logs  [2]lockedBuffer   // text and JSON
}

func newOutput() *output { return &output{texts: make(map[string]string)} }

// lockedBuffer is a buffer for several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *lockedBuffer) text() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

// everything is a level below all others.
const everything = slog.Level(-100)

// logger logs everything as text and as JSON.
func (o *output) logger() *slog.Logger {
	opts := &slog.HandlerOptions{Level: everything}
	return slog.New(slog.NewMultiHandler(slog.NewTextHandler(&o.logs[0], opts), slog.NewJSONHandler(&o.logs[1], opts)))
}

func (o *output) add(where, text string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, known := o.texts[text]; !known {
		o.texts[text] = where
	}
}

// event is a hook for events.
func (o *output) event(ev tokensource.Event) {
	o.add("event", fmt.Sprintf("%v %+v %#v", ev, ev, ev))
	o.failure("error of event "+string(ev.Kind), ev.Err)
}

// value adds all that v prints as, also with verbs that do not fit: for those,
// package fmt follows pointers that it otherwise does not.
func (o *output) value(where string, v any) {
	for _, verb := range []string{"%s", "%d", "%t"} {
		o.add(where+" "+verb, fmt.Sprintf(verb, v))
	}
	o.usual(where, v)
}

// usual adds what v prints as with verbs that fit. It is for values of net/http that
// are in use.
func (o *output) usual(where string, v any) {
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		o.add(where+" "+verb, fmt.Sprintf(verb, v))
	}
	if b, err := json.Marshal(v); err == nil {
		o.add(where+" as JSON", string(b))
	} else {
		o.add(where+" as JSON", err.Error())
	}
	o.logger().Log(context.Background(), everything, where, "value", v)
}

// failure adds all that err prints as, each error within it, and all strings that
// can be reached from it.
func (o *output) failure(where string, err error) {
	if err == nil {
		return
	}
	o.value(fmt.Sprintf("%s (%T)", where, err), err)
	o.reach(where+" within", reflect.ValueOf(err), 12, map[uintptr]bool{})
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		o.failure(where, e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			o.failure(where, err)
		}
	}
}

// reach adds the strings within v, as a debugger would find them.
func (o *output) reach(where string, v reflect.Value, depth int, seen map[uintptr]bool) {
	if depth == 0 {
		return
	}
	switch v.Kind() {
	case reflect.String:
		o.add(where, v.String())
	case reflect.Interface:
		o.reach(where, v.Elem(), depth, seen)
	case reflect.Pointer:
		if !v.IsNil() && !seen[v.Pointer()] {
			seen[v.Pointer()] = true
			o.reach(where, v.Elem(), depth-1, seen)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			o.reach(where+"."+v.Type().Field(i).Name, v.Field(i), depth-1, seen)
		}
	case reflect.Slice, reflect.Array:
		o.elements(where, v, depth, seen)
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			o.reach(where, it.Key(), depth-1, seen)
			o.reach(where, it.Value(), depth-1, seen)
		}
	}
}

func (o *output) elements(where string, v reflect.Value, depth int, seen map[uintptr]bool) {
	if v.Type().Elem().Kind() == reflect.Uint8 && v.Kind() == reflect.Slice {
		o.add(where, string(v.Bytes()))
		return
	}
	for i := range v.Len() {
		o.reach(where, v.Index(i), depth-1, seen)
	}
}

// check fails the test if anything that came out of a case shows a part of a secret.
func (o *output) check(t *testing.T, when string, v *vault) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	for text, where := range o.texts {
		if name, part, found := v.find(text); found {
			t.Errorf("%s: %s shows %q of the %s:\n%s", when, where, part, name, abridged(text))
		}
	}
	for i := range o.logs {
		for line := range strings.Lines(o.logs[i].text()) {
			if name, part, found := v.find(line); found {
				t.Errorf("%s: a log shows %q of the %s:\n%s", when, part, name, abridged(line))
			}
		}
	}
}

func abridged(text string) string {
	if len(text) > 1000 {
		return text[:1000] + "…"
	}
	return text
}
