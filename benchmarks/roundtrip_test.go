package benchmarks_test

import (
	"encoding/base64"
	"net/http"
	"runtime"
	"strings"
	"testing"
)

// BenchmarkRoundTrip is the cost of a request whose token is cached.
func BenchmarkRoundTrip(b *testing.B) {
	for _, c := range contestants() {
		b.Run(c.name, func(b *testing.B) {
			base := newBase()
			work := c.start(b, base)()
			must(b, base, work) // and fill what is filled by the first one
			b.ReportAllocs()
			defer processorTime(b)()
			for b.Loop() {
				must(b, base, work)
			}
		})
	}
}

// BenchmarkRoundTripParallel is the same from as many goroutines as there are
// processors.
func BenchmarkRoundTripParallel(b *testing.B) {
	for _, c := range contestants() {
		b.Run(c.name, func(b *testing.B) { parallel(b, c, 0) })
	}
}

// BenchmarkRoundTrip1000Goroutines is the same from about 1,000 goroutines.
func BenchmarkRoundTrip1000Goroutines(b *testing.B) {
	const goroutines = 1000
	for _, c := range contestants() {
		switch c.name {
		case "floor", "oauth2", "agw/system", "agw/users=256":
			b.Run(c.name, func(b *testing.B) { parallel(b, c, goroutines) })
		}
	}
}

// parallel has so many goroutines compete, and at least one for each processor.
func parallel(b *testing.B, c contestant, goroutines int) {
	base := newBase()
	newWorker := c.start(b, base)
	must(b, base, newWorker())
	b.SetParallelism(max(1, goroutines/runtime.GOMAXPROCS(0)))
	b.ReportAllocs()
	b.ResetTimer()
	defer processorTime(b)()
	b.RunParallel(func(pb *testing.PB) {
		work := newWorker()
		for pb.Next() {
			must(b, base, work)
		}
	})
}

func must(tb testing.TB, base *base, work worker) {
	resp, err := work()
	if err != nil {
		tb.Error(err)
		return
	}
	base.recycle(resp)
}

// Whoever sends no token, or a wrong one, or to somewhere else, is quick, but no
// contestant.
func TestContestants(t *testing.T) {
	t.Parallel()
	for _, c := range contestants() {
		if strings.HasSuffix(c.name, "users=10000") { // the same as with fewer
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			subjects := map[string]bool{}
			base := newBase()
			base.check = func(req *http.Request) {
				if req.URL.String() != realHost || req.Host != "" && req.Host != req.URL.Host {
					t.Errorf("sent to %s, host %q", req.URL, req.Host)
				}
				if got, want := req.Header.Get("X-Correlation-Id") != "", strings.HasSuffix(c.name, "correlation"); got != want {
					t.Errorf("correlation id: %t", got)
				}
				subjects[subjectOf(t, req)] = true
			}
			work := c.start(t, base)()
			for range 3 {
				must(t, base, work)
			}
			want := 3
			if c.users == 0 {
				want = 1
			}
			if len(subjects) != want || subjects["system"] != (c.users == 0 && c.name != "base") {
				t.Errorf("acted for %v", subjects)
			}
		})
	}
}

// subjectOf returns whom the token of a request was issued to.
func subjectOf(t *testing.T, req *http.Request) string {
	token, ok := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil || len(token) != tokenSize {
		t.Errorf("a token of %d bytes, %v", len(token), err)
	}
	_, rest, _ := strings.Cut(string(payload), `"sub":"`)
	subject, _, _ := strings.Cut(rest, `"`)
	if strings.HasPrefix(subject, "user-") != strings.HasSuffix(token, "exchanged") {
		t.Errorf("the user's own token was sent: %s", subject)
	}
	return subject
}
