package lob_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/tokensource"
)

func TestFragmentNameIsFreshForFiveMinutes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServices()
		flow := s.newFlow(t, flows.Options{})
		mustFetch(t, flow, "acme", "")
		assertSequence(t, "first fetch", s, "auth fragments destination")
		time.Sleep(5*time.Minute - time.Nanosecond)
		mustFetch(t, flow, "acme", "")
		assertSequence(t, "just before five minutes", s, "destination")
		time.Sleep(time.Nanosecond)
		mustFetch(t, flow, "acme", "")
		assertSequence(t, "after five minutes", s, "fragments destination")
	})
}

func TestFragmentNameOutlivesTemporaryFailures(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServices()
		flow := s.newFlow(t, flows.Options{})
		mustFetch(t, flow, "acme", "")
		s.sequence()
		for _, temporary := range []httpResponse{{}, {500, "oops"}, {503, ""}, {200, "<html>"}} {
			time.Sleep(6 * time.Minute)
			s.fragments = func(int, request) httpResponse { return temporary }
			mustFetch(t, flow, "acme", "")
			assertSequence(t, fmt.Sprintf("the search leads to %v", temporary), s, "fragments destination")
		}
		time.Sleep(time.Hour)
		err := fetchError(t, flow, "acme", "")
		assertError(t, err, "find fragment")
	})
}

func TestFragmentNameDoesNotOutliveItsFragment(t *testing.T) {
	t.Parallel()
	for _, final := range []httpResponse{{200, `[]`}, {404, ``}, {403, `{"error":"access_denied"}`}} {
		synctest.Test(t, func(t *testing.T) {
			s := newServices()
			flow := s.newFlow(t, flows.Options{})
			mustFetch(t, flow, "acme", "")
			time.Sleep(6 * time.Minute)
			s.fragments = func(int, request) httpResponse { return final }
			err := fetchError(t, flow, "acme", "")
			assertError(t, err, "find fragment")
			s.fragments = func(int, request) httpResponse { return httpResponse{500, ``} }
			err = fetchError(t, flow, "acme", "")
			assertError(t, err, "find fragment", "500") // a temporary failure does not bring it back
		})
	}
}

func TestClientIDIsFreshForFiveMinutes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServices()
		flow := s.newFlow(t, flows.Options{})
		ask := func(when string) {
			t.Helper()
			if id, err := flow.ClientID(t.Context()); id != "ias-client" || err != nil {
				t.Errorf("%s: got client id %q and error %v, want ias-client", when, id, err)
			}
		}
		ask("first")
		time.Sleep(5*time.Minute - time.Nanosecond)
		ask("just before five minutes")
		assertSequence(t, "just before five minutes", s, "auth destination")
		time.Sleep(time.Nanosecond)
		ask("after five minutes")
		assertSequence(t, "after five minutes", s, "destination")
		time.Sleep(6 * time.Minute)
		s.destination = func(int, request) httpResponse { return httpResponse{500, ``} }
		ask("while the Destination Service is down")
	})
}

// slowFragments lets the search for fragments take a while.
func slowFragments(d time.Duration) func(int, request) httpResponse {
	return func(int, request) httpResponse {
		time.Sleep(d)
		return httpResponse{200, `[{"FragmentName":"frag"}]`}
	}
}

// A caller that leaves does not harm those who wait for the same name.
func TestLookupIsSharedAndDetached(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServices()
		s.fragments = slowFragments(time.Second)
		flow := s.newFlow(t, flows.Options{})
		var group sync.WaitGroup
		for i := range 20 {
			leaves := i%2 == 0
			ctx, cancel := context.WithCancel(t.Context())
			if leaves {
				time.AfterFunc(500*time.Millisecond, cancel)
			}
			group.Go(func() {
				defer cancel()
				begin := time.Now()
				_, err := flow.Fetch(ctx, subject("acme", ""))
				switch waited := time.Since(begin); {
				case leaves && (!errors.Is(err, context.Canceled) || waited != 500*time.Millisecond):
					t.Errorf("caller %d left after 500 ms: got %v after %v, want context.Canceled", i, err, waited)
				case !leaves && err != nil:
					t.Errorf("caller %d stayed: got %v, want a token", i, err)
				}
			})
		}
		group.Wait()
		assertSequence(t, "10 of 20 callers stayed", s, "auth fragments"+strings.Repeat(" destination", 10))
	})
}

// A lookup ends after the FetchTimeout, whoever waits for it, and the next one starts anew.
func TestLookupEndsAfterTheFetchTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServices()
		s.fragments = func(n int, r request) httpResponse {
			if n == 1 {
				time.Sleep(time.Hour)
			}
			return httpResponse{200, `[{"FragmentName":"frag"}]`}
		}
		flow := s.newFlow(t, flows.Options{Tokens: tokensource.Options{Settings: tokensource.Settings{FetchTimeout: 10 * time.Second}}})
		begin := time.Now()
		err := fetchError(t, flow, "acme", "")
		if waited := time.Since(begin); waited > 10*time.Second || !requestError(t, err).Temporary() || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a search that takes an hour: got %v after %v, want a temporary error within 10 s", err, waited)
		}
		mustFetch(t, flow, "acme", "")
		time.Sleep(time.Hour) // until the fake has responded
		assertSequence(t, "a search that takes an hour, and the next one", s, "auth fragments fragments destination")
	})
}

func TestPurge(t *testing.T) {
	t.Parallel()
	s := newServices()
	flow := s.newFlow(t, flows.Options{})
	mustFetch(t, flow, "acme", "")
	mustFetch(t, flow, "globex", "")
	if _, err := flow.ClientID(t.Context()); err != nil {
		t.Fatalf("ClientID: %v", err)
	}
	s.sequence()
	flow.Purge()
	mustFetch(t, flow, "globex", "")
	mustFetch(t, flow, "acme", "")
	assertSequence(t, "two tenants after Purge", s, "auth fragments destination auth fragments destination")
	if _, err := flow.ClientID(t.Context()); err != nil {
		t.Errorf("ClientID after Purge: %v", err)
	}
	assertSequence(t, "client id after Purge", s, "auth destination")
}

// What is on its way when everything is dropped is not remembered.
func TestPurgeDuringALookup(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServices()
		s.fragments = slowFragments(time.Second)
		flow := s.newFlow(t, flows.Options{})
		var group sync.WaitGroup
		group.Go(func() {
			if _, err := flow.Fetch(t.Context(), subject("acme", "")); err != nil {
				t.Errorf("the caller who waits: got %v, want a token", err)
			}
		})
		time.Sleep(time.Second / 2)
		flow.Purge()
		group.Wait()
		assertSequence(t, "the service token is dropped while the fragment is searched for", s, "auth fragments auth destination")
		mustFetch(t, flow, "acme", "")
		assertSequence(t, "the name was dropped as well", s, "fragments destination")
	})
}

func TestTenantsDoNotShareFragments(t *testing.T) {
	t.Parallel()
	s := newServices()
	s.fragments = func(_ int, r request) httpResponse {
		return httpResponse{200, `[{"FragmentName":"of-` + r.Header.Get("Authorization")[len("Bearer "+serviceJWT):] + `"}]`}
	}
	flow := s.newFlow(t, flows.Options{})
	for range 2 {
		for _, tenant := range []string{"acme", "globex", "acme"} {
			mustFetch(t, flow, tenant, "")
			requests := s.received()
			last := requests[len(requests)-1]
			if name := last.Header.Get("X-Fragment-Name"); name != "of-"+tenant+"@instance" {
				t.Errorf("tenant %s: X-Fragment-Name is %q, want its own fragment", tenant, name)
			}
			if auth := last.Header.Get("Authorization"); auth != "Bearer "+serviceJWT+tenant {
				t.Errorf("tenant %s: Authorization is %q, want its own service token", tenant, auth)
			}
		}
	}
}
