package tokensource_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agwgo/agw/tokensource"
)

func TestRejectedTokenIsDroppedOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		old := bed.token(t.Context())
		bed.flow.setFetch(afterDelay(100*time.Millisecond, tokenLivingFor(time.Hour)))
		var mu sync.Mutex
		dropped, tokens := 0, make(map[*tokensource.Token]int)
		var callers sync.WaitGroup
		for range 1000 {
			callers.Go(func() {
				ok := bed.source.Invalidate(old)
				token := bed.token(t.Context())
				mu.Lock()
				defer mu.Unlock()
				tokens[token]++
				if ok {
					dropped++
				}
			})
		}
		callers.Wait()
		bed.assertRequests(2, "1000 callers whose token was rejected share one fetch")
		if dropped != 1 {
			t.Errorf("1000 callers invalidated one token: it was dropped %d times, want once", dropped)
		}
		if len(tokens) != 1 || tokens[old] != 0 {
			t.Errorf("1000 callers got %d different tokens, the rejected one %d times; want one new token for all", len(tokens), tokens[old])
		}
	})
}

// A late report about an old token does not harm its successor.
func TestLateRejectionOfAnOldToken(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		old := bed.token(t.Context())
		bed.source.Invalidate(old)
		successor := bed.token(t.Context())
		for range 3 {
			if bed.source.Invalidate(old) {
				t.Error("a token that is not cached any more was dropped again")
			}
			if bed.token(t.Context()) != successor {
				t.Error("the rejection of the old token dropped its successor")
			}
			time.Sleep(11 * time.Second)
		}
		bed.assertRequests(2, "the successor stays")
	})
}

func TestGatewayThatRejectsEverything(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		for i, ctx := range fourSubjects(t.Context()) {
			before := bed.flow.requests.Load()
			for range 1000 {
				if bed.source.Invalidate(bed.token(ctx)) {
					bed.source.Invalidate(bed.token(ctx)) // as after the one retry of a transport
				}
				time.Sleep(10 * time.Millisecond)
			}
			if n := bed.flow.requests.Load() - before; n > 2 {
				t.Errorf("subject %d: %d requests in 10 s in which every token is rejected, want 2 at most", i, n)
			}
		}
	})
}

// A second rejection within 10 s leaves the token in place. It takes another one to drop
// it after that.
func TestSecondRejectionWithin10s(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		if !bed.source.Invalidate(bed.token(t.Context())) {
			t.Fatal("the first rejection did not drop the token")
		}
		second := bed.token(t.Context())
		time.Sleep(10*time.Second - 1)
		if bed.source.Invalidate(second) {
			t.Error("a token was dropped 1 ns before 10 s had passed since the last rejection")
		}
		if bed.token(t.Context()) != second {
			t.Error("a token that was rejected within 10 s of the last rejection is not served")
		}
		time.Sleep(time.Nanosecond)
		if bed.token(t.Context()) != second {
			t.Error("10 s after the first rejection, a token was replaced although nobody rejected it again")
		}
		if !bed.source.Invalidate(second) {
			t.Error("10 s after the first rejection, a rejected token was not dropped")
		}
		if bed.token(t.Context()) == second {
			t.Error("a dropped token is served")
		}
		bed.assertRequests(3, "two tokens were dropped")
		if n := bed.source.Stats().Rejections; n != 2 {
			t.Errorf("counters: got %d rejections, want 2, those that dropped a token", n)
		}
	})
}

func TestRejectionIsThatOfOneSubject(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		subjects := fourSubjects(t.Context())
		var tokens []*tokensource.Token
		for _, ctx := range subjects {
			tokens = append(tokens, bed.token(ctx))
		}
		bed.assertRequests(4, "one for each subject")
		for rejected := range subjects {
			if !bed.source.Invalidate(tokens[rejected]) {
				t.Fatalf("the rejected token of subject %d was not dropped", rejected)
			}
			for i, ctx := range subjects {
				got := bed.token(ctx)
				if dropped := got != tokens[i]; dropped != (i == rejected) {
					t.Errorf("after the rejection of subject %d: the token of subject %d was replaced: %v", rejected, i, dropped)
				}
				tokens[i] = got
			}
			bed.assertRequests(int64(5+rejected), "only the rejected token is replaced")
		}
	})
}

// A token that is not in the cache is nothing to drop.
func TestInvalidateUnknownToken(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		token := bed.token(t.Context())
		equal, err := tokensource.NewToken(token.AccessToken(), token.Expiry(), token.GatewayURL())
		if err != nil {
			t.Fatal(err)
		}
		other := newTestbed(t, tokensource.Options{})
		tests := []struct {
			name  string
			token *tokensource.Token
		}{
			{"nil", nil},
			{"a token of NewToken with equal fields", equal},
			{"the token of another source for the same subject", other.token(t.Context())},
		}
		for _, tt := range tests {
			if bed.source.Invalidate(tt.token) {
				t.Errorf("%s: Invalidate reports that it was dropped", tt.name)
			}
			if bed.token(t.Context()) != token {
				t.Errorf("%s: Invalidate dropped the source's own token", tt.name)
			}
		}
		bed.assertRequests(1, "nothing was dropped")
	})
}

// A rejection and a renewal that fails at the same time forget nothing of each other.
func TestRejectionDuringARenewalThatFails(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		token := bed.token(t.Context())
		time.Sleep(latestRenewal)
		bed.flow.setFetch(afterDelay(time.Second, failingWith(notFound)))
		bed.token(t.Context()) // sets the renewal off
		synctest.Wait()
		bed.source.Invalidate(token)
		time.Sleep(time.Second)
		synctest.Wait()
		if err := bed.failure(t.Context()); err.StatusCode != 404 {
			t.Errorf("without a token, after the failed renewal: got error %v, want the 404", err)
		}
		bed.assertRequests(2, "the subject backs off")

		bed.flow.setFetch(tokenLivingFor(time.Hour))
		time.Sleep(time.Second)
		if bed.source.Invalidate(bed.token(t.Context())) {
			t.Error("2 s after a rejection, another token was dropped: the failure made the rejection forgotten")
		}
	})
}

// The success of a fetch does not make a rejection forgotten, either.
func TestRejectionIsRememberedAfterASuccess(t *testing.T) {
	inBubble(t, func(t *testing.T, bed *testbed) {
		bed.flow.setFetch(tokenLivingFor(2 * time.Second))
		bed.source.Invalidate(bed.token(t.Context()))
		for range 3 {
			if bed.source.Invalidate(bed.token(t.Context())) {
				t.Error("within 10 s of a rejection, another token was dropped")
			}
			time.Sleep(2 * time.Second)
		}
	})
}
