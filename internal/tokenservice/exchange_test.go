package tokenservice

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/internal/pace"
)

type responder func() *http.Response

func (r responder) RoundTrip(*http.Request) (*http.Response, error) { return r(), nil }

// To search a response for a user token of 1 MiB takes time, in which another request can
// be under way.
func TestSlotIsGivenBackBeforeAResponseIsCleaned(t *testing.T) {
	t.Parallel()
	token := strings.Repeat("0123456789abcdef", 1<<16)
	pacer := pace.New(1)
	c := New(flows.Options{ServiceTransport: responder(func() *http.Response {
		return &http.Response{StatusCode: 400, Body: io.NopCloser(strings.NewReader(`{"error":"invalid_grant","error_description":"` + token[:100] + `"}`))}
	})}, nil, pacer)
	request := Request{Op: "op", URL: "https://tokens.example/", Secrets: []string{token}}
	slot, err := pacer.Acquire(t.Context(), "https://tokens.example:443")
	if err != nil {
		t.Fatal(err)
	}
	req, err := request.build()
	if err != nil {
		t.Fatal(err)
	}
	resp := c.exchange(t.Context(), slot, req)
	if resp.status != 400 || !strings.Contains(string(resp.body), token[:100]) {
		t.Errorf("got status %d with a body of %d bytes, want it as it was received: to clean it is the next step", resp.status, len(resp.body))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	next, err := pacer.Acquire(ctx, "https://tokens.example:443")
	if err != nil {
		t.Fatalf("after the exchange the slot is not free: %v", err)
	}
	next.Release()
	if _, err := c.Do(t.Context(), request); err == nil || strings.Contains(err.Error(), token[:8]) {
		t.Errorf("got error %v, want one without the token", err)
	}
}
