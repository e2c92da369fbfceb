package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// summary is the line for programs.
type summary struct {
	Flow            string `json:"flow"`
	Calls           int    `json:"calls"`
	Users           int    `json:"users"`
	TokenRequests   int    `json:"token_requests"`
	ServiceRequests int    `json:"service_requests"` // to anything but the gateway
	Errors          int    `json:"errors"`
	WrongIdentity   int    `json:"wrong_identity"`
}

// report is what a person wants to know.
type report struct {
	summary
	without   int // token requests without a cache
	took      time.Duration
	latencies []time.Duration // sorted
	seen      map[who]int     // whom the gateway saw, how often
	firstErr  error
}

func newReport(s *scene, outcomes []outcome, took time.Duration) report {
	counts := s.server.Counts()
	r := report{took: took, seen: make(map[who]int)}
	r.summary = summary{Flow: s.flow, Calls: len(outcomes), Users: s.users, TokenRequests: counts.Token, ServiceRequests: counts.Services()}
	r.without = len(outcomes)
	if s.flow == "lob" {
		r.TokenRequests = counts.Auth
		r.without = 4 * len(outcomes) // service token twice, fragment, destination
	}
	for _, o := range outcomes {
		r.add(o)
	}
	slices.Sort(r.latencies)
	return r
}

func (r *report) add(o outcome) {
	r.latencies = append(r.latencies, o.latency)
	switch {
	case o.err != nil:
		r.Errors++
		if r.firstErr == nil {
			r.firstErr = fmt.Errorf("%s of %q: %w", o.caller.name(), o.caller.tenant, o.err)
		}
	case o.seen.User != o.caller.user, o.caller.tenant != "" && o.seen.Tenant != o.caller.tenant:
		r.WrongIdentity++
	default:
		r.seen[o.caller.who]++
	}
}

// percentile returns the latency that p percent of the calls did not exceed.
func (r *report) percentile(p int) time.Duration {
	if len(r.latencies) == 0 {
		return 0
	}
	return r.latencies[(len(r.latencies)-1)*p/100].Round(10 * time.Microsecond)
}

func (r *report) print(out io.Writer) {
	fmt.Fprintf(out, "flow             %s\n", r.Flow)
	fmt.Fprintf(out, "calls            %d in %v, from %d workers\n", r.Calls, r.took.Round(time.Millisecond), workers)
	fmt.Fprintf(out, "token requests   %d (all requests but those to the gateway: %d; without a cache: %d)\n", r.TokenRequests, r.ServiceRequests, r.without)
	fmt.Fprintf(out, "latency          median %v, 90%% %v, 99%% %v, max %v\n", r.percentile(50), r.percentile(90), r.percentile(99), r.percentile(100))
	fmt.Fprintf(out, "errors           %d\n", r.Errors)
	fmt.Fprintf(out, "wrong identity   %d\n", r.WrongIdentity)
	fmt.Fprintf(out, "seen by gateway  %d identities\n", len(r.seen))
	r.printSeen(out)
}

// printSeen lists whom the gateway saw, and how often: a line for each tenant.
func (r *report) printSeen(out io.Writer) {
	byTenant := make(map[string][]string)
	for c, n := range r.seen {
		byTenant[c.tenant] = append(byTenant[c.tenant], fmt.Sprintf("%s ×%d", c.name(), n))
	}
	for _, tenant := range slices.Sorted(maps.Keys(byTenant)) {
		names := byTenant[tenant]
		slices.Sort(names)
		fmt.Fprintln(out, strings.TrimSpace(tenant+" "+strings.Join(names, ", ")))
	}
}

// verdict is an error if anything went wrong.
func (r *report) verdict() error {
	switch {
	case r.Errors > 0:
		return fmt.Errorf("%d of %d calls failed, the first one: %w", r.Errors, r.Calls, r.firstErr)
	case r.WrongIdentity > 0:
		return fmt.Errorf("%d calls were seen under a wrong identity", r.WrongIdentity)
	default:
		return nil
	}
}
