package tokensource_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"

	"golang.org/x/oauth2"

	"github.com/agwgo/agw/tokensource"
)

// What a server passes on as a user's token can be anything. What cannot be a token is
// refused before anything is sent.
func TestTextsThatCannotBeUserTokens(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text string
		want       error
	}{
		{"16 KiB", strings.Repeat("a", 16<<10), nil},
		{"a byte more than 16 KiB", strings.Repeat("a", 16<<10+1), tokensource.ErrBadUserToken},
		{"1 MiB", "Bearer " + strings.Repeat("a", 1<<20), tokensource.ErrBadUserToken},
		{"a header of the scheme Basic", "Basic YWxpY2U6c2VjcmV0", tokensource.ErrBadUserToken},
		{"two tokens", "Bearer one two", tokensource.ErrBadUserToken},
		{"a character that is not ASCII", "t\u00f6ken", tokensource.ErrBadUserToken},
		{"a line break that would inject a header", "token\r\nX-Admin: true", tokensource.ErrBadUserToken},
		{"a control character", "tok\x00en", tokensource.ErrBadUserToken},
		{"nothing", "", tokensource.ErrNoUserToken},
		{"the scheme alone", "Bearer", tokensource.ErrNoUserToken},
		{"the scheme and spaces", "Bearer  ", tokensource.ErrNoUserToken},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			flow := newFlow()
			src, err := tokensource.New(flow, tokensource.Options{})
			if err != nil {
				t.Fatal(err)
			}
			subject := tokensource.UserSubject(c.text)
			byContext := tokensource.WithUserToken(t.Context(), c.text)
			calls := map[string]func() error{
				"a context":     func() error { _, err := src.AccessToken(byContext); return err },
				"a default":     func() error { _, err := src.For(subject).AccessToken(t.Context()); return err },
				"Forget":        func() error { return src.Forget(subject) },
				"a fixed token": func() error { _, err := fixedOver(t, src).AccessToken(byContext); return err },
			}
			for how, call := range calls {
				if err := call(); !errors.Is(err, c.want) {
					t.Errorf("%s for %s: got %v, want %v", how, c.name, err, c.want)
				}
			}
			if n := flow.requests.Load(); c.want != nil && n != 0 {
				t.Errorf("%d requests were sent for what cannot be a token, want none", n)
			}
			if kept := len(subject.UserToken()); kept > 16<<10 {
				t.Errorf("the subject keeps %d bytes of what cannot be a token, want 16 KiB at most", kept)
			}
		})
	}
}

func fixedOver(t *testing.T, src *tokensource.Source) *tokensource.FixedSource {
	t.Helper()
	fixed, err := tokensource.Fixed(src, gatewayURL.String())
	if err != nil {
		t.Fatal(err)
	}
	return fixed
}

// golang.org/x/oauth2 writes a margin into the tokens that it gets. Two clients over one
// source must not share what it writes to.
func TestClientsOfOAuth2DoNotShareTokens(t *testing.T) {
	t.Parallel()
	src, err := tokensource.New(newFlow(), tokensource.Options{})
	if err != nil {
		t.Fatal(err)
	}
	noResponse := roundTripperFunc(func(*http.Request) (*http.Response, error) { return nil, errors.New("not sent") })
	ctx := context.WithValue(t.Context(), oauth2.HTTPClient, &http.Client{Transport: noResponse})
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			_, _ = oauth2.NewClient(ctx, oauth2.ReuseTokenSourceWithExpiry(nil, src, 0)).Get("https://agw.example/")
		})
	}
	group.Wait()
	first, err := src.Token()
	if err != nil {
		t.Fatal(err)
	}
	first.AccessToken = "altered"
	if second, err := src.Token(); err != nil || second.AccessToken == "altered" {
		t.Errorf("after a caller altered its token: got %v and error %v, want an unaltered token", second, err)
	}
}

type roundTripperFunc func(*http.Request) (*http.Response, error)

func (f roundTripperFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
