package agwtest

import "sync"

// revocations are the tokens that are no longer accepted although they have not
// expired. Tokens are numbered in the order of issue.
type revocations struct {
	mu        sync.RWMutex
	rejectAll bool              // those to come, too
	tokens    map[string]bool   // by jti
	gateway   uint64            // all for the gateway up to this number
	users     map[string]uint64 // those of one user for the gateway
	service   uint64            // all for the Destination Service
}

// has reports whether the gateway is to reject a token.
func (v *revocations) has(c claims) bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	n := c.number()
	return v.rejectAll || v.tokens[c.ID] || n != 0 && (n <= v.gateway || n <= v.users[c.User])
}

// hasServiceToken reports whether the Destination Service is to reject a token.
func (v *revocations) hasServiceToken(c claims) bool {
	v.mu.RLock()
	defer v.mu.RUnlock()
	n := c.number()
	return v.tokens[c.ID] || n != 0 && n <= v.service
}

// Revoke has the gateway, or the Destination Service if the token is for that,
// reject an access token with status 401 from now on. What is not a token of the
// double is ignored.
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

// RevokeAll revokes every access token for the gateway issued so far.
func (s *Server) RevokeAll() {
	s.revoked.mu.Lock()
	defer s.revoked.mu.Unlock()
	s.revoked.gateway = s.signer.last.Load()
}

// RevokeUser revokes every access token for the gateway issued for the user of
// that name so far; "" means the system tokens of all tenants.
func (s *Server) RevokeUser(name string) {
	s.revoked.mu.Lock()
	defer s.revoked.mu.Unlock()
	if s.revoked.users == nil {
		s.revoked.users = map[string]uint64{}
	}
	s.revoked.users[name] = s.signer.last.Load()
}

// RevokeServiceTokens revokes every token for the Destination Service issued so
// far.
func (s *Server) RevokeServiceTokens() {
	s.revoked.mu.Lock()
	defer s.revoked.mu.Unlock()
	s.revoked.service = s.signer.last.Load()
}

// RejectTokens has the gateway reject every token, those issued later included,
// or verify them again.
func (s *Server) RejectTokens(reject bool) {
	s.revoked.mu.Lock()
	defer s.revoked.mu.Unlock()
	s.revoked.rejectAll = reject
}
