package agwtest

import "sync"

// revocations are the access tokens that the gateway no longer accepts.
type revocations struct {
	mu      sync.RWMutex
	refused bool
	below   uint64            // all tokens up to this number
	users   map[string]uint64 // the same for one user
	tokens  map[string]bool   // single ones, by jti
	service uint64            // all tokens for the Destination Service up to this number
}

func (v *revocations) has(c claims) bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	n := c.number()
	old := n != 0 && (n <= v.below || n <= v.users[c.User])
	return v.refused || old || v.tokens[c.ID]
}

func (v *revocations) hasService(c claims) bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	n := c.number()
	return n != 0 && n <= v.service || v.tokens[c.ID]
}

// Revoke has the gateway, or the Destination Service if the token is for that,
// answer 401 to an access token from now on. What is not a token of the double
// is ignored.
func (s *Server) Revoke(accessToken string) {
	c, err := peek(accessToken)
	if err != nil {
		return
	}
	s.revoked.mu.Lock()
	defer s.revoked.mu.Unlock()
	if s.revoked.tokens == nil {
		s.revoked.tokens = map[string]bool{}
	}
	s.revoked.tokens[c.ID] = true
}

// RevokeServiceTokens revokes every token for the Destination Service issued so
// far.
func (s *Server) RevokeServiceTokens() {
	s.revoked.mu.Lock()
	defer s.revoked.mu.Unlock()
	s.revoked.service = s.signer.last.Load()
}

// RevokeAll revokes every access token to the gateway issued so far.
func (s *Server) RevokeAll() {
	s.revoked.mu.Lock()
	defer s.revoked.mu.Unlock()
	s.revoked.below = s.signer.last.Load()
}

// RevokeUser revokes every access token to the gateway issued for a user so far; "" means the
// technical identities.
func (s *Server) RevokeUser(name string) {
	s.revoked.mu.Lock()
	defer s.revoked.mu.Unlock()
	if s.revoked.users == nil {
		s.revoked.users = map[string]uint64{}
	}
	s.revoked.users[name] = s.signer.last.Load()
}

// AlwaysUnauthorized has the gateway refuse every bearer, or check again.
func (s *Server) AlwaysUnauthorized(refuse bool) {
	s.revoked.mu.Lock()
	defer s.revoked.mu.Unlock()
	s.revoked.refused = refuse
}
