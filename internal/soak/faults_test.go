package soak_test

import (
	"net/http"
	"sync/atomic"

	"github.com/agwgo/agw/agwtest"
)

// faultHeader has the gateway answer a request with one of its faults: which call
// meets which is known, and so is what may come of it.
const faultHeader = "Soak-Fault"

// A gatewayFault is what can go wrong at the gateway, and what its caller may see.
type gatewayFault struct {
	name    string
	fault   agwtest.Fault
	status  int  // the status that the caller gets; 0 for any or none
	broken  bool // the answer may fail, or not be an Echo
	forever bool // nothing may come at all: only for callers who will leave
}

// gatewayFaults are all there are.
func gatewayFaults(foreign string) []gatewayFault {
	return []gatewayFault{
		{name: "429", fault: agwtest.Fault{Status: http.StatusTooManyRequests, RetryAfter: "1"}, status: http.StatusTooManyRequests},
		{name: "500", fault: agwtest.Fault{Status: http.StatusInternalServerError}, status: http.StatusInternalServerError},
		{name: "503", fault: agwtest.Fault{Status: http.StatusServiceUnavailable}, status: http.StatusServiceUnavailable},
		{name: "html", fault: agwtest.Fault{Body: "<html>", ContentType: "text/html"}, status: http.StatusOK, broken: true},
		{name: "truncated", fault: agwtest.Fault{TruncateAfter: 30}, status: http.StatusOK, broken: true},
		{name: "reset", fault: agwtest.Fault{Reset: true}, broken: true},
		{name: "reset in mid-body", fault: agwtest.Fault{Reset: true, ResetAfter: 30}, broken: true},
		{name: "hang", fault: agwtest.Fault{Hang: true}, forever: true},
		{name: "redirect", fault: agwtest.Fault{Redirect: foreign + "/elsewhere"}, status: http.StatusTemporaryRedirect},
	}
}

// serviceFault is what can go wrong at a token service or the Destination Service.
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
		{"reset in mid-body", agwtest.Fault{Reset: true, ResetAfter: 40}},
		{"truncated", agwtest.Fault{TruncateAfter: 40}},
		{"html", agwtest.Fault{Body: "<html>", ContentType: "text/html"}},
		{"nothing", agwtest.Fault{Body: "{}"}},
		{"credentials repeated", agwtest.Fault{Leak: true}},
		{"redirect", agwtest.Fault{Redirect: foreign + "/oauth2/token"}},
	}
}

// weather is what befalls the requests to one service.
type weather struct {
	dice   *dice
	ledger *ledger
	now    atomic.Pointer[forecast]
}

// A forecast is a fault, and for how many requests of a hundred.
type forecast struct {
	serviceFault
	percent int
}

// decide is for agwtest.Service.OnRequest.
func (w *weather) decide(agwtest.Request) *agwtest.Fault {
	f := w.now.Load()
	if f == nil || !w.dice.chance(f.percent) {
		return nil
	}
	w.ledger.count("service faults", f.name)
	fault := f.fault
	return &fault
}

// change makes the weather calm, or else rough in one way.
func (w *weather) change(faults []serviceFault) {
	if w.dice.chance(70) {
		w.now.Store(nil)
		return
	}
	w.now.Store(&forecast{pick(w.dice, faults), pick(w.dice, []int{2, 5, 10, 40, 100})})
}

// decideByHeader returns what befalls requests to the gateway.
func decideByHeader(faults []gatewayFault, l *ledger) func(agwtest.Request) *agwtest.Fault {
	byName := map[string]*agwtest.Fault{}
	for i := range faults {
		byName[faults[i].name] = &faults[i].fault
	}
	return func(r agwtest.Request) *agwtest.Fault {
		f := byName[r.Header.Get(faultHeader)]
		if f == nil {
			return nil
		}
		l.count("gateway faults", r.Header.Get(faultHeader))
		fault := *f
		return &fault
	}
}
