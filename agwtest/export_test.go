package agwtest

// ParseFilter lets the fuzz test reach the parser without a server.
func ParseFilter(text string) (label string, values []string, err error) {
	f, err := parseFilter(text)
	return f.label, f.values, err
}

// VerifyToken lets the fuzz test reach the verification without a server.
func (s *Server) VerifyToken(token string) error {
	_, err := s.signer.verify(token, audienceUser)
	return err
}
