package agwtest

import (
	"crypto/rand"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
)

const authPath = "/oauth/token"

// secrets are the client secrets that the authorization server accepts.
type secrets struct {
	mu      sync.RWMutex
	current string
	old     []string
}

func newSecrets() *secrets { return &secrets{current: rand.Text()} }

func (c *secrets) now() string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.current
}

func (c *secrets) rotate() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.old = append(c.old, c.current)
	c.current = rand.Text()
}

func (c *secrets) refuseOld() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.old = nil
}

func (c *secrets) accept(secret string) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return secret == c.current || slices.Contains(c.old, secret)
}

// serveAuth is the token endpoint of the authorization server, where the host
// name tells the tenant and the tenant goes into the token.
func (s *Server) serveAuth(w http.ResponseWriter, r *http.Request) {
	tenant, ok := s.tenantOf(r)
	switch {
	case r.URL.Path != authPath:
		http.NotFound(w, r)
		return
	case !ok:
		writeJSON(w, http.StatusNotFound, map[string]string{
			"error":             "unknown_zone",
			"error_description": "the host name belongs to no tenant",
		})
		return
	}
	if problem := s.checkServiceTokenRequest(r); problem != nil {
		problem.write(w)
		return
	}
	s.writeToken(w, s.Auth, claims{
		Subject: s.bindingClientID(), Client: s.bindingClientID(),
		Tenant: tenant, Audience: audienceDestination,
	})
}

func (s *Server) checkServiceTokenRequest(r *http.Request) *refusal {
	if problem := checkTokenHeader(r); problem != nil {
		return problem
	}
	problem := checkForm(r.PostForm, url.Values{
		"grant_type":    {grantClient},
		"client_id":     {s.bindingClientID()},
		"client_secret": nil,
	})
	if problem == nil && !s.secrets.accept(r.PostForm.Get("client_secret")) {
		problem = refuse(codeInvalidClient, "client_secret is wrong")
	}
	return problem
}

// tenantOf reads the tenant off the host name and reports whether it exists.
func (s *Server) tenantOf(r *http.Request) (tenant string, ok bool) {
	tenant, ok = hostTenant(r.Host)
	known := len(s.options.Tenants) == 0 || tenant == s.options.IdentityZone || slices.Contains(s.options.Tenants, tenant)
	return tenant, ok && known
}

// hostTenant is the first label of a host name of the authorization server.
func hostTenant(hostport string) (tenant string, ok bool) {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	tenant, parent, _ := strings.Cut(host, ".")
	return tenant, strings.EqualFold(parent, tenantDomain) && tenant != ""
}

// noteServiceForm records the form and the tenant of a service token request.
func noteServiceForm(r *http.Request, d *Request) {
	noteForm(r, d)
	d.Tenant, _ = hostTenant(r.Host)
}
