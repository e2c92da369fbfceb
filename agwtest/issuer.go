package agwtest

import (
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Issuer is a service that hands out access tokens, and the handle on what they
// look like.
type Issuer struct {
	*Service

	mu       sync.Mutex
	lifetime time.Duration
	fields   map[string]any
	claims   map[string]any
	refused  map[string]bool
}

func newIssuer(name string, m *meter, done <-chan struct{}, lifetime time.Duration) *Issuer {
	return &Issuer{
		Service:  newService(name, m, done),
		lifetime: lifetime,
		fields:   map[string]any{},
		claims:   map[string]any{},
		refused:  map[string]bool{},
	}
}

// SetLifetime sets the life of the tokens issued from now on. It may be shorter
// than a second, and negative for tokens that arrive expired; expires_in and
// exp are rounded down.
func (i *Issuer) SetLifetime(d time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.lifetime = d
}

// SetField overrides a field of the token responses from now on: nil leaves it
// out, a func(expiry time.Time) any computes it, any other value is marshaled
// as it is. At the Destination Service the fields are those of the entry in
// authTokens.
func (i *Issuer) SetField(name string, value any) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.fields[name] = value
}

// SetClaim overrides a claim of the tokens issued from now on, with values as
// for [Issuer.SetField]. An odd exp does not change how long the gateway
// accepts the token.
func (i *Issuer) SetClaim(name string, value any) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.claims[name] = value
}

// ResetToken undoes every SetField and SetClaim.
func (i *Issuer) ResetToken() {
	i.mu.Lock()
	defer i.mu.Unlock()
	clear(i.fields)
	clear(i.claims)
}

// RefuseUser has exchanges for that user fail with invalid_grant, or succeed
// again.
func (i *Issuer) RefuseUser(name string, refuse bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.refused[name] = refuse
}

func (i *Issuer) refuses(user string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.refused[user]
}

// issue signs a token as the knobs have it.
func (i *Issuer) issue(s *signer, c claims) (issued, error) {
	i.mu.Lock()
	lifetime, overrides := i.lifetime, maps.Clone(i.claims)
	i.mu.Unlock()
	return s.sign(c, lifetime, overrides)
}

// shape applies the field overrides to a response.
func (i *Issuer) shape(response map[string]any, expiry time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for name, value := range i.fields {
		override(response, name, value, expiry)
	}
}

// noteForm records the form of a token request and whom its assertion is for.
func noteForm(r *http.Request, d *Request) {
	r.Body = http.MaxBytesReader(nil, r.Body, 1<<20)
	_ = r.ParseForm()
	d.Form = r.PostForm
	d.claim(d.Form.Get("assertion"))
	d.Client = d.Form.Get("client_id")
}

// noteBearer records whom the bearer token is for.
func noteBearer(r *http.Request, d *Request) {
	token, _ := bearer(r)
	d.claim(token)
}

// bearer is the token of an Authorization header of the scheme Bearer, whose
// case does not matter (RFC 9110 section 11.1).
func bearer(r *http.Request) (token string, ok bool) {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", false
	}
	return token, true
}
