package soak_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/cache"
	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/tokensource"
)

// The OAuth clients of a stack are numbered. The number is in the host of the service that
// issues the tokens, so it is a part of the library's Identity, and the double's requests
// show it. For a customer it is in the path of the gateway, too.

// clientHost returns the host of a client's token service or Destination Service. The
// transport of the double reaches all hosts below agwtest.invalid.
func clientHost(number int) string { return fmt.Sprintf("client%d.agwtest.invalid", number) }

// clientPathPrefix and the number of a customer's client are the path of its gateway.
const clientPathPrefix = "/client"

var clientInURL = regexp.MustCompile(`//client(\d+)\.`)

// clientNumber returns the number of the client that the library uses.
func clientNumber(id *tokensource.Identity) int {
	match := clientInURL.FindStringSubmatch(id.TokenEndpoint + " " + id.Resource)
	number, _ := strconv.Atoi(match[1])
	return number
}

// mountCustomer mounts the credentials of a customer's client.
func (s *stack) mountCustomer(number int) error {
	credentials := s.srv.Credentials()
	credentials["tokenServiceUrl"] = strings.Replace(s.srv.TokenURL(), "127.0.0.1", clientHost(number), 1)
	credentials["gatewayUrl"] = fmt.Sprint(s.srv.GatewayURL(), clientPathPrefix, number)
	body, err := json.Marshal(credentials)
	if err != nil {
		return err
	}
	return agwtest.WriteMount(filepath.Join(s.root, "agent-gateway"), map[string][]byte{
		"type": []byte("integration-credentials"), "credentials": body,
	})
}

// mountLoB mounts the credentials of a LoB client.
func (s *stack) mountLoB(number int) error {
	binding := s.srv.DestinationBinding()
	binding["uri"] = strings.Replace(binding["uri"], "127.0.0.1", clientHost(number), 1)
	files := map[string][]byte{}
	for key, value := range binding {
		files[key] = []byte(value)
	}
	return agwtest.WriteMount(filepath.Join(s.root, "destination", "default"), files)
}

// credentialsInForce reports whether the library uses the credentials that are mounted.
// During the load no others are mounted before it does, so that it is known which ones it
// has noticed. To the library, credentials that it never reads make no difference.
func (s *stack) credentialsInForce() bool {
	return !s.renewals.pending() && !s.clientChanges.pending()
}

// renewCredentials gives the client another certificate and another secret.
func (s *stack) renewCredentials() {
	s.renewals.begin()
	s.writeCredentials(s.clients.newest())
}

// replaceClient mounts the credentials of another client.
func (s *stack) replaceClient() {
	s.clientChanges.begin()
	s.writeCredentials(s.clients.add(s.nextTokenNumber()))
}

// writeCredentials makes a new certificate and secret, and mounts them. The old ones may be
// refused before that, afterwards, or not at all.
func (s *stack) writeCredentials(number int) {
	if err := s.srv.RotateCredentials(); err != nil {
		s.results.violation("the double cannot make a client certificate: %v", err)
	}
	order := s.random.below(3)
	if order == 0 {
		s.srv.RefuseOldCredentials()
	}
	if err := s.mount(number); err != nil {
		s.results.violation("credentials cannot be mounted: %v", err)
	}
	if order == 1 {
		s.srv.RefuseOldCredentials()
	}
}

// clients are those whose credentials were mounted, by number.
type clients struct {
	mu  sync.Mutex
	all []client
}

type client struct {
	firstToken uint64    // tokens with smaller numbers were issued to earlier clients
	inForce    time.Time // since when the library uses it, or a later one; zero if it does not yet
}

// add adds a client, and returns its number.
func (c *clients) add(firstToken uint64) (number int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, client{firstToken: firstToken})
	return len(c.all) - 1
}

// newest returns the number of the last client that was added.
func (c *clients) newest() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.all) - 1
}

// putInForce notes that the library uses a client from now on.
func (c *clients) putInForce(number int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := number; i >= 0 && c.all[i].inForce.IsZero(); i-- {
		c.all[i].inForce = time.Now()
	}
}

// inForceAt returns the number of the client that was in force at a moment.
func (c *clients) inForceAt(at time.Time) (number int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := len(c.all) - 1; i > 0; i-- {
		if since := c.all[i].inForce; !since.IsZero() && since.Before(at) {
			return i
		}
	}
	return 0
}

// mayHave reports whether a token can be one of a client, or of a later one.
func (c *clients) mayHave(number int, tok token) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return tok.number() >= c.all[number].firstToken
}

// observedCredentials make flows that tell a stack when other credentials come into force,
// and that have its clock.
type observedCredentials struct {
	flows.Credentials
	stack *stack
}

func (c observedCredentials) NewFlow(opts flows.Options) (flows.Flow, error) {
	f, err := c.Credentials.NewFlow(opts)
	if err != nil {
		return nil, err
	}
	observed := &observedFlow{Flow: f, Reloader: f.(tokensource.Reloader), stack: c.stack}
	observed.last.Store(f.Identity())
	return observed, nil
}

type observedFlow struct {
	flows.Flow
	tokensource.Reloader
	stack *stack

	changing sync.Mutex
	last     atomic.Pointer[tokensource.Identity]
}

// Identity tells the stack of another identity before anybody sees it.
func (f *observedFlow) Identity() *tokensource.Identity {
	id := f.Flow.Identity()
	if id == f.last.Load() {
		return id
	}
	f.changing.Lock()
	defer f.changing.Unlock()
	if id = f.Flow.Identity(); id != f.last.Load() {
		f.stack.clients.putInForce(clientNumber(id))
		f.stack.renewals.noticed()
		f.stack.clientChanges.noticed()
		f.last.Store(id)
	}
	return id
}

// Now is the clock of the source.
func (f *observedFlow) Now() cache.Instant {
	if f.stack.clock == nil {
		return cache.Now()
	}
	return f.stack.clock.now()
}
