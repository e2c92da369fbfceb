package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/tokensource"
)

// outcome is what came of one call.
type outcome struct {
	caller  caller
	seen    agwtest.Caller // whom the gateway saw
	latency time.Duration
	err     error
}

// play lets the workers make their calls and reports.
func (s *scene) play(ctx context.Context) report {
	begin := time.Now()
	todo := make(chan caller)
	done := make(chan outcome, workers)
	var crew sync.WaitGroup
	for range workers {
		crew.Go(func() {
			client := s.gateway.Client()
			for c := range todo {
				done <- s.call(ctx, client, c)
			}
		})
	}
	go func() {
		for i := range calls {
			todo <- s.callers[i%len(s.callers)]
		}
		close(todo)
		crew.Wait()
		close(done)
	}()
	var outcomes []outcome
	for o := range done {
		outcomes = append(outcomes, o)
	}
	return newReport(s, outcomes, time.Since(begin))
}

// call is what an agent does: one tool call on somebody's behalf. All that tells it
// apart from a call without this library is the context.
func (s *scene) call(ctx context.Context, client *http.Client, c caller) outcome {
	if c.tenant != "" {
		ctx = tokensource.WithTenant(ctx, c.tenant)
	}
	if c.user != "" {
		ctx = tokensource.WithUserToken(ctx, c.jwt)
	}
	begin := time.Now()
	seen, err := s.post(ctx, client)
	return outcome{caller: c, seen: seen, latency: time.Since(begin), err: err}
}

func (s *scene) post(ctx context.Context, client *http.Client) (agwtest.Caller, error) {
	url := s.gateway.URL("v1/mcp", "sap.s4:apiAccess:salesOrder:v1", "7f3c1a52-0d1e-4a39-9a51-53a8b1b6c001")
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(`{"tool":"list_orders"}`))
	if err != nil {
		return agwtest.Caller{}, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return agwtest.Caller{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return agwtest.Caller{}, fmt.Errorf("status %s", resp.Status)
	}
	echo, err := agwtest.DecodeEcho(resp.Body)
	return echo.Caller, err
}
