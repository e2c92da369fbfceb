package soak_test

import (
	"net/http"
	"sync/atomic"

	"github.com/agwgo/agw/agwtest"
)

// faultHeader asks the gateway for one of its faults: it is known which call meets which
// fault, and so is what may come of it.
const faultHeader = "Soak-Fault"

// A gatewayFault is what can go wrong at the gateway, and what its caller may see.
type gatewayFault struct {
	name   string
	fault  agwtest.Fault
	status int  // that the caller gets; 0 for any or none
	broken bool // the response may fail, or not be an Echo
	hangs  bool // there may be no response: only for callers who will leave
}

func gatewayFaults(foreign string) []gatewayFault {
	return []gatewayFault{
		{name: "429", fault: agwtest.Fault{Status: http.StatusTooManyRequests, RetryAfter: "1"}, status: http.StatusTooManyRequests},
		{name: "500", fault: agwtest.Fault{Status: http.StatusInternalServerError}, status: http.StatusInternalServerError},
		{name: "503", fault: agwtest.Fault{Status: http.StatusServiceUnavailable}, status: http.StatusServiceUnavailable},
		{name: "html", fault: agwtest.Fault{Body: "<html>", Header: http.Header{"Content-Type": {"text/html"}}}, status: http.StatusOK, broken: true},
		{name: "truncated", fault: agwtest.Fault{TruncateAfter: 30}, status: http.StatusOK, broken: true},
		{name: "reset", fault: agwtest.Fault{Reset: true}, broken: true},
		{name: "reset in mid-body", fault: agwtest.Fault{Reset: true, TruncateAfter: 30}, broken: true},
		{name: "hang", fault: agwtest.Fault{Hang: true}, hangs: true},
		{name: "redirect", fault: agwtest.Fault{Redirect: foreign + "/elsewhere"}, status: http.StatusTemporaryRedirect},
	}
}

// faultByHeader returns a function for agwtest.Service.OnRequest of the gateway.
func faultByHeader(faults []gatewayFault, results *results) func(agwtest.Request) *agwtest.Fault {
	byName := map[string]agwtest.Fault{}
	for _, f := range faults {
		byName[f.name] = f.fault
	}
	return func(r agwtest.Request) *agwtest.Fault {
		name := r.Header.Get(faultHeader)
		fault, ok := byName[name]
		if !ok {
			return nil
		}
		results.count("gateway faults", name)
		return &fault
	}
}

// A serviceFault is what can go wrong at a token service or the Destination Service.
type serviceFault struct {
	name  string
	fault agwtest.Fault
}

func serviceFaults(foreign string) []serviceFault {
	return []serviceFault{
		{"429", agwtest.Fault{Status: http.StatusTooManyRequests, RetryAfter: "1"}},
		{"503", agwtest.Fault{Status: http.StatusServiceUnavailable, RetryAfter: "1"}},
		{"500", agwtest.Fault{Status: http.StatusInternalServerError}},
		{"hang", agwtest.Fault{Hang: true}},
		{"reset", agwtest.Fault{Reset: true}},
		{"reset in mid-body", agwtest.Fault{Reset: true, TruncateAfter: 40}},
		{"truncated", agwtest.Fault{TruncateAfter: 40}},
		{"html", agwtest.Fault{Body: "<html>", Header: http.Header{"Content-Type": {"text/html"}}}},
		{"empty object", agwtest.Fault{Body: "{}"}},
		{"credentials repeated", agwtest.Fault{Leak: true}},
		{"redirect", agwtest.Fault{Redirect: foreign + "/oauth2/token"}},
	}
}

// An outage is a fault in some of the requests to a service.
type outage struct {
	random  *random
	results *results
	fault   atomic.Pointer[serviceFault] // nil for none
	percent atomic.Int64                 // of the requests
}

// decide is for agwtest.Service.OnRequest.
func (o *outage) decide(agwtest.Request) *agwtest.Fault {
	f := o.fault.Load()
	if f == nil || !o.random.chance(int(o.percent.Load())) {
		return nil
	}
	o.results.count("service faults", f.name)
	fault := f.fault
	return &fault
}

// change ends the outage, or begins another one.
func (o *outage) change(faults []serviceFault) {
	if o.random.chance(70) {
		o.fault.Store(nil)
		return
	}
	o.percent.Store(int64(oneOf(o.random, []int{2, 5, 10, 40, 100})))
	o.fault.Store(&faults[o.random.below(len(faults))])
}
