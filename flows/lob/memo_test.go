package lob_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agwgo/agw/flows/lob"
	"github.com/agwgo/agw/tokensource"
)

func TestFragmentNameIsFreshForFiveMinutes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.start(t, lob.Options{})
		f.mustFetch(t, "acme", "")
		expectTrace(t, f, "auth fragments destination")
		time.Sleep(5*time.Minute - time.Nanosecond)
		f.mustFetch(t, "acme", "")
		expectTrace(t, f, "destination")
		time.Sleep(time.Nanosecond)
		f.mustFetch(t, "acme", "")
		expectTrace(t, f, "fragments destination")
	})
}

func TestFragmentNameOutlivesAFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.start(t, lob.Options{})
		f.mustFetch(t, "acme", "")
		for _, passing := range []answer{{}, {500, "oops"}, {503, ""}, {200, "<html>"}} {
			time.Sleep(6 * time.Minute)
			f.trace()
			f.fragments = func(int, sent) answer { return passing }
			f.mustFetch(t, "acme", "")
			expectTrace(t, f, "fragments destination")
		}
		// But not for ever.
		time.Sleep(time.Hour)
		_, err := f.fetch("acme", "")
		expectError(t, err, "find fragment")
	})
}

func TestFragmentNameDoesNotOutliveItsEnd(t *testing.T) {
	t.Parallel()
	for _, final := range []answer{{200, `[]`}, {404, ``}, {403, ``}} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake()
			f.start(t, lob.Options{})
			f.mustFetch(t, "acme", "")
			time.Sleep(6 * time.Minute)
			f.fragments = func(int, sent) answer { return final }
			_, err := f.fetch("acme", "")
			expectError(t, err, "find fragment")
			// It is forgotten: a passing failure does not bring it back.
			f.fragments = func(int, sent) answer { return answer{500, ``} }
			_, err = f.fetch("acme", "")
			expectError(t, err, "find fragment")
		})
	}
}

func TestClientIDIsFreshForFiveMinutes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		flow := f.start(t, lob.Options{})
		ask := func() {
			t.Helper()
			if id, err := flow.ClientID(t.Context()); id != "ias-client" || err != nil {
				t.Errorf("got %q, %v", id, err)
			}
		}
		ask()
		time.Sleep(5*time.Minute - time.Nanosecond)
		ask()
		expectTrace(t, f, "auth destination")
		time.Sleep(time.Nanosecond)
		ask()
		expectTrace(t, f, "destination")
		time.Sleep(6 * time.Minute)
		f.destination = func(int, sent) answer { return answer{500, ``} }
		ask()
	})
}

// A caller that leaves harms nobody who waits for the same name.
func TestLookupIsSharedAndDetached(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.fragments = func(int, sent) answer {
			time.Sleep(time.Second)
			return answer{200, `[{"FragmentName":"frag"}]`}
		}
		flow := f.start(t, lob.Options{})
		var group sync.WaitGroup
		for i := range 20 {
			ctx, cancel := context.WithCancel(t.Context())
			if i%2 == 0 {
				time.AfterFunc(500*time.Millisecond, cancel)
			}
			group.Go(func() {
				defer cancel()
				began := time.Now()
				_, err := flow.Fetch(ctx, tokensource.Subject{Tenant: "acme"})
				if left := i%2 == 0; left != (err != nil) || left && time.Since(began) != 500*time.Millisecond {
					t.Errorf("caller %d: %v after %v", i, err, time.Since(began))
				}
			})
		}
		group.Wait()
		expectTrace(t, f, "auth fragments destination destination destination destination destination destination destination destination destination destination")
	})
}

// What is on its way when its tenant is forgotten is not remembered.
func TestForgetDuringALookup(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.fragments = func(int, sent) answer {
			time.Sleep(time.Second)
			return answer{200, `[{"FragmentName":"frag"}]`}
		}
		flow := f.start(t, lob.Options{})
		var group sync.WaitGroup
		group.Go(func() { f.mustFetch(t, "acme", "") })
		time.Sleep(time.Second / 2)
		flow.Forget("acme")
		group.Wait()
		expectTrace(t, f, "auth fragments auth destination")
		f.mustFetch(t, "acme", "")
		expectTrace(t, f, "fragments destination")
	})
}

func TestTenantsDoNotShareFragments(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.fragments = func(_ int, r sent) answer {
		return answer{200, `[{"FragmentName":"of-` + r.Header.Get("Authorization")[len("Bearer "+serviceJWT):] + `"}]`}
	}
	f.start(t, lob.Options{})
	for range 2 {
		for _, tenant := range []string{"acme", "globex", "acme"} {
			f.trace()
			f.mustFetch(t, tenant, "")
			requests := f.last()
			last := requests[len(requests)-1]
			if name := last.Header.Get("X-Fragment-Name"); name != "of-"+tenant+"@instance" {
				t.Errorf("%s: fragment %q", tenant, name)
			}
			if auth := last.Header.Get("Authorization"); auth != "Bearer "+serviceJWT+tenant {
				t.Errorf("%s: service token %q", tenant, auth)
			}
		}
	}
}
