package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/agwgo/agw"
	"github.com/agwgo/agw/transport"
)

// A server that sends the client elsewhere does not get the token there.
func TestForeignHost(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		serve   func(foreign string) http.HandlerFunc
		connect func(endpoint string, client *http.Client) mcp.Transport
		refused func(error) bool
	}{
		"endpoint event": {
			func(foreign string) http.HandlerFunc {
				return func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", "text/event-stream")
					_, _ = fmt.Fprintf(w, "event: endpoint\ndata: %s/messages\n\n", foreign)
					_ = http.NewResponseController(w).Flush()
					<-r.Context().Done()
				}
			},
			func(endpoint string, client *http.Client) mcp.Transport {
				return &mcp.SSEClientTransport{Endpoint: endpoint, HTTPClient: client}
			},
			// The SDK says either what the transport said, or only that the session ended.
			func(error) bool { return true },
		},
		"redirect": {
			func(foreign string) http.HandlerFunc {
				return func(w http.ResponseWriter, r *http.Request) {
					http.Redirect(w, r, foreign+"/messages", http.StatusTemporaryRedirect)
				}
			},
			func(endpoint string, client *http.Client) mcp.Transport {
				return &mcp.StreamableClientTransport{Endpoint: endpoint, HTTPClient: client}
			},
			func(err error) bool { return errors.Is(err, transport.ErrForeignHost) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, s := start(t, agw.Config{})
			s.server.Handle("/evil", test.serve(s.server.ForeignURL()))
			client := s.gateway.ClientFor(subjectOf(s, "alice"))
			seen := &refusals{RoundTripper: client.Transport}
			client.Transport = seen
			err := connectOnce(ctx, test.connect(s.gateway.URL("evil"), client))
			if seen.n.Load() == 0 {
				t.Error("the transport refused nothing")
			}
			if err == nil || !test.refused(err) {
				t.Errorf("Connect = %v, want an ErrForeignHost", err)
			}
			if n := s.server.Counts().Foreign; n != 0 {
				t.Errorf("the foreign host got %d requests", n)
			}
		})
	}
}

func connectOnce(ctx context.Context, tr mcp.Transport) error {
	session, err := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil).Connect(ctx, tr, nil)
	if err == nil {
		_ = session.Close()
	}
	return err
}

// refusals counts the requests that the transport refuses as leading to a foreign
// host.
type refusals struct {
	http.RoundTripper
	n atomic.Int32
}

func (r *refusals) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := r.RoundTripper.RoundTrip(req)
	if errors.Is(err, transport.ErrForeignHost) {
		r.n.Add(1)
	}
	return resp, err
}
