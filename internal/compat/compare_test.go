package compat_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/agwgo/agw/tokensource"
	"github.com/agwgo/agw/transport"
)

// tokens is a token service for both: an oauth2.TokenSource, and a flow of ours.
type tokens struct {
	fetches atomic.Int32
	life    time.Duration
	fails   atomic.Bool
}

var errDown = errors.New("the token service is down")

func (s *tokens) Token() (*oauth2.Token, error) {
	s.fetches.Add(1)
	if s.fails.Load() {
		return nil, errDown
	}
	return &oauth2.Token{AccessToken: "token", Expiry: time.Now().Add(s.life)}, nil
}

var identity = &tokensource.Identity{Flow: "compare"}

func (s *tokens) Identity() *tokensource.Identity { return identity }

func (s *tokens) Tenant(context.Context, string) (string, error) { return "", nil }

func (s *tokens) Fetch(context.Context, tokensource.Subject) (*tokensource.Response, error) {
	t, err := s.Token()
	if err != nil { // for good, so that one fetch is one attempt
		return nil, &tokensource.Error{Op: "fetch token", Err: err}
	}
	r := &tokensource.Response{}
	r.AccessToken, r.ExpiresIn = t.AccessToken, fmt.Append(nil, int64(s.life/time.Second))
	return r, nil
}

// each runs a measurement for x/oauth2 and for us, in a bubble of its own time.
func each(t *testing.T, s func() *tokens, want map[string]int, measure func(t *testing.T, s *tokens, src oauth2.TokenSource) int) {
	t.Helper()
	for name, n := range want {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := s()
				src := oauth2.ReuseTokenSource(nil, s)
				if name == "ours" {
					ours, err := tokensource.New(s, tokensource.Options{})
					if err != nil {
						t.Fatal(err)
					}
					src = ours
				}
				if got := measure(t, s, src); got != n {
					t.Errorf("got %d, want %d", got, n)
				}
			})
		})
	}
}

func TestCompareCallersAtOnce(t *testing.T) {
	healthy := func() *tokens { return &tokens{life: time.Hour} }
	down := func() *tokens {
		s := healthy()
		s.fails.Store(true)
		return s
	}
	fetches := func(_ *testing.T, s *tokens, src oauth2.TokenSource) int {
		var crowd sync.WaitGroup
		for range 1000 {
			crowd.Go(func() { _, _ = src.Token() })
		}
		crowd.Wait()
		return int(s.fetches.Load())
	}
	t.Run("healthy", func(t *testing.T) { each(t, healthy, map[string]int{"x/oauth2": 1, "ours": 1}, fetches) })
	t.Run("down", func(t *testing.T) { each(t, down, map[string]int{"x/oauth2": 1000, "ours": 1}, fetches) })
}

func TestCompareCallsInARowWhileDown(t *testing.T) {
	down := func() *tokens {
		s := &tokens{}
		s.fails.Store(true)
		return s
	}
	each(t, down, map[string]int{"x/oauth2": 10, "ours": 1}, func(_ *testing.T, s *tokens, src oauth2.TokenSource) int {
		for range 10 {
			_, _ = src.Token()
		}
		return int(s.fetches.Load())
	})
}

// Calls that fail in the last seconds of a token that is still good.
func TestCompareFailingRenewal(t *testing.T) {
	hour := func() *tokens { return &tokens{life: time.Hour} }
	each(t, hour, map[string]int{"x/oauth2": 5, "ours": 0}, func(_ *testing.T, s *tokens, src oauth2.TokenSource) (failed int) {
		_, _ = src.Token()
		s.fails.Store(true)
		time.Sleep(time.Hour - 6*time.Second)
		for range 5 {
			if _, err := src.Token(); err != nil {
				failed++
			}
			time.Sleep(time.Second)
		}
		return failed
	})
}

// What a host sees of the bearer when the resource redirects to it, and whether a
// token that was revoked early is replaced.
func TestCompareTransports(t *testing.T) {
	leaked := make(chan string, 1)
	foreign := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { leaked <- r.Header.Get("Authorization") }))
	defer foreign.Close()
	resource := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/redirect" {
			http.Redirect(w, r, foreign.URL, http.StatusFound)
		} else if r.Header.Get("Authorization") == "Bearer old" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer resource.Close()

	t.Run("x/oauth2", func(t *testing.T) {
		client := oauth2.NewClient(t.Context(), oauth2.ReuseTokenSource(nil, &successive{}))
		get(t, client, resource.URL+"/redirect")
		if got := <-leaked; !strings.HasPrefix(got, "Bearer ") {
			t.Errorf("the foreign host saw %q", got)
		}
		if got := get(t, client, resource.URL); got != http.StatusUnauthorized {
			t.Errorf("status %d after the revocation", got)
		}
	})
	t.Run("ours", func(t *testing.T) {
		fixed, err := tokensource.Fixed(&successive{}, resource.URL)
		if err != nil {
			t.Fatal(err)
		}
		client := &http.Client{Transport: transport.New(fixed, transport.Options{})}
		defer client.CloseIdleConnections()
		if _, err := client.Get(resource.URL + "/redirect"); !errors.Is(err, transport.ErrForeignHost) {
			t.Errorf("got %v", err)
		}
		if len(leaked) > 0 {
			t.Error("the foreign host was asked")
		}
	})
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

// successive is a source whose first token has been revoked.
type successive struct{ asked atomic.Int32 }

func (s *successive) Token() (*oauth2.Token, error) {
	if s.asked.Add(1) == 1 {
		return &oauth2.Token{AccessToken: "old"}, nil
	}
	return &oauth2.Token{AccessToken: "new"}, nil
}

func get(t *testing.T, client *http.Client, url string) int {
	t.Helper()
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}
